"""Score a dump, or a folder of masks from any model, under a named protocol.

    rsrefseg2 analysis score DUMP.jsonl --protocol rmsin
    rsrefseg2 analysis score MASKS --ground-truth DUMP.jsonl
    rsrefseg2 analysis score MASKS --ground-truth CONFIG.py --split test

A folder holds one file <id>.png per sample (values 0 and 1, or 0 and 255). Each score stands beside
its 95 % bootstrap interval over images.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..options import PROTOCOLS, add_shared, positive
from ..records import to_json

if TYPE_CHECKING:
    from ..evaluation import Sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('predictions', help='a dump of rsrefseg2 test, or a folder of masks')
    add_shared(parser, 'protocol', choices=None, note=f'one of {", ".join(PROTOCOLS)}')
    parser.add_argument(
        '--ground-truth', metavar='FILE', help='for a folder: a dump of the same split, or a config'
    )
    add_shared(parser, 'split')
    parser.add_argument('--resamples', type=positive, default=2000, help='of the bootstrap')
    add_shared(parser, 'seed')
    add_shared(parser, 'json')


def open_samples(args: argparse.Namespace) -> Iterable[Sample]:
    """The samples, one after the other."""
    from ..evaluation import annotated_samples, dumped_samples, with_masks

    path = Path(args.predictions)
    if not path.exists():
        raise UserError(f'{path} does not exist: give a dump or a folder of masks')
    if not path.is_dir():
        if args.ground_truth:
            raise UserError(f'{path} is a dump and holds its ground truth: drop --ground-truth')
        return dumped_samples(path)
    if not args.ground_truth:
        raise UserError(
            f'{path} is a folder of predictions: --ground-truth says what they are '
            'scored against (a dump or a config)'
        )
    from ..datasets import read_mask

    truth = args.ground_truth
    if truth.endswith('.py'):
        from ..apis import load_split
        from ..engine import load_config

        truth = load_split(load_config(truth), args.split)
    return with_masks(annotated_samples(truth), path, read_mask)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from tqdm import tqdm

        from ..evaluation import (
            COLUMNS,
            PRESENCE,
            find_protocol,
            score,
            score_intervals,
            score_table,
        )

        protocol = find_protocol(args.protocol)
        samples = tqdm(
            open_samples(args),
            desc='scoring',
            unit=' samples',
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        report, images = score(samples, protocol)
        intervals = score_intervals(images, resamples=args.resamples, seed=args.seed)
    if args.json:
        print(to_json({**report.to_dict(), 'images': len(images.images), 'intervals': intervals}))
        return
    for table in report.tables():
        print(table + '\n')
    columns = (*COLUMNS, *(name for name in PRESENCE if name in report.scores()))
    rows = {
        'score': report.scores(),
        'low': {name: v.low for name, v in intervals.items()},
        'high': {name: v.high for name, v in intervals.items()},
    }
    print(
        score_table(
            rows,
            f'95 % bootstrap intervals over {len(images.images)} images, '
            f'{args.resamples} resamples, protocol `{protocol.name}`',
            columns=columns,
        )
    )
