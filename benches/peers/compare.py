"""Diabolo and its peers on this machine's CPU, in turns, in one run: training steps and Adam against
PyTorch, nearest neighbours against FAISS and scikit-learn.

Every round runs each contestant for a short while: machines are noisy, and what takes turns is noisy
together. Peers stay alive in this process; Diabolo is started anew each time and times itself, without
its start. The table has medians over the rounds, and the median over the rounds of the ratio
peer / Diabolo of that round: above 1, Diabolo is faster. Neighbours are compared too: how many of ours are
the peers', and how far apart in distance the others are.

The main job, `main`, takes minutes: it runs only if asked for. Whole, once: everything that
`diabolo run mnist-dense` does, loading, training, encoding, few-label evaluation, denoising. And to a
target, round by round: the same with 1, 2, … epochs, the schedule shortened with them, judged with 200
labels alone; the first whose accuracy by 1-NN and cosine reaches 0.87. Its time is that of this one job,
from loading to judgement. Both read the same recipe file; neither's start (importing PyTorch) is counted.

Usage: python compare.py --diabolo PATH [--rounds N] [--batch 1,16,128] [--only dense,conv,adam,knn,main]
           [--queries N] [--threads N] [--seconds S]
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

WORKLOADS = ["dense", "conv", "adam", "knn"]
ON_DEMAND = ["main"]
# Of the main job.
TARGET, LABELS = 0.87, 200


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


def accuracy(result):
    """Mean and standard deviation over the draws, of 1-NN by cosine on features."""
    asked = (LABELS, "knn-1-cosine", "features")
    keys = ("labels", "judge", "representation")
    row = next(row for row in result["few_label"] if tuple(row[key] for key in keys) == asked)
    return row["mean"], row["sd"]


def ours(recipe, epochs):
    with tempfile.TemporaryDirectory() as folder:
        command = [ARGUMENTS.diabolo, "run", recipe, "--device", "cpu", "--json", "--out", f"{folder}/run"]
        return output(*command, "--threads", str(ARGUMENTS.threads), "--epochs", str(epochs))


def theirs(recipe, epochs):
    command = [sys.executable, Path(__file__).with_name("main_job.py"), "--recipe", recipe]
    return output(*command, "--threads", str(ARGUMENTS.threads), "--epochs", str(epochs))


def epochs_to_target(job, recipe, longest):
    """Epochs of the shortest job that reaches the target, or else of the longest."""
    reached = (n for n in range(1, longest) if accuracy(job(recipe, n))[0] >= TARGET)
    return next(reached, longest)


def race_of_jobs(name, recipe, contestants, rounds):
    """Jobs in turns, of so many epochs each: the row of every contestant's median."""
    results = {contestant: [] for contestant in contestants}
    for round in range(rounds):
        print(f"{name}: round {round + 1} of {rounds}", file=sys.stderr)
        for contestant, (job, epochs) in contestants.items():
            results[contestant].append(job(recipe, epochs))
    total = lambda result: result["seconds"]["total"]
    ratio = lambda theirs: statistics.median(
        total(their) / total(our) for their, our in zip(theirs, results["Diabolo"])
    )
    for contestant, runs in results.items():
        middle = sorted(runs, key=total)[len(runs) // 2]
        seconds = middle["seconds"]
        parts = f"{seconds['train']:.1f} training, {seconds['evaluate']:.1f} evaluation"
        cells = [name, contestant, middle["epochs"], f"{seconds['total']:.1f} ({parts})"]
        cells += [f"{ratio(runs):.2f}", "{:.4f} ± {:.4f}".format(*accuracy(middle))]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main_job():
    """The main job of each: a table of seconds and of accuracies."""
    jobs = {"Diabolo": ours, "PyTorch and FAISS": theirs}
    print(f"| the main job | contestant | epochs | total, s | relative | accuracy, {LABELS} labels |")
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "mnist-dense.toml"
        show = [ARGUMENTS.diabolo, "recipes", "show", "mnist-dense"]
        recipe.write_bytes(subprocess.run(show, stdout=subprocess.PIPE, check=True).stdout)
        text = re.sub(r"(?m)^labels = .*$", f"labels = [{LABELS}]", recipe.read_text())
        judged_once = recipe.with_name("judged-once.toml")
        judged_once.write_text(re.sub(r"(?m)^noise_levels = .*$", "noise_levels = []", text))
        longest = tomllib.loads(text)["train"]["epochs"]
        short = {
            name: (job, epochs_to_target(job, judged_once, longest)) for name, job in jobs.items()
        }
        race_of_jobs(f"to {TARGET}", judged_once, short, ARGUMENTS.rounds)
        race_of_jobs("whole", recipe, {name: (job, longest) for name, job in jobs.items()}, 1)


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
