"""Exact nearest neighbours in FAISS (IndexFlatL2) and scikit-learn (brute force): MNIST's test images
among its training images, k = 5.

Prints one line of JSON per library: {"library", "queries", "references", "median_ms", "min_ms"}, and
on standard error how far the two agree. References are in the index before the clock starts.

Usage: python knn.py [--queries N] [--references N] [--threads N] [--rounds N]
"""

import argparse
import json
import statistics
import sys
import time

import mnist
import numpy as np

K = 5
LIBRARIES = ["faiss", "scikit-learn"]


def images(name, count):
    """The first images of an IDX file, `[count, 784]`, from 0 to 1."""
    pixels = np.frombuffer(mnist.idx(name), np.uint8, offset=16)
    return (pixels.reshape(-1, 784)[:count] / np.float32(255)).astype(np.float32)


def data(queries, references):
    return images("t10k-images-idx3-ubyte", queries), images("train-images-idx3-ubyte", references)


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


def agreement(queries, references, ours, theirs):
    """In how many rows two searches name the same neighbours in the same order, and where they do not,
    how far apart the neighbours are that they name instead: the largest difference of two squared distances
    (in double precision), in parts of |q|² + |r|², to which single precision rounds them.

    >>> queries, references = np.zeros((2, 1)), np.array([[1.0], [-1.0], [2.0]])
    >>> agreement(queries, references, np.array([[0, 1], [0, 1]]), np.array([[0, 1], [1, 0]]))
    'the same neighbours in the same order for 1 of 2 queries; else distances within 0e+00'
    >>> agreement(queries, references, np.array([[0, 1], [0, 1]]), np.array([[0, 2], [0, 1]]))
    'the same neighbours in the same order for 1 of 2 queries; else distances within 8e-01'
    >>> agreement(queries, references, np.array([[0, 1], [0, 1]]), np.array([[0, 1], [0, 1]]))
    'the same neighbours in the same order for 2 of 2 queries'
    """
    ours, theirs = np.asarray(ours, int), np.asarray(theirs, int)
    differ = (ours != theirs).any(axis=1)
    message = f"the same neighbours in the same order for {(~differ).sum()} of {len(ours)} queries"
    if not differ.any():
        return message
    query = queries[differ, None].astype(float)
    found = [references[lists[differ]].astype(float) for lists in [ours, theirs]]
    one, other = (((query - neighbours) ** 2).sum(axis=2) for neighbours in found)
    scale = (query**2).sum(axis=2) + np.maximum(*((neighbours**2).sum(axis=2) for neighbours in found))
    return f"{message}; else distances within {(abs(one - other) / scale).max():.0e}"


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
    print(agreement(queries, references, *found.values()), file=sys.stderr)


if __name__ == "__main__":
    main()
