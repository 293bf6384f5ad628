"""How sure is an answer? Fit the confidence and the "not found" threshold on the dump of a val split.

    rsrefseg2 analysis calibrate VAL.jsonl [--t-acc 92] [--test TEST.jsonl] [--checkpoint PTH]

The dumps are of a model with SAM's IoU and object-score heads (model.sam.score_heads). The table is of
TEST, else of VAL itself, which flatters. With --checkpoint the calibration is written beside it, as
<name>.calibration.json: `predict`, the web page and `Predictor` then say "not found" below the
threshold, and give the calibrated confidence. Without --t-acc the threshold is where the mean of N-acc
and T-acc is the largest, which few sentences place by chance. The definition: rsrefseg2/evaluation/calibration.py.
"""

import argparse
import contextlib
import os
import sys
from typing import Any

from ..errors import UserError
from ..extras import require_extra
from ..options import add_shared
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('val', metavar='VAL', help='dump of rsrefseg2 test --split val --dump')
    parser.add_argument('--test', metavar='DUMP', help='of another split, to judge it on')
    parser.add_argument(
        '--checkpoint', metavar='PTH', help='that the dumps are of: write the calibration beside it'
    )
    parser.add_argument(
        '--t-acc',
        type=float,
        metavar='PERCENT',
        help='the highest threshold that finds at least this share of what is there, on VAL',
    )
    add_shared(parser, 'json')
    parser.add_argument(
        '--plot', metavar='FILE', help='draw reliability and thresholds, as FILE.png and FILE.pdf'
    )
    add_shared(parser, 'overwrite')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.t_acc is not None and not 0 <= args.t_acc <= 100:
        parser.error(f'--t-acc is from 0 to 100, not {args.t_acc:g}')
    if args.test and os.path.exists(args.test) and os.path.exists(args.val):
        if os.path.samefile(args.test, args.val):
            parser.error('--test is the dump of another split than the one that is fitted on')


def require_dump_of(dump: str, checkpoint: str) -> None:
    """A UserError where the dump says that it is of another checkpoint, by name or size."""
    from ..records import read_json_lines

    for _, first in read_json_lines(dump, dict[str, Any], what='the dump'):
        named = first.get('test', {}).get('checkpoint')
        own = f'{os.path.basename(checkpoint)}, {os.stat(checkpoint).st_size} bytes'
        if named is not None and not named.startswith(own):
            raise UserError(f'{dump} is of {named}, and {checkpoint} is {own}: give the dump of it')
        return


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..engine import write_calibration
        from ..evaluation import CalibrationReport, fit_calibration, judge_dump
        from ..visualization import free_paths, plot_calibration, save
    if args.plot:
        require_extra('plots', '--plot', otherwise='drop it')
        free_paths(args.plot, option='--plot', overwrite=args.overwrite)
    if args.checkpoint and not os.path.exists(args.checkpoint):
        raise UserError(f'the checkpoint {args.checkpoint} does not exist')
    for dump in filter(None, (args.val, args.test) if args.checkpoint else ()):
        require_dump_of(dump, args.checkpoint)
    judged, groups = judge_dump(args.val)
    calibration = fit_calibration(judged, os.path.basename(args.val), args.t_acc)
    title = f'{args.val}, which it was fitted on'
    if args.test:
        (judged, groups), title = judge_dump(args.test), args.test
    report = CalibrationReport(calibration, judged, groups, title)
    found = report.to_dict()
    if args.plot:
        figure = plot_calibration(found, calibration.presence_threshold)
        save(figure, args.plot, option='--plot', overwrite=args.overwrite)
    if args.json:
        print(to_json({'calibration': calibration._asdict(), **found}))
    else:
        print('\n\n'.join(report.tables()))
    if args.checkpoint:
        path = write_calibration(calibration, args.checkpoint)
        print(f'the calibration is in {path}', file=sys.stderr)
