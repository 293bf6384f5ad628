#!/usr/bin/env bash
# Set up .venv and run the tests, in random order (its seed is printed); arguments go to pytest.
# The slow tier: run_tests.sh -m slow; on a GPU: run_tests.sh -m gpu.
# The same order again: run_tests.sh --randomly-seed=SEED
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
# One thread a worker: more of them fight over the cores. A worker takes about 1.5 GB of memory.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
[[ " $* " == *" -m gpu "* ]] && export RSREFSEG2_TEST_GPU=1
exec python -m pytest --numprocesses "${PYTEST_WORKERS:-auto}" --maxprocesses 8 --durations 10 "$@"
