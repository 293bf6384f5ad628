"""Training runs as curves: losses, gradient norm, learning rate, validation scores, throughput.

    python tools/analysis/curves.py work_dirs/RUN [ANOTHER ...] [--out curves] [--keys loss gIoU]

A run that was resumed is one curve; what it did twice counts once, as it was done last.
"""

import argparse

from rsrefseg2.errors import report_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='a work dir of tools/train.py, or a scalars.json'
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
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    from rsrefseg2.visualization import plot_runs, read_runs, save

    for path in save(
        plot_runs(read_runs(args.runs), args.keys), args.out, overwrite=args.overwrite
    ):
        print(path)


if __name__ == '__main__':
    main()
