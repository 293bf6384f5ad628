"""Generate SynthRS: overhead scenes drawn by code, with referring sentences of three levels.

rsrefseg2 synthrs generate --out data/synthrs
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..options import (
    LAYOUTS,
    LEVELS,
    MORE_LEVELS,
    RELATIONS,
    add_old_spelling,
    add_shared,
    count,
    fraction,
    positive,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_shared(
        parser, 'out', default='data/synthrs', type=Path, help='folder to write (%(default)s)'
    )
    parser.add_argument('--scenes-train', default=8000, type=count)
    parser.add_argument('--scenes-val', default=100, type=count)
    parser.add_argument('--scenes-test', default=250, type=count)
    add_shared(parser, 'seed')
    parser.add_argument('--size', default=128, type=positive, help='side of the pictures in pixels')
    parser.add_argument(
        '--min-same',
        default=4,
        type=positive,
        help='objects of the named category, at levels position and relation',
    )
    parser.add_argument(
        '--layouts',
        nargs='+',
        default=['rrsisd'],
        metavar='LAYOUT',
        help=f'of {", ".join(LAYOUTS)}, or all',
    )
    _add_sentence_arguments(parser)
    parser.add_argument('--workers', default=min(8, os.cpu_count() or 1), type=positive)
    add_shared(parser, 'overwrite', help='replace another SynthRS dataset')
    add_old_spelling(parser, '--force', 'overwrite', action='store_true')


def _add_sentence_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--levels',
        nargs='+',
        default=LEVELS,
        choices=(*LEVELS, *MORE_LEVELS),
        metavar='LEVEL',
        help=f'of {", ".join(LEVELS)} (the default): write the sentences of these alone, on the '
        f'same scenes; {" and ".join(MORE_LEVELS)} add sentences that name several objects, or '
        'nothing in the scene',
    )
    parser.add_argument(
        '--per-level',
        default=2,
        type=positive,
        metavar='COUNT',
        help='training sentences of a level in a scene, 1 to 3',
    )
    parser.add_argument(
        '--relations',
        nargs=4,
        type=fraction,
        default=RELATIONS,
        metavar=('PLAIN', 'COLOURED', 'NESTED', 'CLOSEST'),
        help='how often each kind of relation is asked for; sums to 1 (default: '
        f'{" ".join(map(str, RELATIONS))})',
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..synthrs.generation.build import Recipe, build

    layouts = tuple(LAYOUTS) if args.layouts == ['all'] else tuple(dict.fromkeys(args.layouts))
    recipe = Recipe(
        scenes={'train': args.scenes_train, 'val': args.scenes_val, 'test': args.scenes_test},
        per_level={'train': args.per_level, 'val': 1, 'test': 1},
        seed=args.seed,
        size=args.size,
        min_same=args.min_same,
        layouts=layouts,
        relations=tuple(args.relations),
        levels=tuple(level for level in (*LEVELS, *MORE_LEVELS) if level in args.levels),
    )
    summary = build(args.out, recipe, workers=args.workers, force=args.overwrite)
    for split, counts in summary['splits'].items():
        levels = ', '.join(f'{level} {number}' for level, number in counts['levels'].items())
        print(
            f'{split}: {counts["scenes"]} scenes with {counts["objects_per_scene"]} objects '
            f'on average, {counts["sentences"]} sentences ({levels})'
        )
    print(f'written: {os.path.abspath(args.out)}')
