"""Seconds, FLOP, share of the device's peak and memory by part, plain and with each lever.

    rsrefseg2 bench CONFIG [--train] [--images 1] [--per-image 1] [--levers bf16 compiled ...]
                    [--device cuda] [--json]

Random weights: no download, and no time depends on what weights say. `plain` is eager
float32, with every layer as its equation is written; `eager` the same in the forms that cost less,
which are what runs, under the other levers, too. A lever's column says how many times faster it is,
the largest difference of its logits and how much its masks agree. The peak is that of a matrix product of the same precision, measured before.
"""

import argparse
import contextlib
import sys

from ..errors import UserError
from ..options import add_model, add_shared, positive
from ..records import to_json

LEVERS = ('eager', 'bf16', 'bf16 weights', 'compiled', 'bf16 compiled')  # a test compares them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser, checkpoint=False)
    parser.add_argument(
        '--train', action='store_true', help='an optimisation step, not a prediction'
    )
    parser.add_argument('--images', type=positive, default=1, help='pictures a pass (%(default)s)')
    parser.add_argument(
        '--per-image', type=positive, default=1, help='sentences of each picture (%(default)s)'
    )
    parser.add_argument('--side', type=positive, default=800, help='of a picture (%(default)s)')
    parser.add_argument('--repeats', type=positive, default=5, help='passes (%(default)s)')
    parser.add_argument(
        '--levers',
        nargs='*',
        choices=LEVERS,
        default=[],
        metavar='LEVER',
        help=f'beside plain: {", ".join(LEVERS)} (default: none)',
    )
    add_shared(parser, 'device')
    add_shared(parser, 'json')
    add_shared(parser, 'cfg-options')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    with contextlib.redirect_stdout(sys.stderr):  # libraries' notices
        from ..engine import explain_out_of_memory, load_config
        from ..engine.load_model import find_device
        from ..profiling.bench import bench, make_work

        config = load_config(args.config, options=args.cfg_options)
        if 'model' not in config:
            raise UserError(f'config {args.config} has no model')
        device = find_device(args.device)
        work = make_work(args.images, args.images * args.per_image, args.side, device)
        with explain_out_of_memory(config):
            results = bench(
                config,
                work,
                device,
                levers=args.levers,
                training=args.train,
                repeats=args.repeats,
                tell=lambda line: print(line, file=sys.stderr),
            )
    if args.json:
        print(
            to_json(
                [
                    {**one._asdict(), 'parts': [part._asdict() for part in one.parts]}
                    for one in results
                ]
            )
        )
        return
    for one in results:
        print(as_table(one, args.images * args.per_image))


def as_table(result: object, sentences: int) -> str:
    """A lever's parts, and how it compares with plain."""
    from ..profiling.bench import Result
    from ..tables import plain_table

    assert isinstance(result, Result)
    rows = [
        (
            part.name,
            f'{1000 * part.seconds:,.1f}',
            None if part.flop is None else f'{part.flop / 1e9:,.1f}',
            None if part.share is None else f'{100 * part.share:.1f}',
        )
        for part in result.parts
    ]
    said = [
        f'{sentences / result.parts[-1].seconds:,.2f} sentences a second',
        f'peak {result.memory / 2**30:.2f} GiB',
    ]
    if result.lever != 'plain':
        said.append(f'{result.ratio:.2f} times as fast as plain')
    if result.lever != 'plain' and result.agreement is not None:
        said.append(
            f'logits within {result.largest_difference:.1e} of the largest, '
            f'masks agree to {result.agreement:.4f}'
        )
    table = plain_table(('part', 'ms', 'GFLOP', '% of peak'), rows, title=result.lever)
    return f'{table}\n{", ".join(said)}\n'
