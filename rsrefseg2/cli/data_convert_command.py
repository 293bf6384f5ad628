"""Triplets from one layout to another, or from any COCO instance file.

    rsrefseg2 data convert risbench data/risbench --to rrsisd --out data/risbench_as_rrsisd
    rsrefseg2 data convert coco instances.json --images DIR --to rrsisd --out data/mine

Sentences, masks, pixels and splits are kept; what the layout cannot hold is listed at the end. From
COCO, sentences are made by rule, each true of exactly one instance and checked by an independent
solver; rsrefseg2/dataprep/expressions/__init__.py says how.
"""

from __future__ import annotations

import argparse
import collections
import os
from pathlib import Path

from ..options import (
    BENCHMARKS,
    FURTHER,
    LAYOUTS,
    PER_IMAGE,
    PER_OBJECT,
    SHARES,
    SPLITS,
    add_shared,
    fraction,
    positive,
)
from ..records import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        'source', choices=[*BENCHMARKS, *FURTHER, 'jsonl', 'coco'], help='what ROOT holds'
    )
    parser.add_argument('root', help="the data set's folder; of coco: the instance file")
    parser.add_argument('--to', required=True, choices=LAYOUTS, help='layout to write')
    add_shared(parser, 'out', required=True, type=Path, help='new folder')
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=SPLITS,
        help='of a layout: the splits to convert (those of the benchmark)',
    )
    _add_coco_arguments(parser.add_argument_group('from coco'))


def _add_coco_arguments(coco: argparse._ArgumentGroup) -> None:
    coco.add_argument('--images', help="the pictures' folder (default: beside the instance file)")
    add_shared(coco, 'seed', note='it chooses sentences and splits')
    coco.add_argument(
        '--shares',
        nargs=3,
        type=fraction,
        default=SHARES,
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='of the pictures (0.7 0.1 0.2)',
    )
    coco.add_argument(
        '--per-object',
        type=positive,
        default=PER_OBJECT,
        metavar='N',
        help='most sentences of one instance (%(default)s)',
    )
    coco.add_argument(
        '--per-image',
        type=positive,
        default=PER_IMAGE,
        metavar='N',
        help='most sentences of one picture (%(default)s)',
    )
    coco.add_argument(
        '--names', metavar='JSON', type=Path, help='{category: [its names in sentences]}'
    )
    coco.add_argument(
        '--exclude',
        nargs='+',
        default=(),
        metavar='CATEGORY',
        help='say nothing of these: the annotators covered them in part only',
    )
    coco.add_argument(
        '--boxes-as-masks',
        action='store_true',
        help='fill the boxes of annotations without a segmentation',
    )


def read_names(path: Path | None) -> dict[str, list[str]] | None:
    """{category: its names in sentences}; None without a file."""
    if path is None:
        return None
    return read_json(path, dict[str, list[str]], what='the file of names')


def from_coco(args: argparse.Namespace) -> None:
    """Converts a COCO instance file and prints what came of it."""
    from ..dataprep.expressions import Limits
    from ..dataprep.from_coco import convert_coco

    images = args.images or os.path.join(os.path.dirname(args.root), 'images')
    summary = convert_coco(
        args.root,
        images,
        to=args.to,
        out=args.out,
        seed=args.seed,
        shares=args.shares,
        limits=Limits(per_object=args.per_object, per_image=args.per_image),
        names=read_names(args.names),
        exclude=args.exclude,
        boxes_as_masks=args.boxes_as_masks,
    )
    pictures = summary['pictures']
    total: collections.Counter[str] = collections.Counter()
    print(
        f'{pictures["with sentences"]} of {pictures["annotated"]} annotated pictures have sentences'
    )
    for what, count in summary['instances'].items():
        print(f'  {what}: {count}')
    for split, counts in summary['splits'].items():
        print(f'{split}: {counts["sentences"]} sentences on {counts["pictures"]} pictures')
        total.update(counts['kinds'])
    print('by kind: ' + ', '.join(f'{kind} {count}' for kind, count in total.most_common()))
    print(
        'all instances, levels, kinds and annotation ids stand in scenes/, the counts in '
        'summary.json'
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    if args.source == 'coco':
        from_coco(args)
    else:
        from ..dataprep.convert import convert

        for line in convert(args.source, args.root, to=args.to, out=args.out, splits=args.splits):
            print(line)
    print(f'written: {os.path.abspath(args.out)}')
