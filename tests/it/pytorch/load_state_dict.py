"""Loads a run's model into PyTorch and compares what both make of the same images.

Usage: pip install -r requirements.txt
       diabolo encode RUN --input images.npy --out codes.npy
       diabolo denoise RUN --input images.npy --out restored.npy
       python load_state_dict.py RUN images.npy codes.npy restored.npy

Prints the largest differences; the exit code is 1 if one is more than 1e-5 of the largest value.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

TOLERANCE = 1e-5
ACTIVATIONS = {
    "identity": None,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def pair(size):
    return [size, size] if isinstance(size, int) else size


class Autoencoder(nn.Module):
    """The model of a recipe's [model], for images of [height, width, channels]."""

    def __init__(self, model, image):
        super().__init__()
        hidden, code = model.get("hidden", []), model["code"]
        f, f_code = model.get("activation", "relu"), model.get("code_activation", "relu")
        self.image, self.logits = image, model.get("loss", "mse") == "bce"
        self.convolutional = bool(model.get("convolutions"))

        def activation(name):
            return [ACTIVATIONS[name]()] if ACTIVATIONS[name] else []

        def dense(inputs, outputs, name):
            linear = nn.Linear(inputs, outputs, bias=False)
            return [linear, nn.BatchNorm1d(outputs), *activation(name)]

        down, up = [], []  # `up` grows at its front: the decoder mirrors the encoder
        size, channels = list(image[:2]), image[2]
        last = [] if self.logits else [nn.Sigmoid()]
        for stage in model.get("convolutions", []):
            kernel, maps = pair(stage["kernel"]), stage["channels"]
            stride, dilation = pair(stage.get("stride", 1)), pair(stage.get("dilation", 1))
            same = [d * (k - 1) // 2 for d, k in zip(dilation, kernel)]
            padding = pair(stage.get("padding", same))
            window = dict(stride=stride, padding=padding, dilation=dilation)
            room = [
                n + 2 * p - d * (k - 1) - 1
                for n, p, d, k in zip(size, padding, dilation, kernel)
            ]
            rest = [r % s for r, s in zip(room, stride)]
            size = [r // s + 1 for r, s in zip(room, stride)]
            down += [nn.Conv2d(channels, maps, kernel, bias=False, **window)]
            down += [nn.BatchNorm2d(maps), *activation(f)]
            transposed = nn.ConvTranspose2d(
                maps, channels, kernel, output_padding=rest, bias=not up, **window
            )
            back = [transposed, *([nn.BatchNorm2d(channels), *activation(f)] if up else last)]
            if pool := stage.get("pool"):
                size = [n // 2 for n in size]
                down += [{"max": nn.MaxPool2d, "average": nn.AvgPool2d}[pool](2)]
                back = [nn.Upsample(scale_factor=2), *back]
            up, channels = back + up, maps
        flat = size[0] * size[1] * channels
        widths, inner = [flat, *hidden], [*hidden, code][0]
        if self.convolutional:
            down += [nn.Flatten()]
            up = [*dense(inner, flat, f), nn.Unflatten(1, (channels, *size)), *up]
        else:
            up = [nn.Linear(inner, flat), *last]
        for inputs, outputs in zip(widths, hidden):
            down += dense(inputs, outputs, f)
        down += dense(widths[-1], code, f_code)
        mirrored = [code, *reversed(hidden)]
        before = [dense(inputs, outputs, f) for inputs, outputs in zip(mirrored, mirrored[1:])]
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*sum(before, []), *up)

    def encode(self, x):
        """Codes of images [n, height, width, channels]."""
        return self.encoder(x.permute(0, 3, 1, 2) if self.convolutional else x.flatten(1))

    def forward(self, x):
        """Restored images, likewise."""
        y = self.decoder(self.encode(x))
        y = torch.sigmoid(y) if self.logits else y
        return y.permute(0, 2, 3, 1) if self.convolutional else y.reshape(x.shape)


def main(run, images, codes, restored):
    images, codes, restored = map(np.load, (images, codes, restored))
    recipe = tomllib.loads(Path(run, "recipe.toml").read_text(encoding="utf-8"))
    model = Autoencoder(recipe["model"], restored.shape[1:])
    model.load_state_dict(load_file(Path(run, "model.safetensors")), strict=True)
    # In double precision, what differs is Diabolo's rounding alone.
    model.double().eval()
    x = torch.from_numpy(images).double().reshape(restored.shape)
    with torch.inference_mode():
        expected = {"codes": (codes, model.encode(x)), "restored": (restored, model(x))}
    fits = True
    for name, (got, expected) in expected.items():
        difference = np.abs(got - expected.numpy()).max()
        part = difference / expected.abs().max().item()
        print(f"{name} {list(got.shape)}: off by {difference:.1e}, {part:.1e} of the largest value")
        fits &= bool(part <= TOLERANCE)  # not so if NaN
    return 0 if fits else 1


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
