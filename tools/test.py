"""Score a checkpoint: python tools/test.py CONFIG CHECKPOINT. Writes scores.json.

With --dump FILE each sample becomes a JSON line with its masks, as it goes; a test that was
interrupted continues with --dump FILE --resume.
"""
from __future__ import annotations

import argparse
import json
import os

from mmengine.config import DictAction
from mmengine.dist import is_main_process

from rsrefseg2.engine import (
    build_runner,
    explain_out_of_memory,
    identify_run,
    load_config,
    read_checkpoint,
    set_scoring,
)
from rsrefseg2.errors import report_user_errors
from rsrefseg2.evaluation import PROTOCOLS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='a *.pth from training')
    parser.add_argument('--work-dir', help='where scores.json and logs go '
                                           '(default: work_dirs/<name of the config>)')
    parser.add_argument('--protocol', choices=PROTOCOLS, help='how masks are compared '
                        "(default: the config's, which is paper)")
    parser.add_argument('--dump', metavar='JSONL', help='write one line per sample, with masks')
    parser.add_argument('--resume', action='store_true',
                        help='continue the dump of an interrupted test')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys, e.g. test_dataloader.dataset.split=val')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)  # passed by older launchers
    args = parser.parse_args()
    if args.resume and not args.dump:
        parser.error('--resume continues a dump: give --dump, too')
    return args


@report_user_errors()
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, options=args.cfg_options, work_dir=args.work_dir)
    cfg.load_from = args.checkpoint
    # Checkpoints are plain state dicts: whatever trained them, a test needs no sharding.
    cfg.strategy = dict(type='SingleDeviceStrategy')
    read_checkpoint(args.checkpoint)  # before the towers are built
    set_scoring(cfg, protocol=args.protocol, dump=args.dump, resume=args.resume or None,
                run=identify_run(cfg, args.checkpoint) if args.dump else None)
    with explain_out_of_memory(cfg, 'test_dataloader'):
        runner = build_runner(cfg, launcher=args.launcher)
        metrics = runner.test()
    if is_main_process():
        reports = [metric.report for metric in runner.test_loop.evaluator.metrics]
        metrics.update(reports[0] if len(reports) == 1 else {'evaluators': reports})
        path = os.path.join(cfg.work_dir, 'scores.json')
        with open(path, 'w') as file:
            json.dump(metrics, file, indent=2)
        print(f'scores written to {path}')


if __name__ == '__main__':
    main()
