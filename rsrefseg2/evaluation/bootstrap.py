"""How far a score is to be trusted: bootstrap over images, and paired between two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .protocols import TENTHS, Protocol
from .score_sums import THRESHOLDS, Record

CHUNK = 100  # resamples held at a time
LEVEL = 95  # percent


class Interval(NamedTuple):
    """A percentile interval, in percent."""

    low: float
    high: float


class ImageSums:
    """Per image the sums from which scores follow: samples of one image are drawn together, since
    their errors are not independent.

    Columns: samples, sum of IoU, intersection, union, samples that pass each threshold.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._rows: dict[str, np.ndarray] = {}

    def add(self, record: Record) -> None:
        """A sample counts for its `file`; where a record has none, for itself."""
        i, u = record['intersection'], record['union']
        row = self._rows.setdefault(
            record.get('file') or f'sample {record["id"]}', np.zeros(4 + len(TENTHS))
        )
        row += [
            1,
            self.protocol.iou(i, u),
            i,
            u,
            *(self.protocol.passes(i, u, tenths) for tenths in TENTHS),
        ]

    @property
    def images(self) -> list[str]:
        """In the order in which they came."""
        return list(self._rows)

    def table(self, images: list[str] | None = None) -> np.ndarray:
        """(images, 4 + thresholds) float64."""
        return np.stack([self._rows[name] for name in images or self.images])


def scores_of(sums: np.ndarray) -> dict[str, np.ndarray]:
    """(..., 4 + thresholds) sums -> the scores in percent, each (...)."""
    samples, iou, intersection, union = np.moveaxis(sums[..., :4], -1, 0)
    with np.errstate(invalid='ignore', divide='ignore'):
        return {
            'gIoU': 100 * iou / samples,
            'cIoU': np.where(union > 0, 100 * intersection / union, 0.0),
            **{name: 100 * sums[..., 4 + k] / samples for k, name in enumerate(THRESHOLDS)},
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
    p: float  # two-sided: twice the share of the resamples on the other side of 0


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
            min(1.0, 2 * float(min((values <= 0).mean(), (values >= 0).mean()))),
        )
        for name, values in bootstrap(table, difference, **options).items()
    }
