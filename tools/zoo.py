"""The model zoo page: python tools/zoo.py > docs/model_zoo.md. From data alone.

    python tools/zoo.py --add work_dirs/ablations --name ablations [--logs]

records the finished runs below a folder in docs/results/runs/ first, from their own files.
"""
from __future__ import annotations

import argparse
import contextlib
import sys

# Libraries write notices to stdout while they are imported; there, only the page belongs.
with contextlib.redirect_stdout(sys.stderr):
    from rsrefseg2.apis.run_records import add_records
    from rsrefseg2.apis.zoo import zoo_page
    from rsrefseg2.errors import report_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--add', nargs='+', metavar='DIR', help='work dirs of runs, or a folder '
                        'of them; prints no page')
    parser.add_argument('--name', help='of the file below docs/results/runs')
    parser.add_argument('--logs', action='store_true',
                        help="keep each run's curve beside it, a few kB, for "
                             'tools/analysis/curves.py')
    args = parser.parse_args()
    if bool(args.add) != bool(args.name):
        parser.error('--add DIR needs --name NAME, and the other way round')
    return args


@report_user_errors()
def main() -> None:
    args = parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        result = (add_records(args.add, args.name, logs=args.logs) if args.add else zoo_page())
    print(result, end='\n' if args.add else '')


if __name__ == '__main__':
    main()
