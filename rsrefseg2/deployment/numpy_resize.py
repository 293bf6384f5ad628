"""torch's bilinear `F.interpolate` in NumPy: a product with a banded matrix along each axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


def bilinear_matrix(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) float32: rows of align_corners=False without antialiasing.

    Output i reads at x = max((i + 1/2) n_in / n_out - 1/2, 0), between floor(x) and the next.
    """
    x = np.maximum(_centres(n_in, n_out) - 0.5, 0).astype(np.float32)
    below = np.minimum(x.astype(np.int64), n_in - 1)
    above = np.minimum(below + 1, n_in - 1)
    matrix, rows, share = np.zeros((n_out, n_in)), np.arange(n_out), x - below
    np.add.at(matrix, (rows, below), 1 - share)
    np.add.at(matrix, (rows, above), share)
    return matrix.astype(np.float32)


def antialiased_matrix(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) float32: rows of align_corners=False, antialias=True.

    With s = max(n_in / n_out, 1), output i weighs the input j by the triangle
    max(1 - |j + 1/2 - c| / s, 0) around c = (i + 1/2) n_in / n_out; a row sums to 1.
    """
    centre = _centres(n_in, n_out).astype(np.float32)[:, None]
    distance = np.abs(np.arange(n_in, dtype=np.float32) - centre + np.float32(0.5))
    weights = np.maximum(1 - distance / max(n_in / n_out, 1.0), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _centres(n_in: int, n_out: int) -> np.ndarray:
    """(n_out,) float64: (i + 1/2) n_in / n_out, with the quotient in float32 as torch has it."""
    return (np.arange(n_out) + 0.5) * np.float64(np.float32(n_in) / np.float32(n_out))


def resize(maps: np.ndarray, size: tuple[int, int], *, antialias: bool) -> np.ndarray:
    """(..., H, W) float32 -> (..., *size) float32; as they are where the size is theirs."""
    if maps.shape[-2:] == size:
        return maps
    of_axis: Callable[[int, int], np.ndarray] = antialiased_matrix if antialias else bilinear_matrix
    rows, columns = (of_axis(*lengths) for lengths in zip(maps.shape[-2:], size, strict=True))
    if maps.shape[-2] <= size[0]:  # the columns while the rows are few
        return _over_rows(rows, _over_columns(columns, maps))
    return _over_columns(columns, _over_rows(rows, maps))


def _over_rows(matrix: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """matrix @ maps, (n_out, n_in) and (..., n_in, W), of the entries that are not 0 alone: a row
    has few of them, side by side, and a photograph's size times its output's would be too many."""
    return _weighted_sum(maps, [(read, one[:, None]) for read, one in _diagonals(matrix)], axis=-2)


def _over_columns(matrix: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """maps @ matrix.T, (..., H, n_in) and (n_out, n_in), in the same way."""
    return _weighted_sum(maps, list(_diagonals(matrix)), axis=-1)


def _weighted_sum(
    maps: np.ndarray, terms: list[tuple[np.ndarray, np.ndarray]], *, axis: int
) -> np.ndarray:
    """The sum over (index, weight) of the weighted rows or columns of `maps` at the index."""
    found: np.ndarray | None = None
    for read, weights in terms:
        part = np.take(maps, read, axis=axis)
        part *= weights
        found = part if found is None else np.add(found, part, out=found)
    assert found is not None  # every row has an entry
    return found


def _diagonals(matrix: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(index, weight), each (n_out,), of one entry a row, until all that are not 0 were given."""
    (n_out, n_in), filled = matrix.shape, matrix != 0
    first, last = filled.argmax(1), n_in - 1 - filled[:, ::-1].argmax(1)
    width = int((last - first).max()) + 1
    first = np.minimum(first, n_in - width)
    for step in range(width):
        yield first + step, matrix[np.arange(n_out), first + step]
