"""How far a score is to be trusted: bootstrap over images, and paired between two models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .protocols import PRESENCE, TENTHS, Protocol
from .score_sums import THRESHOLDS, Record

CHUNK = 100  # resamples held at a time
LEVEL = 95  # percent
WIDTH = 4 + len(TENTHS)  # columns of sums under every protocol


class Interval(NamedTuple):
    """A percentile interval, in percent."""

    low: float
    high: float


class ImageSums:
    """Per image the sums from which scores follow: samples of one image are drawn together, since
    their errors are not independent.

    Columns: samples, sum of IoU, intersection, union, samples that pass each threshold; under
    protocol generalised also, of each of PRESENCE, the samples that it counts and those that pass.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._rows: dict[str, np.ndarray] = {}

    def add(self, record: Record) -> None:
        """A sample counts for its `file`; where a record has none, for itself."""
        i, u = record['intersection'], record['union']
        counted = self.protocol.in_precision(record)
        presence: list[bool] = []
        if self.protocol.generalised:
            held = self.protocol.presence(record)
            presence = [part for name in PRESENCE for part in (name in held, held.get(name, False))]
        row = self._rows.setdefault(
            record.get('file') or f'sample {record["id"]}', np.zeros(WIDTH + len(presence))
        )
        row += [
            1,
            self.protocol.iou(i, u),
            i,
            u,
            *(counted and self.protocol.passes(i, u, tenths) for tenths in TENTHS),
            *presence,
        ]

    @property
    def images(self) -> list[str]:
        """In the order in which they came."""
        return list(self._rows)

    def table(self, images: list[str] | None = None) -> np.ndarray:
        """(images, 4 + thresholds) float64; 2 more columns for each of PRESENCE."""
        return np.stack([self._rows[name] for name in images or self.images])


def scores_of(sums: np.ndarray) -> dict[str, np.ndarray]:
    """(..., K) sums as `ImageSums` has them -> the scores in percent, each (...)."""
    samples, iou, intersection, union = np.moveaxis(sums[..., :4], -1, 0)
    in_precision, presence, nothing = samples, {}, 0.0
    with np.errstate(invalid='ignore', divide='ignore'):
        if sums.shape[-1] > WIDTH:  # protocol generalised
            counted, passed = sums[..., WIDTH::2], sums[..., WIDTH + 1 :: 2]
            in_precision, nothing = counted[..., PRESENCE.index('T-acc')], math.nan
            shares = np.moveaxis(100 * passed / counted, -1, 0)
            presence = dict(zip(PRESENCE, shares, strict=True))
        return {
            'gIoU': 100 * iou / samples,
            'cIoU': np.where(union > 0, 100 * intersection / union, nothing),
            **{name: 100 * sums[..., 4 + k] / in_precision for k, name in enumerate(THRESHOLDS)},
            **presence,
        }


def bootstrap(
    table: np.ndarray,
    statistic: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The statistic on resamples of the images, drawn with replacement.

    Args:
        table: (images, K) sums of each image.
        statistic: sums (R, K) of R resamples -> name -> (R,).
    Returns:
        name -> (resamples,).
    """
    generator, n = np.random.default_rng(seed), len(table)
    parts = []
    for start in range(0, resamples, CHUNK):
        counts = generator.multinomial(n, np.full(n, 1 / n), size=min(CHUNK, resamples - start))
        parts.append(statistic(counts @ table))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: np.ndarray) -> Interval:
    """The middle 95 % of the resamples' values; NaN where one of them is."""
    tail = (100 - LEVEL) / 2
    return Interval(*(float(v) for v in np.percentile(values, [tail, 100 - tail])))


def score_intervals(sums: ImageSums, **options: Any) -> dict[str, Interval]:
    """The 95 % interval of each score."""
    values = bootstrap(sums.table(), scores_of, **options)
    return {name: interval(value) for name, value in values.items()}


class Difference(NamedTuple):
    """Second model minus first, in points."""

    difference: float
    interval: Interval
    p: float  # two-sided: twice the share of the resamples on the other side of 0; NaN where one of
    # them has no score under protocol generalised


def score_differences(first: ImageSums, second: ImageSums, **options: Any) -> dict[str, Difference]:
    """Each score's difference on the same resamples of the same images."""
    images = first.images
    tables = first.table(images), second.table(images)
    k = tables[0].shape[1]

    def difference(sums: np.ndarray) -> dict[str, np.ndarray]:
        a, b = scores_of(sums[..., :k]), scores_of(sums[..., k:])
        return {name: b[name] - a[name] for name in a}

    table = np.concatenate(tables, axis=1)
    found = difference(table.sum(axis=0))
    return {
        name: Difference(
            float(found[name]),
            interval(values),
            math.nan
            if first.protocol.generalised and np.isnan(values).any()
            else min(1.0, 2 * float(min((values <= 0).mean(), (values >= 0).mean()))),
        )
        for name, values in bootstrap(table, difference, **options).items()
    }
