"""Where the model looked: the dense prompt against the annotated mask."""
from __future__ import annotations

import cv2
import numpy as np

PATCH = 32  # patches a side of the full-size encoder: its grid cannot point more finely


def coarse_localisation(dense_prompt: np.ndarray, gt: np.ndarray) -> float | None:
    """The share of the dense prompt's activation that lies on the target, 0 to 1.

        a = max(sigmoid(p_dense) - median, 0)        score = sum_{x on target} a_x / sum_x a_x

    The median takes away what the whole image has in common, so that no threshold is needed and a
    dense prompt that is high everywhere earns nothing. The target is grown by one patch of the
    encoder. A model that points at one of two equal objects at random scores near 0 or 1; one that
    points at both, near 0.5.

    Args:
        dense_prompt: (h, w) logits p_dense (Eq. 7).
        gt: (H, W) bool.
    Returns:
        None where the target is empty or the activation is flat: neither has a place.
    """
    activation = 0.5 * (1 + np.tanh(dense_prompt.astype(np.float32) / 2))  # never overflows
    half = activation.size // 2
    median = np.partition(activation, half, axis=None)[half]
    activation = np.maximum(activation - median, 0)
    total = activation.sum(dtype=np.float64)
    if not gt.any() or total <= 0:
        return None
    on_target = activation[grown(gt, dense_prompt.shape)].sum(dtype=np.float64)
    return min(1.0, float(on_target / total))


def grown(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool -> (h, w) bool: the cells that the mask touches, grown by one patch."""
    touched = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0
    reach = [2 * max(1, round(n / PATCH)) + 1 for n in shape]
    return cv2.dilate(touched.astype(np.uint8), np.ones(reach, np.uint8)) > 0
