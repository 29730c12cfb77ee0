#!/usr/bin/env bash
# Times Diabolo and its peers (PyTorch, FAISS, scikit-learn) in turns on this machine's CPU, and prints
# the ratios. Arguments go to benches/peers/compare.py: --rounds 3, --only dense,knn, --batch 128, …
# `--only main` runs the main job, `diabolo run mnist-dense` and the same in PyTorch and FAISS, once each:
# some minutes.
#
# The peers are installed into a virtual environment under target/ at the first call (about 1 GB). To use
# those of a Python that has them, set DIABOLO_PYTHON.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
python=${DIABOLO_PYTHON:-}
if [ -z "$python" ]; then
    python=$target/peers/bin/python
    # Stands only once everything is installed.
    if [ ! -e "$target/peers/complete" ]; then
        python3 -m venv "$target/peers"
        # PyTorch without CUDA comes from an index of its own; where that cannot be reached, it is asked
        # for every package in vain, and PyTorch comes from PyPI with 4 GB that nobody needs here.
        "$python" -m pip install --quiet --retries 1 -r benches/peers/requirements.txt
        touch "$target/peers/complete"
    fi
fi
cargo build --release --bin diabolo
# glibc hands the memory of large arrays back to the system when they are freed, and PyTorch, which makes
# them anew at every step, would pay for page faults: a third of a step of the main job.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=2000000000
exec "$python" benches/peers/compare.py --diabolo "$target/release/diabolo" "$@"
