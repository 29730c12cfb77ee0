"""The MNIST files of the repository."""

from pathlib import Path

import brotli

FOLDER = Path(__file__).resolve().parents[2] / "data" / "mnist"


def idx(name):
    """The bytes of an IDX file, header included: `train-images-idx3-ubyte`, say."""
    return brotli.decompress((FOLDER / f"{name}.br").read_bytes())
