"""Look through a split: an HTML page with images, masks, sentences, filters and statistics.

    rsrefseg2 data browse DATASET ROOT --split test --out page.html [--max 400]

The page needs no network and no other file. It shows --max samples, drawn by --seed; statistics are
over all, beside the published figures where there are any.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import make_folder
from ..options import READERS, add_shared, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('dataset', choices=READERS, metavar='DATASET', help=', '.join(READERS))
    parser.add_argument('root', help='its folder; data/README.md shows the trees')
    add_shared(parser, 'split', choices=None)
    add_shared(parser, 'out', required=True, type=Path, help='the page to write')
    parser.add_argument(
        '--max',
        type=positive,
        default=400,
        metavar='N',
        help='samples on the page (%(default)s, about 15 KB each)',
    )
    add_shared(parser, 'seed')
    parser.add_argument(
        '--thumbnail',
        type=positive,
        default=256,
        metavar='PIXELS',
        help='longer side of a thumbnail (%(default)s)',
    )
    parser.add_argument(
        '--any-category',
        action='store_true',
        help='rrsisd: take the category names that the files have',
    )
    add_shared(parser, 'overwrite')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.any_category and args.dataset != 'rrsisd':
        parser.error('--any-category is for rrsisd; the other readers take any')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..apis.browse_dataset import write_browse_page

    make_folder(args.out.parent)
    options = dict(classes=None) if args.any_category else {}
    for line in write_browse_page(
        args.out,
        args.dataset,
        args.root,
        split=args.split,
        most=args.max,
        seed=args.seed,
        side=args.thumbnail,
        overwrite=args.overwrite,
        **options,
    ):
        print(line)
    print(f'open {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)')
