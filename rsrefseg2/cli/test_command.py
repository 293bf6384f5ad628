"""Score a checkpoint: rsrefseg2 test CONFIG CHECKPOINT. Writes scores.json.

A config of configs/zero_shot is tested without a checkpoint: rsrefseg2 test CONFIG.

With --dump FILE each sample becomes a JSON line with its masks, as it goes; a test that was
interrupted continues with --dump FILE --resume. --report writes one self-contained page of them.
--split val scores another split in the same way and writes scores_val.json.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from ..files import write_text
from ..options import add_model, add_shared
from ..records import to_json

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..models import RSRefSeg2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser, zero_shot=True)
    parser.add_argument(
        '--work-dir', help='where scores.json and logs go (default: work_dirs/<name of the config>)'
    )
    add_shared(
        parser,
        'protocol',
        default=None,
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
    add_shared(parser, 'overwrite')
    add_shared(parser, 'split')
    add_shared(parser, 'cfg-options')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )  # passed by older launchers


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.resume and not (args.dump or args.report):
        parser.error('--resume continues a dump: give --dump or --report, too')


def report_on(cfg: Config, model: RSRefSeg2, args: argparse.Namespace) -> str:
    """Writes the page; the cases are predicted once more, for their dense prompts."""
    from ..apis import load_split, predict_dense, write_report
    from ..evaluation import find_protocol

    page = write_report(
        args.dump,
        args.report,
        overwrite=args.overwrite,
        protocol=find_protocol(cfg.test_evaluator.get('protocol', 'paper')),
        title=' of '.join(os.path.basename(f) for f in (args.checkpoint, cfg.filename) if f),
        dense_prompts=predict_dense(model, load_split(cfg, 'test')),
    )
    return str(page)


def write_scores(metrics: dict[str, Any], path: str, args: argparse.Namespace) -> None:
    """Writes scores.json, with what identifies the checkpoint."""
    from ..publishing.scores_files import describe_tested

    if args.checkpoint:
        metrics['checkpoint'] = describe_tested(args.checkpoint)
    write_text(path, to_json(metrics, indent=2))
    print(f'scores written to {path}')


def use_calibration(cfg: Config, args: argparse.Namespace) -> None:
    """Masks below the threshold of the calibration beside the checkpoint are empty, as `predict` has
    them; `--cfg-options model.presence_threshold=...` wins."""
    from ..engine import read_calibration

    calibration = read_calibration(args.checkpoint)
    if calibration is not None and 'model.presence_threshold' not in (args.cfg_options or {}):
        cfg.model.presence_threshold = calibration.presence_threshold
        print(f'not found below presence {calibration.presence_threshold:.3f}, as calibrated')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from mmengine.dist import is_main_process

    from ..apis import page_path
    from ..engine import (
        build_runner,
        check_checkpoint,
        explain_out_of_memory,
        identify_run,
        load_config,
        ranks_end_together,
        read_checkpoint,
        set_scoring,
        test_on,
    )

    cfg = load_config(args.config, options=args.cfg_options, work_dir=args.work_dir)
    cfg.load_from = args.checkpoint
    suffix = '' if args.split == 'test' else f'_{args.split}'
    test_on(cfg, args.split)
    if args.report:
        # made before the test, so that a wrong path is known at once
        page_path(args.report, overwrite=args.overwrite)
        args.dump = args.dump or os.path.join(cfg.work_dir, f'dump{suffix}.jsonl')
    # Checkpoints are plain state dicts: whatever trained them, a test needs no sharding.
    cfg.strategy = dict(type='SingleDeviceStrategy')
    check_checkpoint(cfg, args.checkpoint)
    if args.checkpoint:
        read_checkpoint(args.checkpoint)  # before the towers are built
        use_calibration(cfg, args)
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
            write_scores(metrics, os.path.join(cfg.work_dir, f'scores{suffix}.json'), args)
            if args.report:
                page = report_on(cfg, runner.model, args)
                print(f'open {page}')
