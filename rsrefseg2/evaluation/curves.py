"""Pr@X over every X, and how the IoU is distributed: what a table of five thresholds leaves out."""

from __future__ import annotations

import math

from .protocols import Protocol
from .score_sums import Record

STEPS = 100  # X = 0, 0.01 ... 1
BINS = 20  # of the histogram


class Curves:
    """Counts samples in integers, so that the curve meets the table's Pr@0.5 ... Pr@0.9 exactly."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.samples = 0  # that the curve counts
        self._last = [0] * (STEPS + 2)  # samples by the number of thresholds that they pass
        self.histogram = [0] * BINS  # samples with IoU in [k, k + 1) / BINS; 1 is in the last

    def add(self, record: Record) -> None:
        """Counts one sample by its `intersection` and `union`; where its IoU is not a number it
        passes no threshold and is in no bin. Protocol generalised needs its `area` too, and leaves
        samples without a target out of the curve."""
        i, u = record['intersection'], record['union']
        in_curve = self.protocol.in_precision(record)
        self.samples += in_curve
        if not u:
            i, u = self.protocol.both_empty, 1
            if math.isnan(i):
                self._last[0] += 1
                return
            i = int(i)
        self.histogram[min(BINS - 1, BINS * i // u)] += 1
        if not in_curve:
            return
        if self.protocol.inclusive:  # passes X = k / STEPS where STEPS i >= k u
            self._last[STEPS * i // u + 1] += 1
        else:  # where STEPS i > k u
            self._last[-(-STEPS * i // u)] += 1

    def precision(self) -> list[tuple[float, float]]:
        """(X, percentage of the samples whose IoU passes X), X rising from 0 to 1."""
        passing, points = self.samples, []
        for k in range(STEPS + 1):
            passing -= self._last[k]
            points.append((k / STEPS, 100 * passing / self.samples if self.samples else 0.0))
        return points
