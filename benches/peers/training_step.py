"""The reference training steps in PyTorch, on the CPU: gather, noise, forward, MSE, backward, Adam.

Prints one line of JSON per batch size and variant: {"model", "batch", "variant", "median_ms",
"min_ms"}. Variants: eager; fused (Adam in one kernel); compiled (by torch.compile, fused Adam); and
channels-last of each, for the convolutional model.

Usage: python training_step.py [--model dense|conv] [--batch 1,16,128] [--threads N] [--seconds S]
           [--variants A,B]
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

SIGMA = 0.5
WIDTHS = [784, 512, 256, 64, 256, 512]
VARIANTS = {
    "dense": ["eager", "fused", "compiled"],
    "conv": ["eager", "fused", "compiled", "fused channels-last", "compiled channels-last"],
}


class Norm1d(nn.BatchNorm1d):
    """The module refuses a batch of one row, which has no variance; its operator does not. So that
    latency at batch 1 can be measured, this is the operator alone, without the running variance, which
    would divide by 0."""

    def forward(self, x):
        return torch.batch_norm(
            x, self.weight, self.bias, None, None, True, self.momentum, self.eps, False
        )


def dense(norm):
    """784-512-256-64 and its mirror."""
    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        # Without a bias before batch norm: the same arithmetic as ours.
        layers += [nn.Linear(inputs, outputs, bias=False), norm(outputs), nn.ReLU()]
    layers += [nn.Linear(WIDTHS[-1], WIDTHS[0]), nn.Sigmoid()]
    return nn.Sequential(*layers)


def conv(norm):
    """32 and 64 maps, each at half the size, code 64, and its mirror."""
    half = dict(kernel_size=3, stride=2, padding=1)
    return nn.Sequential(
        nn.Conv2d(1, 32, **half, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, **half, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 64, bias=False), norm(64), nn.ReLU(),
        nn.Linear(64, 3136, bias=False), norm(3136), nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, **half, output_padding=1, bias=False),
        nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, **half, output_padding=1), nn.Sigmoid(),
    )


def network(name, batch):
    torch.manual_seed(0)
    return {"dense": dense, "conv": conv}[name](Norm1d if batch == 1 else nn.BatchNorm1d)


def step_function(name, variant, batch):
    """A function without arguments that trains for one step."""
    net = network(name, batch)
    layout = torch.contiguous_format
    if variant.endswith("channels-last"):
        layout = torch.channels_last
        net = net.to(memory_format=layout)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=variant != "eager")
    shape = (60_000, 784) if name == "dense" else (60_000, 1, 28, 28)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)

    def forward_backward(clean):
        noisy = clean + SIGMA * torch.randn_like(clean)
        loss = nn.functional.mse_loss(net(noisy), clean)
        loss.backward()
        return loss

    compiled = variant.startswith("compiled")
    body = torch.compile(forward_backward, dynamic=False) if compiled else forward_backward

    def step():
        rows = torch.randint(0, len(images), (batch,))
        clean = (images[rows].float() / 255).contiguous(memory_format=layout)
        optimiser.zero_grad(set_to_none=True)
        body(clean)
        optimiser.step()

    return step


def burst(step, seconds):
    """Milliseconds of each step, over and over for so long."""
    times = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--model", choices=VARIANTS, default="dense")
    parser.add_argument("--batch", default="128", help="comma-separated")
    parser.add_argument("--variants", help="comma-separated; all by default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    variants = arguments.variants.split(",") if arguments.variants else VARIANTS[arguments.model]
    for batch in map(int, arguments.batch.split(",")):
        for variant in variants:
            step = step_function(arguments.model, variant, batch)
            for _ in range(20):
                step()
            times = burst(step, arguments.seconds)
            row = {"model": arguments.model, "batch": batch, "variant": variant}
            row |= {"median_ms": statistics.median(times), "min_ms": min(times)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
