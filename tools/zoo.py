"""The model zoo page: python tools/zoo.py > docs/model_zoo.md. From data alone.

    python tools/zoo.py --add work_dirs/ablations --name ablations [--logs]

records the finished runs below a folder in docs/results/runs/ first, from their own files;

    python tools/zoo.py --seeds configs/synthrs_long.py > docs/results/synthrs.json

prints the recorded scores of a config by seed, with their mean and standard deviation.
"""
from __future__ import annotations

import argparse
import contextlib
import sys

# Libraries write notices to stdout while they are imported; there, only the page belongs.
with contextlib.redirect_stdout(sys.stderr):
    from rsrefseg2.apis.run_records import add_records, seed_scores
    from rsrefseg2.apis.zoo import zoo_page
    from rsrefseg2.errors import report_user_errors
    from rsrefseg2.records import to_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--add', nargs='+', metavar='DIR', help='work dirs of runs, or a folder '
                        'of them; prints no page')
    parser.add_argument('--name', help='of the file below docs/results/runs')
    parser.add_argument('--logs', action='store_true',
                        help="keep each run's curve beside it, a few kB, for "
                             'tools/analysis/curves.py')
    parser.add_argument('--seeds', metavar='CONFIG', help='print its recorded scores by seed, as '
                        'JSON; prints no page')
    args = parser.parse_args()
    if args.seeds and args.add:
        parser.error('--add records, --seeds prints what is recorded: one after the other')
    if bool(args.add) != bool(args.name):
        parser.error('--add DIR needs --name NAME, and the other way round')
    return args


@report_user_errors()
def main() -> None:
    args = parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        if args.add:
            result = f'{add_records(args.add, args.name, logs=args.logs)}\n'
        elif args.seeds:
            result = to_json(seed_scores(args.seeds), indent=1) + '\n'
        else:
            result = zoo_page()
    print(result, end='')


if __name__ == '__main__':
    main()
