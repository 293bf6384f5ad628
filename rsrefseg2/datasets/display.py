"""From measured values of any depth to the 8 bits that the towers read."""

from __future__ import annotations

import numpy as np

LOW, HIGH = 2.0, 98.0  # percentiles that become black and white


def percentile_range(
    values: np.ndarray, low: float = LOW, high: float = HIGH
) -> tuple[float, float]:
    """(black, white): two percentiles of `values`, of any shape and all of them finite; (0, 1) of
    none. White is above black, where all values are equal, too."""
    if not values.size:
        return 0.0, 1.0
    black, white = (float(value) for value in np.percentile(values.astype(np.float64), (low, high)))
    return black, white if white > black else black + 1


def to_uint8(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Values of any shape: black and below 0, white and above 255, NaN 0; rounded."""
    with np.errstate(invalid='ignore'):
        scaled = np.clip((values - np.float64(black)) / (white - black), 0, 1)
    return (255 * np.nan_to_num(scaled) + 0.5).astype(np.uint8)
