"""Prints docs/presence.md's table from the dumps of several runs: mean ± standard deviation.

    python tools/dev/presence.py RUN [RUN ...] [--t-acc 92] [--val val.jsonl] [--test test.jsonl] [--json]

RUN is a folder with the dumps of one checkpoint on SynthRS with level none, of `test --split val
--dump` and of `test --dump`. Each run is calibrated on its val, as `analysis calibrate` does, and
judged on its test. A run whose test was made with the calibration beside its checkpoint keeps its masks
as drawn in the dump, too: both give the same numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from pathlib import Path

from rsrefseg2.errors import UserError, report_user_errors
from rsrefseg2.records import to_json

EASY, HARD = 'category', ('attribute', 'place', 'relation')  # rules of level none


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', metavar='RUN')
    parser.add_argument('--val', default='val.jsonl', help='in each RUN (default: %(default)s)')
    parser.add_argument('--test', default='test.jsonl', help='the same (default: %(default)s)')
    parser.add_argument('--t-acc', type=float, help='as of analysis calibrate')
    parser.add_argument('--json', action='store_true', help='each run, as JSON')
    return parser.parse_args()


def scores_of(val: Path, test: Path, t_acc: float | None) -> dict[str, float]:
    """What the table says of one run, in percent but for the threshold."""
    import numpy as np

    from rsrefseg2.evaluation import CalibrationReport, fit_calibration, judge_dump
    from rsrefseg2.evaluation.calibration_report import drawn_records

    calibration = fit_calibration(judge_dump(val)[0], val.name, t_acc)
    judged, groups = judge_dump(test)
    records = list(drawn_records(test))
    rules = np.array(groups['rule'], object)
    if not {f'none: {name}' for name in (EASY, *HARD)} <= set(rules):
        raise UserError(
            f'{test}: there is no level none in it: generate SynthRS with --levels ... none'
        )
    empty = (judged.presence < calibration.presence_threshold) | ~judged.drawn

    def rejected(*names: str) -> float:
        return 100 * float(empty[np.isin(rules, [f'none: {name}' for name in names])].mean())

    iou = np.array([r['intersection'] / max(r['union'], 1) for r in records])[judged.has_target]
    rows = CalibrationReport(calibration, judged, groups, str(test)).rows()
    return {
        'threshold of presence, from val': calibration.presence_threshold,
        'T-acc': 100 * float((~empty[judged.has_target]).mean()),
        'N-acc, easy: the category is not there': rejected(EASY),
        'N-acc, hard, together': rejected(*HARD),
        **{f'N-acc, hard: {name}': rejected(name) for name in HARD},
        'ECE of the confidence': rows['all']['ECE'],
        'AUROC of "IoU above 0.5": all': rows['all']['AUROC'],
        'the same, with a target': rows['with a target']['AUROC'],
        'gIoU of sentences with a target: masks as drawn': 100 * float(iou.mean()),
        'the same, masks below the threshold emptied': 100
        * float((iou * ~empty[judged.has_target]).mean()),
    }


def as_table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: a row for each score, mean ± standard deviation and each run."""
    lines = [f'| | mean ± s.d. | {" | ".join(found)} |', f'|---|---|{"---|" * len(found)}']
    for name in next(iter(found.values())):
        values = [run[name] for run in found.values()]
        digits = 3 if name.startswith('threshold') else 1
        spread = f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else ''
        row = ' | '.join(f'{value:.{digits}f}' for value in values)
        lines.append(f'| {name} | {statistics.mean(values):.{digits}f}{spread} | {row} |')
    return '\n'.join(lines)


@report_user_errors()
def main() -> None:
    """Runs the command."""
    args = parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # libraries' notices
        found = {
            Path(run).name: scores_of(Path(run) / args.val, Path(run) / args.test, args.t_acc)
            for run in args.runs
        }
    print(to_json(found, indent=2) if args.json else as_table(found))


if __name__ == '__main__':
    main()
