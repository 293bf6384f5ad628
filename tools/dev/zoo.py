"""Prints the model zoo page, from data alone: the shipped records (docs/results/runs) and yours.

    python tools/dev/zoo.py --add work_dirs/ablations --name ablations [--logs]

records the finished runs below a folder, from their own files: in work_dirs/records, which git
ignores, or in the folder that --records names;

    python tools/dev/zoo.py --seeds configs/synthrs_long.py

prints the recorded scores of a config by seed, with their mean and standard deviation. The shipped
page and its numbers are made of the shipped records alone, without yours:

    python tools/dev/zoo.py --records docs/results/runs > docs/model_zoo.md
    python tools/dev/zoo.py --records docs/results/runs --seeds configs/synthrs_long.py \\
        > docs/results/synthrs.json
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from rsrefseg2.errors import report_user_errors
from rsrefseg2.options import OWN_RECORDS, RECORDS
from rsrefseg2.records import to_json

# The modules beside this file serve this repository alone and are not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--add',
        nargs='+',
        metavar='DIR',
        help='work dirs of runs, or a folder of them; prints no page',
    )
    parser.add_argument('--name', help='of the file below --records')
    parser.add_argument(
        '--records',
        metavar='DIR',
        default=OWN_RECORDS,
        help=f'your records; read together with {RECORDS} (default: %(default)s)',
    )
    parser.add_argument(
        '--logs',
        action='store_true',
        help="keep each run's curve beside it, a few kB, for tools/analysis/curves.py",
    )
    parser.add_argument(
        '--seeds',
        metavar='CONFIG',
        help='print its recorded scores by seed, as JSON; prints no page',
    )
    args = parser.parse_args()
    if args.seeds and args.add:
        parser.error('--add records, --seeds prints what is recorded: one after the other')
    if bool(args.add) != bool(args.name):
        parser.error('--add DIR needs --name NAME, and the other way round')
    return args


@report_user_errors()
def main() -> None:
    args = parse_args()
    folders = list(dict.fromkeys([RECORDS, os.path.normpath(args.records)]))
    # Libraries write notices to stdout while they are imported; there, only the page belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from tools.dev.model_zoo import zoo_page
        from tools.dev.run_records import add_records, seed_scores

        if args.add:
            out = add_records(args.add, args.name, logs=args.logs, folder=folders[-1])
            result = f'{out}\n'
        elif args.seeds:
            result = to_json(seed_scores(args.seeds, folders=folders), indent=1) + '\n'
        else:
            result = zoo_page(folders=folders)
    print(result, end='')


if __name__ == '__main__':
    main()
