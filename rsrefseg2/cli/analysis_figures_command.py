"""Figures of the paper as PNG and PDF, for print.

Figs. 4-6, several models side by side from their dumps (rsrefseg2 test --dump), no model needed:

    rsrefseg2 analysis figures compare --dumps "RSRefSeg 2=ours.jsonl" RMSIN=rmsin.jsonl \\
        --out fig4 --rule differ --max 6

Fig. 2, the published towers' cosine of patches and sentence beside the trained dense prompt:

    rsrefseg2 analysis figures activation CONFIG CHECKPOINT --out fig2 --max 4
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import UserError
from ..options import add_model, add_shared, positive, positive_float

if TYPE_CHECKING:
    from ..visualization import Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    shared = argparse.ArgumentParser(add_help=False)
    add_shared(
        shared, 'out', required=True, metavar='STEM', help='STEM.png and STEM.pdf are written'
    )
    add_shared(shared, 'overwrite')
    shared.add_argument('--ids', nargs='+', help='the samples, in this order')
    shared.add_argument(
        '--max',
        type=positive,
        default=6,
        metavar='N',
        help='without --ids: how many samples (%(default)s)',
    )
    shared.add_argument(
        '--width',
        type=positive_float,
        default=7.16,
        metavar='INCHES',
        help='of the figure; two columns of a page: %(default)s, one: 3.5',
    )
    commands = parser.add_subparsers(dest='command', required=True)
    compare = commands.add_parser('compare', parents=[shared], help='Figs. 4-6, from dumps')
    compare.add_argument(
        '--dumps',
        nargs='+',
        required=True,
        metavar='NAME=PATH',
        help='one for each column of predictions',
    )
    compare.add_argument(
        '--rule',
        choices=('evenly', 'differ'),
        default='evenly',
        help='without --ids: spread over the split, or where the models differ '
        'most (default: %(default)s)',
    )
    add_shared(compare, 'protocol')
    compare.add_argument(
        '--images',
        metavar='DIR',
        help='folder of the images, where they are not where the dump says',
    )
    activation = commands.add_parser('activation', parents=[shared], help='Fig. 2, from a model')
    add_model(activation)
    add_shared(activation, 'split')
    add_shared(activation, 'device')
    add_shared(activation, 'cfg-options')


def read_names(pairs: list[str]) -> dict[str, str]:
    """name -> path, of NAME=PATH."""
    dumps = dict(pair.partition('=')[::2] for pair in pairs)
    if len(dumps) < len(pairs) or not all(name and path for name, path in dumps.items()):
        raise UserError(f'--dumps takes NAME=PATH, each name once, not {" ".join(pairs)}')
    return dumps


def make_comparison(args: argparse.Namespace) -> tuple[list[Row], tuple[str, ...]]:
    """Rows and heads of Figs. 4-6."""
    from ..apis import choose_ids, compare_rows
    from ..evaluation import find_protocol

    dumps, protocol = read_names(args.dumps), find_protocol(args.protocol)
    ids = args.ids or choose_ids(dumps, args.max, args.rule, protocol)
    print(f'samples: {" ".join(ids)}')
    rows = compare_rows(dumps, ids, images=args.images, protocol=protocol)
    return rows, ('Image', 'Ground truth', *dumps)


def make_activation(args: argparse.Namespace) -> tuple[list[Row], tuple[str, ...]]:
    """Rows and heads of Fig. 2."""
    from ..apis import ACTIVATION_HEADS, activation_rows, find_indices, load_split, native_encoder
    from ..engine import load_config, load_model

    config = load_config(args.config, options=args.cfg_options)
    dataset = load_split(config, args.split)
    find_indices(dataset, args.ids or ())  # before the model is loaded
    encoder = native_encoder(config)
    model = load_model(config, args.checkpoint, args.device)
    return activation_rows(model, encoder, dataset, n=args.max, ids=args.ids), ACTIVATION_HEADS


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..visualization import free_paths, grid, save

    free_paths(args.out, overwrite=args.overwrite)  # before the model is asked
    rows, heads = {'compare': make_comparison, 'activation': make_activation}[args.command](args)
    for path in save(grid(rows, heads, width=args.width), args.out, overwrite=args.overwrite):
        print(path)
