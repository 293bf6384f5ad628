"""Score a checkpoint: python tools/test.py CONFIG CHECKPOINT. Writes scores.json."""
from __future__ import annotations

import argparse
import json
import os

from mmengine.config import DictAction
from mmengine.dist import is_main_process

from rsrefseg2.engine import build_runner, explain_out_of_memory, load_config
from rsrefseg2.errors import report_user_errors
from rsrefseg2.synthrs.metric import nested_scores


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='a *.pth from training')
    parser.add_argument('--work-dir', help='where scores.json and logs go '
                                           '(default: work_dirs/<name of the config>)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config keys, e.g. test_dataloader.dataset.split=val')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)  # passed by older launchers
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, options=args.cfg_options, work_dir=args.work_dir)
    cfg.load_from = args.checkpoint
    # Checkpoints are plain state dicts: whatever trained them, a test needs no sharding.
    cfg.strategy = dict(type='SingleDeviceStrategy')
    with explain_out_of_memory(cfg, 'test_dataloader'):
        metrics = build_runner(cfg, launcher=args.launcher).test()
    if is_main_process():
        path = os.path.join(cfg.work_dir, 'scores.json')
        with open(path, 'w') as file:
            json.dump(nested_scores(metrics), file, indent=2)
        print(f'scores written to {path}')


if __name__ == '__main__':
    main()
