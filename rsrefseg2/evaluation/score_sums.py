"""Scores from sums of integers: any order, any batches, any number of ranks, the same digits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..tables import plain_table
from .protocols import PRESENCE, TENTHS, Protocol

Record = Mapping[str, Any]  # what is kept of a sample: at least `id`, `intersection`, `union`

THRESHOLDS = tuple(f'Pr@0.{k}' for k in TENTHS)
COLUMNS = (*THRESHOLDS, 'cIoU', 'gIoU')  # the order of Tables II-V
# Numbers from 0 to 1 of some samples; their means are given beside the scores.
RATES = (*PRESENCE, 'coarse_localisation', 'object_hit', 'object_hit_chance')
# An IoU is a double of at least 1 / 2^48 (pixels of an image), so a multiple of 2^-128.
EXACT = 1 << 128


class Sums:
    """The sums over a group of samples from which its scores follow.

        gIoU = mean_i I_i / U_i        cIoU = sum_i I_i / sum_i U_i

    gIoU is the mean of the per-sample IoU, which others call mIoU; cIoU is the sum of intersections
    over the sum of unions, which others call oIoU. gIoU is unrelated to the box loss of that name.
    Every sum is an integer, that of the IoUs in units of 2^-128: addition is exact.

    Args:
        defined_only: gIoU is the mean over the samples whose IoU is a number, as the release's mean
            by category is; otherwise one that is not makes it NaN.
    """

    def __init__(self, protocol: Protocol, *, defined_only: bool = False) -> None:
        self.protocol, self.defined_only = protocol, defined_only
        self.samples = self.intersection = self.union = self.iou = 0
        self.in_precision = 0  # samples that Pr@X counts
        self.passed = [0] * len(TENTHS)
        self.rates = dict.fromkeys(RATES, 0)
        self.rated = dict.fromkeys(RATES, 0)  # samples that have the number
        self.undefined: list[str] = []  # ids of the samples whose IoU is not a number

    def __eq__(self, other: object) -> bool:
        """Whether the two have counted alike; exact, as the sums are."""
        return isinstance(other, Sums) and vars(self) == vars(other)

    def add(self, record: Record) -> None:
        """Counts one sample by its `intersection` and `union`, under protocol generalised also by
        its `area`."""
        i, u = record['intersection'], record['union']
        iou = self.protocol.iou(i, u)
        self.samples += 1
        self.intersection += i
        self.union += u
        if math.isnan(iou):
            self.undefined.append(str(record['id']))
        else:
            self.iou += int(iou * EXACT)  # exact: a power of two only moves the exponent
        if self.protocol.in_precision(record):
            self.in_precision += 1
            for k, tenths in enumerate(TENTHS):
                self.passed[k] += self.protocol.passes(i, u, tenths)
        held = {**record, **self.protocol.presence(record)}
        for name in RATES:
            if held.get(name) is not None:
                self.rates[name] += int(held[name] * EXACT)
                self.rated[name] += 1

    def scores(self) -> dict[str, float]:
        """'gIoU', 'cIoU', 'Pr@0.5' ... 'Pr@0.9' in percent, and the mean of each of RATES that
        samples have; gIoU is NaN where an IoU is not a number, with `defined_only` where none is.
        Under protocol generalised cIoU is NaN where all masks are empty, Pr@X without a target."""
        if not self.samples:
            raise ValueError('no samples to score')
        defined = self.samples - len(self.undefined)
        known = defined > 0 if self.defined_only else not self.undefined
        nothing = math.nan if self.protocol.generalised else 0.0
        return {
            'gIoU': percent(self.iou, defined) if known else math.nan,
            'cIoU': 100 * self.intersection / self.union if self.union else nothing,
            **{
                name: 100 * passed / self.in_precision if self.in_precision else nothing
                for name, passed in zip(THRESHOLDS, self.passed, strict=True)
            },
            **{
                name: percent(self.rates[name], self.rated[name])
                for name in RATES
                if self.rated[name]
            },
        }


def percent(total: int, count: int) -> float:
    """The mean of `count` numbers whose exact sum is total / EXACT, rounded once."""
    return float(Fraction(100 * total, EXACT * count))


def score_table(
    rows: Mapping[str, Mapping[str, float]],
    title: str,
    *,
    head: str = '',
    columns: Sequence[str] = COLUMNS,
) -> str:
    """A plain-text table: one line per row of scores, two decimals, counts as they are."""
    return plain_table(
        (head, *columns),
        [(name, *(row.get(key) for key in columns)) for name, row in rows.items()],
        title=title,
    )
