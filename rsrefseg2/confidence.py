"""How sure an answer is, from three scores, and whether its object is found.

    confidence = s(w_0 + w_1 logit(presence) + w_2 logit(predicted IoU) + w_3 logit(mean probability))

with s(x) = 1 / (1 + e^-x). What the weights mean, and how they are fitted: evaluation/calibration.py.
Without torch: exported models answer by it, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EDGE = 1e-6  # scores are kept this far from 0 and 1, where the logit is infinite


class Calibration(NamedTuple):
    """What was fitted for one checkpoint."""

    weights: tuple[float, float, float, float]  # of 1, then of the logits of the three scores
    presence_threshold: float
    samples: int  # that they were fitted on
    source: str  # the dump of these

    def confidence(self, *scores: float) -> float:
        """The probability that the mask as drawn is right, 0 to 1, of presence, predicted IoU and
        mean probability."""
        return float(confidences(self, np.array([scores]))[0])

    def finds(self, presence: float) -> bool:
        """Whether the object counts as found."""
        return presence >= self.presence_threshold


class Verdict(NamedTuple):
    """What SAM's heads say of an answer, where `model.sam.score_heads` has trained them."""

    found: bool  # the presence reaches the threshold
    confidence: float | None  # that the mask as drawn is right; None: the model is not calibrated


def verdict_of(
    presence: float | None,
    predicted_iou: float | None,
    mean_probability: float,
    *,
    threshold: float | None,
    calibration: Calibration | None,
) -> Verdict | None:
    """Whether an object counts as found, and how sure its mask is; None without a threshold or a
    presence.

    Args:
        mean_probability: of the mask as drawn, 0 of an empty one.
    """
    if threshold is None or presence is None:
        return None
    confidence = None
    if calibration is not None and predicted_iou is not None:
        confidence = calibration.confidence(presence, predicted_iou, mean_probability)
    return Verdict(presence >= threshold and mean_probability > 0, confidence)


def logit(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), of p kept EDGE from 0 and 1."""
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p) - np.log1p(-p)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x); it never overflows."""
    return 0.5 * (1 + np.tanh(x / 2))


def confidences(calibration: Calibration, scores: np.ndarray) -> np.ndarray:
    """(N, 3) scores -> (N,) confidence; 0 where the mean probability is that of no pixel, 0."""
    constant, *weights = calibration.weights
    return np.where(scores[:, 2] > 0, sigmoid(constant + logit(scores) @ np.array(weights)), 0.0)
