"""How good a calibration is on a dump: overall and by group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..rle import decode
from .breakdowns import BREAKDOWNS, in_order, worth_showing
from .calibration import (
    CURVE,
    Calibration,
    Judged,
    auroc,
    calibration_error,
    confidences,
    judge,
    presence_rates,
    reliability,
)
from .dump_records import masks_of, read_dump
from .protocols import PROTOCOLS
from .score_sums import score_table

COLUMNS = ('confidence', 'right', 'ECE', 'AUROC', 'N-acc', 'T-acc', 'samples')
GROUPS = ('level', 'rule', 'kind')  # breakdowns that are shown


def drawn_records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a dump with area, intersection and union of the mask as drawn: `drawn` where
    `presence_threshold` emptied the prediction.

    Raises:
        UserError: see `read_dump` and `masks_of`.
    """
    for record in read_dump(path):
        pred, gt = masks_of(record)
        if record.get('drawn') is not None:
            pred = decode(record['drawn'], location=f'{record["location"]} drawn')
        i, u = PROTOCOLS['paper'].overlap(pred, gt, location=record['location'])
        yield {**record, 'area': int(np.count_nonzero(gt)), 'intersection': i, 'union': u}


def judge_dump(path: str | Path) -> tuple[Judged, dict[str, list[str | None]]]:
    """The answers of a dump, and the group of each in every breakdown of GROUPS."""
    groups: dict[str, list[str | None]] = {name: [] for name in GROUPS}

    def records() -> Iterator[dict[str, Any]]:
        for record in drawn_records(path):
            for name, found in groups.items():
                found.append(BREAKDOWNS[name](record))
            yield record

    return judge(records()), groups


class CalibrationReport:
    """What a calibration is worth on the answers of a split.

    Args:
        title: what they are, for the tables.
    """

    def __init__(
        self,
        calibration: Calibration,
        judged: Judged,
        groups: dict[str, list[str | None]],
        title: str,
    ) -> None:
        self.calibration, self.judged, self.title = calibration, judged, title
        self.groups = {name: np.array(found, object) for name, found in groups.items()}
        self.confidence = confidences(calibration, judged.scores)
        self.bins = reliability(self.confidence, judged.right)

    def row(self, kept: np.ndarray | None = None) -> dict[str, float]:
        """COLUMNS in percent (`samples` a count) of the answers `kept` (N,) bool, all by default."""
        kept = np.ones(len(self.confidence), bool) if kept is None else kept
        judged, confidence = self.judged.rows(kept), self.confidence[kept]
        return {
            'confidence': 100 * float(confidence.mean()),
            'right': 100 * float(judged.right.mean()),
            'ECE': 100 * calibration_error(reliability(confidence, judged.right)),
            'AUROC': 100 * auroc(confidence, judged.right),
            **presence_rates(judged, self.calibration.presence_threshold),
            'samples': len(confidence),
        }

    def rows(self) -> dict[str, dict[str, float]]:
        """Of all, of those with a target, of those without."""
        kinds = {'with a target': self.judged.has_target, 'without': ~self.judged.has_target}
        return {
            'all': self.row(),
            **{name: self.row(kept) for name, kept in kinds.items() if kept.any()},
        }

    def breakdown(self, name: str) -> dict[str, dict[str, float]]:
        """group -> its row."""
        found = self.groups[name]
        known = {group for group in found if group is not None}
        return {group: self.row(found == group) for group in in_order(known)}

    def curve(self) -> list[tuple[float, float, float]]:
        """(threshold, N-acc, T-acc) over CURVE."""
        rates = ((t, presence_rates(self.judged, t)) for t in CURVE)
        return [(t, rate['N-acc'], rate['T-acc']) for t, rate in rates]

    def shown(self) -> list[str]:
        """The breakdowns that say something."""
        counts = {
            name: {group: int((found == group).sum()) for group in set(found) - {None}}
            for name, found in self.groups.items()
        }
        return worth_showing({name: found for name, found in counts.items() if found})

    def to_dict(self) -> dict[str, Any]:
        """The rows, the bins, the curve and the breakdowns."""
        return {
            **self.row(),
            'by_target': self.rows(),
            'bins': [one._asdict() for one in self.bins],
            'curve': self.curve(),
            **{f'by_{name}': self.breakdown(name) for name in self.shown()},
        }

    def tables(self) -> list[str]:
        """Text tables: all answers, then each breakdown."""
        title = (
            f'Confidence that the IoU is above 0.5, in percent, {self.title}; N-acc and T-acc at '
            f'presence {self.calibration.presence_threshold:.3f}'
        )
        return [
            score_table(self.rows(), title, columns=COLUMNS),
            *(
                score_table(self.breakdown(name), f'{title}, by {name}', head=name, columns=COLUMNS)
                for name in self.shown()
            ),
        ]
