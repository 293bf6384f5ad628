#!/usr/bin/env bash
# From nothing to a trained, scored model: installs, generates SynthRS, fine-tunes, tests, draws.
# Twice in a row: what is there is kept (--fresh starts over).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
config=configs/synthrs_tiny.py
out=work_dirs/quickstart
data="${RSREFSEG2_DATA:-data}/synthrs"
if [ "${1:-}" = --fresh ]; then rm -rf "$out"; fi
# Many small operators: a second thread does not help, and one gives the same digits everywhere.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

echo '1/4 generating SynthRS'
python tools/synthrs_generate.py --out "$data"
echo '2/4 fine-tuning the tiny RSRefSeg 2'
python tools/train.py "$config" --work-dir "$out" --resume
checkpoint="$(cat "$out/last_checkpoint")"
echo '3/4 testing'
python tools/test.py "$config" "$checkpoint" --work-dir "$out"
echo '4/4 drawing panels'
python tools/visualize.py "$config" "$checkpoint" --out "$out/panels" --max 24 \
    --scores "$out/scores.json" --overwrite

echo
echo "scores       $root/$out/scores.json"
echo "checkpoint   $checkpoint"
echo "panels       $root/$out/panels"
echo "page         $root/$out/panels/index.html"
echo "scenes       $(cd "$data" && pwd)"
echo
echo "For other commands, first: source $(printf %q "$root/.venv/bin/activate")"
