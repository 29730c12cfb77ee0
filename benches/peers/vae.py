"""The recipe `mnist-vae` in PyTorch, in turns with Diabolo's: seconds of training, and nats per image.

Usage: python benches/peers/vae.py --diabolo target/release/diabolo [--rounds 3]
"""

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import mnist
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS, BATCH, RATE, WARMUP = 10, 128, 6e-3, 100


def images(name):
    bytes_of_file = bytearray(mnist.idx(f"{name}-images-idx3-ubyte"))
    pixels = torch.frombuffer(bytes_of_file, dtype=torch.uint8, offset=16)
    return pixels.reshape(-1, 784).float() / 255


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def losses(self, x):
        mean, log = self.encoder(x).chunk(2, 1)
        y = self.decoder(mean + torch.exp(0.5 * log) * torch.randn_like(mean))
        reconstruction = F.binary_cross_entropy_with_logits(y, x, reduction="sum") / len(x)
        kl = 0.5 * (mean**2 + torch.exp(log) - log - 1).sum() / len(x)
        return reconstruction, kl


def train(seed):
    """Seconds of training, and reconstruction and divergence on the test images."""
    torch.manual_seed(seed)
    data, test = images("train"), images("t10k")
    model = Vae()
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    steps = len(data) // BATCH
    total, step = EPOCHS * steps, 0
    began = time.perf_counter()
    for _ in range(EPOCHS):
        order = torch.randperm(len(data))
        for batch in order[: steps * BATCH].split(BATCH):
            part = max(step - WARMUP, 0) / (total - WARMUP)
            risen = min((step + 1) / WARMUP, 1)
            for group in optimiser.param_groups:
                group["lr"] = RATE * risen * 0.5 * (1 + math.cos(math.pi * part))
            reconstruction, kl = model.losses(data[batch])
            optimiser.zero_grad()
            (reconstruction + kl).backward()
            optimiser.step()
            step += 1
    seconds = time.perf_counter() - began
    with torch.no_grad():
        reconstruction, kl = model.losses(test)
    return seconds, reconstruction.item(), kl.item()


def diabolo(program, seed):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [program, "run", "mnist-vae", "--device", "cpu", "--out", out, "--seed", str(seed)]
        subprocess.run(command, check=True, capture_output=True)
        summary = json.loads((out / "summary.json").read_text())
    notes = summary["notes"]["held_out"]
    return summary["seconds"]["train"], notes["reconstruction"], notes["kl"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diabolo", required=True, help="the program")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(2)
    ratios = []
    for seed in range(options.rounds):
        ours, theirs = diabolo(options.diabolo, seed), train(seed)
        ratios.append(theirs[0] / ours[0])
        for name, (seconds, reconstruction, kl) in [("Diabolo", ours), ("PyTorch", theirs)]:
            nats = f"{reconstruction:.2f} + {kl:.2f} = {reconstruction + kl:.2f} nats per image"
            print(f"seed {seed}  {name}  {seconds:6.1f} s  {nats}", flush=True)
    print(f"PyTorch takes {statistics.median(ratios):.2f} times as long (median of {ratios})")


main()
