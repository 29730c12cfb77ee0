"""Diabolo and its peers on this machine's CPU, in turns, in one run: training steps and Adam against
PyTorch, nearest neighbours against FAISS and scikit-learn.

Every round runs each contestant for a short while: machines are noisy, and what takes turns is noisy
together. Peers stay alive in this process; Diabolo is started anew each time and times itself, without
its start. The table has medians over the rounds, and the median over the rounds of the ratio
peer / Diabolo of that round: above 1, Diabolo is faster. Neighbours are compared too: how many of ours are
the peers', and how far apart in distance the others are.

The whole main job, `main`, takes minutes: it runs only if asked for, and once.

Usage: python compare.py --diabolo PATH [--rounds N] [--batch 1,16,128] [--only dense,conv,adam,knn,main]
           [--queries N] [--threads N] [--seconds S]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORKLOADS = ["dense", "conv", "adam", "knn"]
ON_DEMAND = ["main"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--diabolo", required=True, help="the program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", default="1,16,128", help="of training steps")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="comma-separated")
    parser.add_argument("--queries", type=int, default=10_000, help="of nearest neighbours")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=1, help="a peer's turn at training")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    known = WORKLOADS + ON_DEMAND
    if unknown := set(arguments.only) - set(known):
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of {','.join(known)}")
    return arguments


ARGUMENTS = parse()
# Libraries read it when they are loaded.
os.environ["OMP_NUM_THREADS"] = str(ARGUMENTS.threads)


def diabolo(kernel, *command):
    """A turn of ours: the milliseconds of one row of `diabolo bench`."""

    def turn():
        common = ["--device", "cpu", "--threads", str(ARGUMENTS.threads), "--json"]
        result = subprocess.run(
            [ARGUMENTS.diabolo, "bench", *command, *common], stdout=subprocess.PIPE, check=True,
            stderr=subprocess.DEVNULL,
        )
        rows = [row for row in json.loads(result.stdout) if row["kernel"] == kernel]
        return rows[0]["median_ms"]

    return turn


def peer(step, seconds):
    """A turn of a peer's: the median of its burst."""
    from training_step import burst

    return lambda: statistics.median(burst(step, seconds))


def races(folder):
    """Name and contestants, by name, of each race; ours comes first. Made one after the other, so
    that no race's memory burdens the next. What a race leaves to be said is printed when it is over."""
    import numpy as np
    import torch

    import adam
    import knn
    from training_step import VARIANTS, step_function

    torch.set_num_threads(ARGUMENTS.threads)
    for model in ["dense", "conv"]:
        if model not in ARGUMENTS.only:
            continue
        for batch in map(int, ARGUMENTS.batch.split(",")):
            command = ["step", "--workload", model, "--batch", str(batch), "--rounds", "9"]
            contestants = {"Diabolo": diabolo("step", *command)}
            # What was compiled for other shapes would count against a limit.
            torch.compiler.reset()
            for variant in VARIANTS[model]:
                step = step_function(model, variant, batch)
                for _ in range(10):
                    step()
                contestants[f"PyTorch, {variant}"] = peer(step, ARGUMENTS.seconds)
            yield f"{model} step, batch {batch}", contestants
    if "adam" in ARGUMENTS.only:
        contestants = {"Diabolo": diabolo("adam", "kernels", "--workload", "dense", "--rounds", "9")}
        for variant in adam.VARIANTS:
            update = adam.update_function(variant)
            contestants[f"PyTorch, {variant}"] = peer(update, ARGUMENTS.seconds)
        yield "Adam, 1.1 M parameters", contestants
    if "knn" in ARGUMENTS.only:
        data = knn.data(ARGUMENTS.queries, 60_000)
        ours = f"{folder}/neighbours.npy"
        command = ["knn", "--queries", str(ARGUMENTS.queries), "--rounds", "1", "--neighbours", ours, "--force"]
        contestants = {"Diabolo": diabolo("search", *command)}
        found = {}
        for library in knn.LIBRARIES:
            search = knn.search_function(library, *data, ARGUMENTS.threads)
            keep = lambda library=library, search=search: found.update({library: search()})
            contestants[library] = peer(keep, 0)
        yield f"k-NN, {ARGUMENTS.queries} × 60000 × 784, k = {knn.K}", contestants
        for library, theirs in found.items():
            print(f"\nDiabolo and {library}: {knn.agreement(*data, np.load(ours), theirs)}", flush=True)


def output(*command):
    """The JSON that a command prints."""
    print(" ".join(map(str, command)), file=sys.stderr)
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main_job():
    """The whole main job of each, once: a table of seconds and of accuracies."""
    threads = ["--threads", str(ARGUMENTS.threads)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["run", "mnist-dense", "--device", "cpu", "--json", "--out", f"{folder}/run"]
        ours = output(ARGUMENTS.diabolo, *command, *threads)
    theirs = output(sys.executable, Path(__file__).with_name("main_job.py"), *threads)
    # One total, with loading and compiling.
    theirs["seconds"]["train"] += theirs["seconds"]["compile"]
    print("| the main job, one round | training, s | evaluation, s | total, s | relative | accuracy, 200 labels |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, result in [("Diabolo", ours), ("PyTorch and FAISS", theirs)]:
        seconds = result["seconds"]
        asked = (200, 1, "cosine")
        rows = [row for row in result["few_label"] if (row["labels"], row["k"], row["distance"]) == asked]
        cells = [f"{seconds[part]:.1f}" for part in ["train", "evaluate", "total"]]
        cells += [f"{seconds['total'] / ours['seconds']['total']:.2f}"]
        cells += [f"{rows[0]['features']['mean']:.4f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main():
    if "main" in ARGUMENTS.only:
        main_job()
    if not set(ARGUMENTS.only) & set(WORKLOADS):
        return
    print(f"| | contestant | ms | relative to Diabolo, {ARGUMENTS.rounds} rounds |")
    print("|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for race, contestants in races(folder):
            times = {name: [] for name in contestants}
            for round in range(ARGUMENTS.rounds):
                print(f"{race}: round {round + 1} of {ARGUMENTS.rounds}", file=sys.stderr)
                for name, turn in contestants.items():
                    times[name].append(turn())
            ours = times["Diabolo"]
            for name, theirs in times.items():
                ratio = statistics.median(their / our for their, our in zip(theirs, ours))
                print(f"| {race} | {name} | {statistics.median(theirs):.3g} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
