"""Score a checkpoint: python tools/test.py CONFIG CHECKPOINT. Writes scores.json.

With --dump FILE each sample becomes a JSON line with its masks, as it goes; a test that was
interrupted continues with --dump FILE --resume. --report writes one self-contained page of them.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from rsrefseg2.errors import report_user_errors
from rsrefseg2.files import write_text
from rsrefseg2.options import PROTOCOLS, add_cfg_options
from rsrefseg2.records import to_json

if TYPE_CHECKING:
    from mmengine.config import Config

    from rsrefseg2.models import RSRefSeg2


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='a *.pth from training')
    parser.add_argument(
        '--work-dir', help='where scores.json and logs go (default: work_dirs/<name of the config>)'
    )
    parser.add_argument(
        '--protocol',
        choices=PROTOCOLS,
        help="how masks are compared (default: the config's, which is paper)",
    )
    parser.add_argument('--dump', metavar='JSONL', help='write one line per sample, with masks')
    parser.add_argument(
        '--report',
        metavar='HTML',
        help='write the report page, a file or a '
        'folder for an index.html (and the dump, by default <work dir>/dump.jsonl)',
    )
    parser.add_argument(
        '--resume', action='store_true', help='continue the dump of an interrupted test'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the files at --dump and --report'
    )
    add_cfg_options(parser, help='override config keys, e.g. test_dataloader.dataset.split=val')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )  # passed by older launchers
    args = parser.parse_args()
    if args.resume and not (args.dump or args.report):
        parser.error('--resume continues a dump: give --dump or --report, too')
    return args


def report_on(cfg: Config, model: RSRefSeg2, args: argparse.Namespace) -> str:
    """Writes the page; the cases are predicted once more, for their dense prompts."""
    from rsrefseg2.apis import load_split, predict_dense, write_report
    from rsrefseg2.evaluation import find_protocol

    page = write_report(
        args.dump,
        args.report,
        overwrite=args.overwrite,
        protocol=find_protocol(cfg.test_evaluator.get('protocol', 'paper')),
        title=f'{os.path.basename(args.checkpoint)} of {os.path.basename(cfg.filename)}',
        dense_prompts=predict_dense(model, load_split(cfg, 'test')),
    )
    return str(page)


@report_user_errors()
def main() -> None:
    args = parse_args()
    from mmengine.dist import is_main_process

    from rsrefseg2.apis import page_path
    from rsrefseg2.engine import (
        build_runner,
        explain_out_of_memory,
        identify_run,
        load_config,
        ranks_end_together,
        read_checkpoint,
        set_scoring,
    )
    from rsrefseg2.publishing.scores_files import describe_tested

    cfg = load_config(args.config, options=args.cfg_options, work_dir=args.work_dir)
    cfg.load_from = args.checkpoint
    if args.report:
        # made before the test, so that a wrong path is known at once
        page_path(args.report, overwrite=args.overwrite)
        args.dump = args.dump or os.path.join(cfg.work_dir, 'dump.jsonl')
    # Checkpoints are plain state dicts: whatever trained them, a test needs no sharding.
    cfg.strategy = dict(type='SingleDeviceStrategy')
    read_checkpoint(args.checkpoint)  # before the towers are built
    set_scoring(
        cfg,
        protocol=args.protocol,
        dump=args.dump,
        resume=args.resume or None,
        overwrite=args.overwrite or None,
        run=identify_run(cfg, args.checkpoint) if args.dump else None,
    )
    with explain_out_of_memory(cfg, 'test_dataloader'), ranks_end_together():
        runner = build_runner(cfg, launcher=args.launcher)
        metrics = runner.test()
        if is_main_process():
            reports = [metric.report for metric in runner.test_loop.evaluator.metrics]
            metrics.update(reports[0] if len(reports) == 1 else {'evaluators': reports})
            path = os.path.join(cfg.work_dir, 'scores.json')
            metrics['checkpoint'] = describe_tested(args.checkpoint)
            write_text(path, to_json(metrics, indent=2))
            print(f'scores written to {path}')
            if args.report:
                page = report_on(cfg, runner.model, args)
                print(f'open {page}')


if __name__ == '__main__':
    main()
