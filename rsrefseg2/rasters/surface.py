"""An answer as logits over a part of a picture, of any resolution, rendered where it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .reading import Window

BLOCK = 512  # side of what is rendered at once, and of a tile of a written mask


class Surface(NamedTuple):
    """Logits over a window of a picture; nothing is found beside it."""

    window: Window  # in the picture's pixels
    logits: np.ndarray  # (h, w) float32, a cell's at its centre, bilinear between
    cells: tuple[float, float]  # a pixel, along rows and along columns

    def at(self, rows: slice, columns: slice) -> np.ndarray:
        """Logits of the picture's pixels rows x columns, -inf beside the window: the same numbers
        as upsampling all of it (align_corners=False), without holding them."""
        out = np.full((rows.stop - rows.start, columns.stop - columns.start), -np.inf, np.float32)
        column, row, width, height = self.window
        top, bottom = max(rows.start, row), min(rows.stop, row + height)
        left, right = max(columns.start, column), min(columns.stop, column + width)
        if top < bottom and left < right:
            inside = slice(top - row, bottom - row), slice(left - column, right - column)
            out[
                top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
            ] = logits_at(self.logits, self.cells, *inside)
        return out

    def mask_on(self, window: Window, shape: tuple[int, int]) -> np.ndarray:
        """(h, w) bool: the mask on a view of a window, bilinear. Where a pixel of the view holds
        several cells, it is set where any of them is: what is small must not vanish."""
        height, width = shape
        down, across = self.cells
        y = window.row + (np.arange(height) + 0.5) * window.height / height - self.window.row
        x = window.column + (np.arange(width) + 0.5) * window.width / width - self.window.column
        inside = ((y >= 0) & (y < self.window.height))[:, None] & (
            (x >= 0) & (x < self.window.width)
        )
        mask = (interpolate(self.logits, y * down - 0.5, x * across - 0.5) > 0) & inside
        if down * window.height > height or across * window.width > width:
            for first in range(0, len(self.logits), BLOCK):
                found = np.nonzero(self.logits[first : first + BLOCK] > 0)
                below = (found[0] + first + 0.5) / down + self.window.row - window.row
                beside = (found[1] + 0.5) / across + self.window.column - window.column
                rows = np.floor(below * height / window.height).astype(int)
                columns = np.floor(beside * width / window.width).astype(int)
                seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
                mask[rows[seen], columns[seen]] = True
        return mask


def surface_over(window: Window, logits: np.ndarray) -> Surface:
    """The surface whose cells (h, w) divide the window evenly."""
    height, width = logits.shape
    return Surface(window, logits, (height / window.height, width / window.width))


def logits_at(
    logits: np.ndarray, cells: tuple[float, float], rows: slice, columns: slice
) -> np.ndarray:
    """The pixels rows x columns of `logits` (h, w), of which a pixel is so many `cells`."""
    y, x = (
        (np.arange(part.start, part.stop) + 0.5) * scale - 0.5
        for scale, part in zip(cells, (rows, columns), strict=True)
    )
    return interpolate(logits, y, x)


def interpolate(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`values` (h, w) at the rows y (H,) and the columns x (W,), counted from the middle of the
    first: (H, W), bilinear, constant beyond the middles of the outermost."""
    for axis, position in enumerate((y, x)):
        length = values.shape[axis]
        position = np.clip(position, 0, length - 1)
        first = np.floor(position).astype(int)
        second = np.minimum(first + 1, length - 1)
        weight = (position - first).astype(values.dtype)
        weight = weight[:, None] if axis == 0 else weight
        low, high = values.take(first, axis), values.take(second, axis)
        values = low * (1 - weight) + high * weight
    return values


def blocks(window: Window) -> Iterator[tuple[slice, slice]]:
    """The window in pieces of BLOCK pixels a side: rows, columns of the picture."""
    column, row, width, height = window
    for top in range(row, row + height, BLOCK):
        for left in range(column, column + width, BLOCK):
            yield (
                slice(top, min(top + BLOCK, row + height)),
                slice(left, min(left + BLOCK, column + width)),
            )


def probability(logits: np.ndarray) -> np.ndarray:
    """The sigmoid, without overflow; 0 of -inf."""
    return 0.5 * (1 + np.tanh(logits / 2))
