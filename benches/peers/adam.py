"""Adam alone in PyTorch, over the 1.1 million parameters of the dense model, with gradients that stay.

Prints one line of JSON per variant: {"variant", "parameters", "median_ms", "min_ms"}. Variants: eager,
which goes from operation to operation over lists of tensors; fused, one kernel.

Usage: python adam.py [--threads N] [--seconds S]
"""

import argparse
import json
import statistics

import torch

from training_step import burst, network

VARIANTS = ["eager", "fused"]


def parameters():
    return list(network("dense", 128).parameters())


def update_function(variant):
    """A function without arguments that makes one update."""
    values = parameters()
    for value in values:
        value.grad = 1e-3 * torch.randn_like(value)
    return torch.optim.Adam(values, lr=1e-3, fused=variant == "fused").step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    count = sum(value.numel() for value in parameters())
    for variant in VARIANTS:
        update = update_function(variant)
        burst(update, 0.2)
        times = burst(update, arguments.seconds)
        row = {"variant": variant, "parameters": count}
        row |= {"median_ms": statistics.median(times), "min_ms": min(times)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
