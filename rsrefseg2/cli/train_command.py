"""Train a config: rsrefseg2 train CONFIG [--work-dir DIR] [--resume [CHECKPOINT]]."""

from __future__ import annotations

import argparse

from ..options import add_model, add_shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser, checkpoint=False)
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go (default: work_dirs/<name of the config>)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from CHECKPOINT, or from the newest one of the work dir',
    )
    add_shared(parser, 'cfg-options')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )  # passed by older launchers


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..engine import build_runner, explain_out_of_memory, load_config, ranks_end_together

    cfg = load_config(args.config, options=args.cfg_options, work_dir=args.work_dir)
    if args.resume is not None:
        cfg.resume = True
        if args.resume != 'auto':
            cfg.load_from = args.resume
    with explain_out_of_memory(cfg, 'train_dataloader'), ranks_end_together():
        build_runner(cfg, launcher=args.launcher, training=True).train()
