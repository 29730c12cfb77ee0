"""The reference dense training step in PyTorch, on the CPU: gather, noise, forward, MSE, backward, Adam.

Prints one line of JSON per variant: {"variant", "median_ms", "min_ms"}.
Usage: python dense_step.py [--threads N] [--seconds S] [--variants eager,fused,compiled]
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

BATCH, SIGMA = 128, 0.5
WIDTHS = [784, 512, 256, 64, 256, 512]


def model():
    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        # Without a bias before batch norm: the same arithmetic as ours.
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
    layers += [nn.Linear(WIDTHS[-1], WIDTHS[0]), nn.Sigmoid()]
    return nn.Sequential(*layers)


def step_function(variant):
    torch.manual_seed(0)
    net = model()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=variant != "eager")
    images = torch.randint(0, 256, (60_000, 784), dtype=torch.uint8)

    def forward_backward(clean):
        noisy = clean + SIGMA * torch.randn_like(clean)
        loss = nn.functional.mse_loss(net(noisy), clean)
        loss.backward()
        return loss

    body = torch.compile(forward_backward) if variant == "compiled" else forward_backward

    def step():
        rows = torch.randint(0, len(images), (BATCH,))
        clean = images[rows].float() / 255
        optimiser.zero_grad(set_to_none=True)
        body(clean)
        optimiser.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--variants", default="eager,fused,compiled")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for variant in arguments.variants.split(","):
        step = step_function(variant)
        for _ in range(20):
            step()
        times = []
        until = time.perf_counter() + arguments.seconds
        while time.perf_counter() < until:
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        row = {"variant": variant, "median_ms": statistics.median(times), "min_ms": min(times)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
