"""Training runs as curves: losses, gradient norm, learning rate, validation scores, throughput.

    rsrefseg2 analysis curves work_dirs/RUN [ANOTHER ...] [--out curves] [--keys loss gIoU]

A run that was resumed is one curve; what it did twice counts once, as it was done last.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='a work dir of rsrefseg2 train, or a scalars.json'
    )
    parser.add_argument(
        '--out',
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
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files there that this command did not write',
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..visualization import plot_runs, read_runs, save

    for path in save(
        plot_runs(read_runs(args.runs), args.keys), args.out, overwrite=args.overwrite
    ):
        print(path)
