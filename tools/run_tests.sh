#!/usr/bin/env bash
# Set up .venv and run the tests; arguments go to pytest. The slow tier: run_tests.sh -m slow
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
# One thread a worker: more of them fight over the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec python -m pytest --numprocesses "${PYTEST_WORKERS:-auto}" --durations 10 "$@"
