"""Training runs as curves: losses, gradient norm, learning rate, validation scores, throughput.

    rsrefseg2 analysis curves work_dirs/RUN [ANOTHER ...] [--out curves] [--keys loss gIoU]

A run that was resumed is one curve; what it did twice counts once, as it was done last.
"""

import argparse

from ..options import add_shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='a work dir of rsrefseg2 train, or a scalars.json'
    )
    add_shared(
        parser,
        'out',
        default='curves',
        metavar='FILE',
        help='FILE.png and FILE.pdf are written (%(default)s)',
    )
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='KEY',
        help='what to draw, such as loss, loss_*, gIoU, val/time',
    )
    add_shared(parser, 'overwrite')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..visualization import plot_runs, read_runs, save

    for path in save(
        plot_runs(read_runs(args.runs), args.keys), args.out, overwrite=args.overwrite
    ):
        print(path)
