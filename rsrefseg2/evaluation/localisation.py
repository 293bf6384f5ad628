"""Where the model looked and whether it drew that: dense prompt, prediction, annotated mask."""

from __future__ import annotations

import cv2
import numpy as np

PATCH = 32  # patches a side of the full-size encoder: its grid cannot point more finely


def coarse_localisation(dense_prompt: np.ndarray, gt: np.ndarray) -> float | None:
    """The share of the dense prompt's activation that lies on the target, 0 to 1.

        score = sum_{x on target} a_x / sum_x a_x        (a: see `activation`)

    The target is grown by one patch of the encoder. A model that points at one of two equal objects
    at random scores near 0 or 1; one that points at both, near 0.5.

    Args:
        dense_prompt: (h, w) logits p_dense (Eq. 7).
        gt: (H, W) bool.
    Returns:
        None where the target is empty or the activation is flat: neither has a place.
    """
    a = activation(dense_prompt)
    if a is None or not gt.any():
        return None
    return min(1.0, float(a[grown(gt, a.shape)].sum(dtype=np.float64) / a.sum(dtype=np.float64)))


def mask_agreement(dense_prompt: np.ndarray, pred: np.ndarray) -> float | None:
    """How well the prediction covers what the model itself pointed at, 0 to 1; the target plays no
    part.

        score = 2 sum a_x m_x / (sum a_x^2 + sum m_x^2)  (soft Dice; a scaled to a maximum of 1)

    m is the share of each of the dense prompt's cells that the prediction covers. A blurred dense
    prompt does not reach 1 with any mask: compare scores of one model only.

    Args:
        dense_prompt: (h, w) logits p_dense (Eq. 7).
        pred: (H, W) bool.
    Returns:
        0 where the prediction is empty; None where the activation is flat.
    """
    a = activation(dense_prompt)
    if a is None:
        return None
    m = cover(pred, a.shape)
    return float(2 * (a * m).sum() / ((a * a).sum() + (m * m).sum()))


def mask_localisation(pred: np.ndarray, gt: np.ndarray) -> float | None:
    """The share of the prediction that hangs together with the target, from the two masks alone, 0
    to 1.

    These are the connected parts of the prediction that touch the target, grown by 1 / PATCH of the
    image's sides (as far as a patch reaches). So a mask that is too small or too large scores 1,
    one on another object 0, and one on the target and an equal object 0.5.

    Args:
        pred, gt: (H, W) bool.
    Returns:
        None where one of them is empty: it has no place.
    """
    if not pred.any() or not gt.any():
        return None
    parts = cv2.connectedComponents(pred.astype(np.uint8))[1]
    touching = np.unique(parts[pred & grown(gt, gt.shape)])
    return float(np.isin(parts[pred], touching).mean())


def activation(dense_prompt: np.ndarray) -> np.ndarray | None:
    """a = max(sigmoid(p_dense) - median, 0), scaled to a maximum of 1: (h, w) float32.

    The median takes away what the whole image has in common, so that no threshold is needed and a
    dense prompt that is high everywhere earns nothing. None where nothing is left.
    """
    a = 0.5 * (1 + np.tanh(dense_prompt.astype(np.float32) / 2))  # never overflows
    half = a.size // 2
    a = np.maximum(a - np.partition(a, half, axis=None)[half], 0)
    top = a.max()
    return a / top if top > 0 else None


def cover(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool -> (h, w) float32: the share of each cell that the mask covers."""
    return cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)


def grown(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool -> (h, w) bool: the cells that the mask touches, grown by one patch."""
    touched = cover(mask, shape) > 0
    reach = [2 * max(1, round(n / PATCH)) + 1 for n in shape]
    return cv2.dilate(touched.astype(np.uint8), np.ones(reach, np.uint8)) > 0
