"""The report page of a dump, as one self-contained HTML file; no model is needed.

    rsrefseg2 analysis report DUMP.jsonl --out report.html

rsrefseg2 test --report writes the same page, with the dense prompts of its cases.
"""

import argparse

from ..options import add_shared, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('dump', help='of rsrefseg2 test --dump, or of any model in its format')
    add_shared(
        parser, 'out', required=True, metavar='HTML', help='file, or folder for an index.html'
    )
    add_shared(parser, 'protocol')
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
    add_shared(parser, 'overwrite')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..apis import write_report
    from ..evaluation import find_protocol

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
