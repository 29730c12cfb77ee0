"""Exact nearest neighbours in FAISS (IndexFlatL2) and scikit-learn (brute force): MNIST's test images
among its training images, k = 5.

Prints one line of JSON per library: {"library", "queries", "references", "median_ms", "min_ms"}, and
on standard error how many lists of neighbours the two agree on. References are in the index before the
clock starts.

Usage: python knn.py [--queries N] [--references N] [--threads N] [--rounds N]
"""

import argparse
import gzip
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

K = 5
LIBRARIES = ["faiss", "scikit-learn"]
MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"


def images(name, count):
    """The first images of an IDX file, `[count, 784]`, from 0 to 1."""
    with gzip.open(MNIST / name) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    return (pixels.reshape(-1, 784)[:count] / np.float32(255)).astype(np.float32)


def data(queries, references):
    return images("t10k-images-idx3-ubyte.gz", queries), images("train-images-idx3-ubyte.gz", references)


def search_function(library, queries, references, threads=0):
    """A function without arguments that returns the neighbours, `[queries, K]`."""
    if library == "faiss":
        import faiss

        if threads:
            faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatL2(references.shape[1])
        index.add(references)
        return lambda: index.search(queries, K)[1]
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=K, algorithm="brute", n_jobs=threads or None)
    index.fit(references)
    return lambda: index.kneighbors(queries, return_distance=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--references", type=int, default=60_000)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    queries, references = data(arguments.queries, arguments.references)
    found = {}
    for library in LIBRARIES:
        search = search_function(library, queries, references, arguments.threads)
        times = []
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            found[library] = search()
            times.append(1e3 * (time.perf_counter() - start))
        row = {"library": library, "queries": len(queries), "references": len(references)}
        row |= {"median_ms": statistics.median(times), "min_ms": min(times)}
        print(json.dumps(row), flush=True)
    one, other = found.values()
    same = int((np.sort(one) == np.sort(other)).all(axis=1).sum())
    print(f"the same neighbours for {same} of {len(one)} queries", file=sys.stderr)


if __name__ == "__main__":
    main()
