"""All of `diabolo run RECIPE` in PyTorch and FAISS, on the CPU, for dense recipes of MNIST: loads it, trains
under the recipe's distortions and noise with the held-out loss after each epoch, encodes all images,
and measures few-label accuracies of pixels and features and the quality of denoised images.

Prints one line of JSON: {"variant", "epochs", "loss": {"train", "test"}, "few_label": [rows as in our
summary.json], "denoising": [...], "seconds": {"load", "compile", "train", "few_label", "denoising",
"evaluate", "total"}}. What torch.compile takes at the first step is counted apart from training, but in
the total.

Usage: python main_job.py [--recipe FILE] [--threads N] [--variant eager|compiled] [--epochs N]
           [--raw nested|faiss] [--features nested|faiss]
"""

import argparse
import json
import math
import sys
import time
import tomllib
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, grid_sample

import few_label
import mnist

ROOT = Path(__file__).resolve().parents[2]
SIDE = 28
PIXELS = SIDE * SIDE
EVALUATION_BATCH = 500
HELD_BACK, HELD_BACK_OF_ALL = 500, 250


def load(part):
    """Images `[count, 784]` in bytes and labels `[count]`."""

    def idx(name, header):
        bytes_of_file = bytearray(mnist.idx(f"{part}-{name}-ubyte"))
        return torch.frombuffer(bytes_of_file, dtype=torch.uint8, offset=header)

    return idx("images-idx3", 16).view(-1, PIXELS), idx("labels-idx1", 8).long()


def pixels(images):
    return images.float() / 255


class Autoencoder(nn.Module):
    def __init__(self, hidden, code):
        super().__init__()
        self.encoder = self.half([PIXELS, *hidden, code])
        back = [code, *reversed(hidden)]
        self.decoder = self.half(back).append(nn.Linear(back[-1], PIXELS))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nonlinearity = "relu" if layer.bias is None else "linear"
                nn.init.kaiming_normal_(layer.weight, nonlinearity=nonlinearity)
        nn.init.zeros_(self.decoder[-1].bias)

    def half(self, widths):
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            # Without a bias before batch norm: the same arithmetic as ours.
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x):
        """Logits."""
        return self.decoder(self.encoder(x))


def warped(noise, clean):
    """Each image under a small random affine map about its centre, as src/kernels/warp.rs has it."""
    count = len(clean)
    turn, scale, shear, down, across = 2 * torch.rand(5, count) - 1
    turn = turn * math.radians(noise["rotation"])
    scale = 1 + scale * noise["scale"]
    cos, sin = scale * turn.cos(), scale * turn.sin()
    shear = shear * noise["shear"]
    # Coordinates of a grid go from −1 to 1, x first.
    down, across = (shift * noise["shift"] / ((SIDE - 1) / 2) for shift in (down, across))
    maps = torch.stack([cos, shear - sin, across, sin, cos, down], 1).view(count, 2, 3)
    grid = affine_grid(maps, [count, 1, SIDE, SIDE], align_corners=True)
    images = clean.view(count, 1, SIDE, SIDE)
    return grid_sample(images, grid, align_corners=True).view(count, PIXELS)


def corrupted(noise, clean):
    noisy = warped(noise, clean) + noise["gaussian"] * torch.randn_like(clean)
    return noisy * (torch.rand_like(clean) >= noise["masking"])


class Training:
    def __init__(self, recipe, variant, images, held_out):
        self.recipe, self.images, self.held_out = recipe, images, held_out
        self.batch = recipe["train"]["batch"]
        self.steps = len(images) // self.batch
        self.net = Autoencoder(recipe["model"]["hidden"], recipe["model"]["code"])
        rate = recipe["train"]["learning_rate"]
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=rate, fused=True)
        self.step = 0

        def forward_backward(clean):
            loss = self.loss(clean)
            loss.backward()
            return loss.detach()

        self.body = forward_backward
        if variant == "compiled":
            self.body = torch.compile(forward_backward, dynamic=False)

    def loss(self, clean):
        return binary_cross_entropy_with_logits(self.net(corrupted(self.recipe["noise"], clean)), clean)

    def rate(self):
        """Warm-up in a line, then half a cosine."""
        train = self.recipe["train"]
        warmup, total = train["warmup_steps"], train["epochs"] * self.steps
        part = max(0, self.step - warmup) / max(1, total - warmup)
        risen = min(1, (self.step + 1) / warmup)
        return train["learning_rate"] * risen * (1 + math.cos(math.pi * part)) / 2

    def compile(self):
        """Runs what is compiled at its first call; leaves parameters alone, and forgets statistics."""
        state = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.body(pixels(self.images[: self.batch]))
        self.net.load_state_dict(state)

    def epoch(self):
        """Mean loss of an epoch."""
        self.net.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(self.images))[: self.steps * self.batch].split(self.batch):
            self.optimiser.param_groups[0]["lr"] = self.rate()
            self.optimiser.zero_grad(set_to_none=True)
            total += self.body(pixels(self.images[rows]))
            self.optimiser.step()
            self.step += 1
        return total.item() / self.steps

    @torch.inference_mode()
    def held_out_loss(self):
        self.net.eval()
        losses = [self.loss(pixels(block)) for block in self.held_out.split(EVALUATION_BATCH)]
        return torch.stack(losses).mean().item()


@torch.inference_mode()
def encode(net, images):
    net.eval()
    return torch.cat([net.encoder(pixels(block)) for block in images.split(EVALUATION_BATCH)])


def psnr(clean, seen):
    return (-10 * (seen - clean).square().mean(1).log10()).clamp(max=100)


def ssim(clean, seen):
    """Of each image, under a Gaussian window of 11×11, σ = 1.5."""
    window = torch.exp(-((torch.arange(11.0) - 5) / 1.5).square() / 2)
    window /= window.sum()
    x, y = (image.view(-1, SIDE, SIDE) for image in (clean, seen))
    # Matrix products with a banded matrix: much faster than convolutions of one channel.
    band = torch.zeros(SIDE, SIDE - 10)
    for place in range(SIDE - 10):
        band[place : place + 11, place] = window
    planes = torch.stack([x, y, x * x, y * y, x * y])
    x, y, xx, yy, xy = (band.T @ (planes @ band)).flatten(2)
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
    below = (x * x + y * y + c1) * (xx - x * x + yy - y * y + c2)
    return (above / below).mean(1)


@torch.inference_mode()
def denoising(net, images, levels):
    net.eval()
    rows = []
    for sigma in levels:
        sums = torch.zeros(4)
        for block in images.split(EVALUATION_BATCH):
            clean = pixels(block)
            noisy = clean + sigma * torch.randn_like(clean)
            restored = net(noisy).sigmoid()
            measures = [of(clean, seen).sum() for of in (psnr, ssim) for seen in (noisy, restored)]
            sums += torch.stack(measures)
        names = ["psnr_noisy", "psnr_restored", "ssim_noisy", "ssim_restored"]
        rows.append({"sigma": sigma} | dict(zip(names, (sums / len(images)).tolist())))
    return rows


def judge(recipe, searches, raw, features, labels):
    """Rows as in our summary.json."""
    few = recipe["evaluate"]
    count = len(labels[0])
    generator = torch.Generator().manual_seed(0)
    sizes = [size for size in few["labels"] if size < count]
    many = [torch.randperm(count, generator=generator)[: sizes[-1]] for _ in range(few["draws"])]
    # Prefixes stay the same sets, and memory is walked forwards.
    bounds = list(zip([0, *sizes], sizes))
    many = [torch.cat([draw[a:b].sort().values for a, b in bounds]) for draw in many]
    groups = [(many, sizes, HELD_BACK, searches)]
    if count in few["labels"]:
        groups.append(([torch.arange(count)], [count], HELD_BACK_OF_ALL, ["faiss"] * 2))
    features = few_label.half_whitened(*features)
    rows = []
    for draws, sizes, held_back, (of_raw, of_features) in groups:
        setting = (*labels, draws, sizes, held_back)
        raw_right = few_label.accuracies(of_raw, *raw, *setting)
        features_right = few_label.accuracies(of_features, *features, *setting)
        for size, labelled in enumerate(sizes):
            for which, k in enumerate([1, "chosen"]):
                for distance, name in enumerate(few_label.DISTANCES):
                    judged = {"judge": f"knn-{k}-{name}", "labels": labelled, "draws": len(draws)}
                    for of, right in [("pixels", raw_right), ("features", features_right)]:
                        values = right[:, distance, size, which]
                        sd = values.std().item() if len(draws) > 1 else 0
                        rows.append(judged | {"representation": of, "mean": values.mean().item(), "sd": sd})
    return rows


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    main_job = ROOT / "recipes" / "mnist-dense.toml"
    parser.add_argument("--recipe", type=Path, default=main_job, help="the main job's by default")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--variant", choices=["eager", "compiled"], default="eager")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--raw", choices=few_label.SEARCHES, default="nested", help="search of pixels")
    parser.add_argument("--features", choices=few_label.SEARCHES, default="faiss")
    return parser.parse_args()


class Clock:
    """Seconds since the last look."""

    def __init__(self):
        self.last = time.perf_counter()

    def lap(self):
        last, self.last = self.last, time.perf_counter()
        return self.last - last


def main():
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        few_label.faiss.omp_set_num_threads(arguments.threads)
    torch.manual_seed(0)
    recipe = tomllib.loads(arguments.recipe.read_text())
    if arguments.epochs is not None:
        recipe["train"]["epochs"] = arguments.epochs
    result = {"variant": arguments.variant, "epochs": recipe["train"]["epochs"]}

    clock, seconds = Clock(), {}
    (train, train_labels), (test, test_labels) = load("train"), load("t10k")
    labels = (train_labels, test_labels)
    training = Training(recipe, arguments.variant, train, test)
    net = training.net
    seconds["load"] = clock.lap()

    if arguments.variant == "compiled":
        training.compile()
    seconds["compile"] = clock.lap()
    for epoch in range(recipe["train"]["epochs"]):
        result["loss"] = {"train": training.epoch(), "test": training.held_out_loss()}
        print(f"epoch {epoch + 1}: {result['loss']}", file=sys.stderr)
    seconds["train"] = clock.lap()

    features = (encode(net, train), encode(net, test))
    raw = (pixels(train), pixels(test))
    searches = [arguments.raw, arguments.features]
    result["few_label"] = judge(recipe, searches, raw, features, labels)
    seconds["few_label"] = clock.lap()
    # The program's defaults, where the recipe leaves them out.
    levels = recipe["evaluate"].get("noise_levels", [0.1, 0.25, 0.5, 0.75, 1.0])
    result["denoising"] = denoising(net, test, levels)
    seconds["denoising"] = clock.lap()
    seconds["evaluate"] = seconds["few_label"] + seconds["denoising"]
    parts = ["load", "compile", "train", "evaluate"]
    seconds["total"] = sum(seconds[part] for part in parts)
    print(json.dumps(result | {"seconds": seconds}))


if __name__ == "__main__":
    main()
