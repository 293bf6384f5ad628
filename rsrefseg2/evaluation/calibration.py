"""How sure an answer is: three scores as one probability, fitted on val, and how good that is.

    confidence = s(w_0 + w_1 logit(presence) + w_2 logit(predicted IoU) + w_3 logit(mean probability))

with s(x) = 1 / (1 + e^-x). Presence and predicted IoU are SAM's; the mean probability is that of the
pixels of the mask as drawn. It is the probability that this mask has an IoU above 0.5 with its target;
of a sentence that names nothing no mask is right, and an empty mask never is: 0. The weights are those
of a logistic regression (Platt's scaling, of three scores) on another split than the one that is
judged. An object is not found where its presence is below a threshold: the one with the largest mean
of N-acc and T-acc on that split, or the highest that keeps a given T-acc there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..confidence import EDGE as EDGE
from ..confidence import Calibration as Calibration
from ..confidence import confidences as confidences
from ..confidence import logit, sigmoid
from ..errors import UserError
from .protocols import PROTOCOLS

BINS = 10  # of the reliability diagram and the expected calibration error
RIDGE = 1e-3  # on all weights but w_0: finite weights where the answers can be told apart
STEPS = 100  # of Newton's method, at most; a handful are taken
SCORES = ('presence', 'predicted_iou', 'mean_probability')  # of a record
CURVE = tuple(k / 100 for k in range(101))  # thresholds of N-acc and T-acc


class Judged(NamedTuple):
    """N answers: their scores, and what is true of the masks as drawn."""

    scores: np.ndarray  # (N, 3) 0 to 1: SCORES
    has_target: np.ndarray  # (N,) bool
    drawn: np.ndarray  # (N,) bool: the mask as drawn is not empty
    right: np.ndarray  # (N,) bool: the IoU of the mask as drawn is above 0.5

    @property
    def presence(self) -> np.ndarray:
        """(N,), the first of the scores."""
        return self.scores[:, 0]

    def rows(self, kept: np.ndarray) -> Judged:
        """Those of `kept` (N,) bool."""
        return Judged(*(values[kept] for values in self))


def judge(records: Iterable[Mapping[str, Any]]) -> Judged:
    """From records with SCORES, `area`, and of the mask as drawn `intersection`, `union`.

    Raises:
        UserError: a record lacks a score.
    """
    scores, facts = [], []
    for record in records:
        for name in SCORES:
            if record.get(name) is None:
                raise UserError(
                    f'{record.get("location", "the dump")}: sample {record["id"]} has no {name}: '
                    "write the dump with a model that has model.sam.score_heads=['iou', 'object']"
                )
        area, i, u = record['area'], record['intersection'], record['union']
        scores.append([record[name] for name in SCORES])
        facts.append(
            (
                area > 0,
                u - area + i > 0,  # the prediction's pixels
                area > 0 and PROTOCOLS['paper'].passes(i, u, 5),
            )
        )
    return Judged(np.array(scores, float), *np.array(facts, bool).T)


def fit_calibration(judged: Judged, source: str, t_acc: float | None = None) -> Calibration:
    """The weights and the threshold from another split's answers.

    Args:
        t_acc: in percent: the highest threshold with at least this T-acc; None: `best_threshold`.
    Raises:
        UserError: all its masks are right, or none; or it lacks sentences with a target or without;
            or no threshold keeps `t_acc`.
    """
    for name, flags in (
        ('a mask with an IoU above 0.5', judged.right),
        ('a sentence with a target', judged.has_target),
    ):
        if not 0 < flags.sum() < len(flags):
            raise UserError(
                f'{source}: {name} stands in {flags.sum()} of {len(flags)} samples: a calibration '
                'needs both kinds; give a larger split, of sentences with a target and without'
            )
    drawn = judged.rows(judged.drawn)
    weights = fit_logistic(logit(drawn.scores), drawn.right)
    kept = judged.has_target & judged.drawn
    threshold = (
        best_threshold(judged.presence, kept, judged.has_target)
        if t_acc is None
        else keeping_threshold(judged, t_acc, source)
    )
    return Calibration(
        (float(weights[0]), float(weights[1]), float(weights[2]), float(weights[3])),
        threshold,
        len(judged.right),
        source,
    )


def fit_logistic(features: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Logistic regression by Newton's method: features (N, K), right (N,) bool -> (1 + K,) weights
    that minimise the summed cross-entropy + RIDGE / 2 |w|^2 of all but the constant."""
    x = np.concatenate([np.ones((len(features), 1)), features], 1)
    ridge = RIDGE * np.diag([0.0, *np.ones(features.shape[1])])
    y, w = right.astype(float), np.zeros(x.shape[1])

    def loss(w: np.ndarray) -> float:
        logits = x @ w
        return float((np.logaddexp(0, logits) - y * logits).sum() + w @ ridge @ w / 2)

    for _ in range(STEPS):
        p = sigmoid(x @ w)
        gradient = x.T @ (p - y) + ridge @ w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        scale = 1.0
        while loss(w - scale * step) > loss(w) and scale > 1e-9:
            scale /= 2
        w = w - scale * step
        if np.abs(scale * step).max() < 1e-10:
            break
    return w


def best_threshold(presence: np.ndarray, kept: np.ndarray, has_target: np.ndarray) -> float:
    """The threshold with the largest mean of N-acc and T-acc: half-way between two of the scores;
    of equal ones the nearest to 0.5.

    Args:
        presence: (N,), found where it reaches the threshold.
        kept: (N,) bool, of those with a target the ones whose mask is not empty anyway.
        has_target: (N,) bool.
    """
    values = np.unique(presence)
    candidates = np.array([0.0, *((values[1:] + values[:-1]) / 2), 1.0])
    absent, present = np.sort(presence[~has_target]), np.sort(presence[kept])
    lost = np.searchsorted(present, candidates)  # below the threshold
    n_acc = np.searchsorted(absent, candidates) / len(absent)
    t_acc = (len(present) - lost) / has_target.sum()
    best = n_acc + t_acc
    close = candidates[best >= best.max() - 1e-12]
    return float(close[np.abs(close - 0.5).argmin()])


def keeping_threshold(judged: Judged, t_acc: float, source: str) -> float:
    """The highest threshold with at least `t_acc` percent of T-acc: half-way between two of the scores.

    Raises:
        UserError: there is none: too many masks are empty anyway.
    """
    present = np.sort(judged.presence[judged.has_target & judged.drawn])
    needed = math.ceil(t_acc / 100 * judged.has_target.sum() - 1e-9)
    if needed > len(present):
        raise UserError(
            f'{source}: T-acc is {100 * len(present) / judged.has_target.sum():.1f} without a '
            f'threshold, less than {t_acc:g}: ask for less'
        )
    if not needed:
        return 1.0
    first = present[len(present) - needed]  # the lowest that has to be found
    below = judged.presence[judged.presence < first]
    return float((first + below.max()) / 2) if len(below) else 0.0


def presence_rates(judged: Judged, threshold: float) -> dict[str, float]:
    """N-acc and T-acc in percent where masks below the threshold are empty; NaN of no sentence."""
    empty = (judged.presence < threshold) | ~judged.drawn
    return {
        'N-acc': _percent(empty[~judged.has_target]),
        'T-acc': _percent(~empty[judged.has_target]),
    }


class Bin(NamedTuple):
    """The answers of one range of confidence."""

    low: float
    high: float
    samples: int
    confidence: float  # their mean; NaN of none
    right: float  # their share


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Ranges of equal width: [0, 1 / bins) ... [1 - 1 / bins, 1]."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for k in range(bins):
        inside = place == k
        n = int(inside.sum())
        means = (
            (float(confidence[inside].mean()), float(right[inside].mean()))
            if n
            else (math.nan, math.nan)
        )
        found.append(Bin(k / bins, (k + 1) / bins, n, *means))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error, 0 to 1: the mean of |right - confidence| over the answers, by
    bins (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017)."""
    total = sum(one.samples for one in bins)
    return sum(one.samples * abs(one.right - one.confidence) for one in bins if one.samples) / total


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The share of the pairs of a positive and another in which the positive has the higher score,
    equal ones half; NaN where one kind is missing."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return math.nan
    others = np.sort(scores[~positive])
    below = np.searchsorted(others, scores[positive], 'left')
    upto = np.searchsorted(others, scores[positive], 'right')
    return float((below + upto).sum() / (2 * n * m))


def _percent(flags: np.ndarray) -> float:
    return 100 * float(flags.mean()) if len(flags) else math.nan
