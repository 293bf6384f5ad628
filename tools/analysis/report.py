"""The report page of a dump, as one self-contained HTML file; no model is needed.

    python tools/analysis/report.py DUMP.jsonl --out report.html

tools/test.py --report writes the same page, with the dense prompts of its cases.
"""

import argparse

from rsrefseg2.errors import report_user_errors
from rsrefseg2.options import PROTOCOLS, positive


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dump', help='of tools/test.py --dump, or of any model in its format')
    parser.add_argument(
        '--out', required=True, metavar='HTML', help='file, or folder for an index.html'
    )
    parser.add_argument(
        '--protocol',
        choices=PROTOCOLS,
        default='paper',
        help='how masks are compared (%(default)s)',
    )
    parser.add_argument(
        '--cases',
        type=positive,
        default=6,
        metavar='N',
        help='panels of each: worst, median and best (%(default)s)',
    )
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of the images, where they are not where the dump says',
    )
    parser.add_argument('--title', help="the page's heading (default: the dump's name)")
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files there that this command did not write',
    )
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    from rsrefseg2.apis import write_report
    from rsrefseg2.evaluation import find_protocol

    page = write_report(
        args.dump,
        args.out,
        protocol=find_protocol(args.protocol),
        cases=args.cases,
        images=args.images,
        title=args.title,
        overwrite=args.overwrite,
    )
    print(f'open {page}')


if __name__ == '__main__':
    main()
