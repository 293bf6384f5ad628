"""How the passes of an averaged test show the picture: flipped, turned, moved within a border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..symmetries import GROUPS, IDENTITY, Group, Maps, Symmetry
from .losses.segmentation import upsample
from .symbols import at_least_float32

# Of the border the share above and the share left of the picture, pass after pass; the first has none.
OFFSETS = (
    (0.0, 0.0),
    (0.0, 1.0),
    (1.0, 0.0),
    (1.0, 1.0),
    (0.5, 0.5),
    (0.0, 0.0),
    (0.5, 0.0),
    (0.0, 0.5),
)


class Placement(NamedTuple):
    """The picture is flipped or turned, then laid into a border of its edge's pixels.

    Args:
        symmetry: comes first.
        border: shares of the turned picture's height and width that its border adds to them.
        offset: shares of the border above and left of the picture.
    """

    symmetry: Symmetry = IDENTITY
    border: tuple[float, float] = (0.0, 0.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of a picture of (H, W), placed."""
        (above, below), (left, right) = self._margins((height, width))
        height, width = self.symmetry.shape(height, width)
        return height + above + below, width + left + right

    def picture(self, image: Maps, *, y: int, x: int) -> Maps:
        """A picture whose axes are `y` and `x`, placed; maybe a view of its memory."""
        margins = self._margins((image.shape[y], image.shape[x]))
        image = self.symmetry.maps(image, y=y, x=x)
        for axis, (before, after) in zip((y, x), margins, strict=True):
            if before or after:
                rows = np.arange(-before, image.shape[axis] + after).clip(0, image.shape[axis] - 1)
                image = _take(image, rows, axis)
        return image

    def back(self, logits: Tensor, shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """(h, w) logits that cover the placed picture of `shape` (H, W) -> `size` (h, w) that cover
        the picture as it is; bilinear as in `upsample`."""
        seen, margins = self.shape(*shape), self._margins(shape)
        box = [
            (before / side, 1 - after / side)
            for side, (before, after) in zip(seen, margins, strict=True)
        ]
        found = _resample(logits, box, self.symmetry.shape(*size))
        return self.symmetry.inverse.maps(found, y=0, x=1)

    def prior(self, prior: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """(h, w) logits that cover a picture of `shape` (H, W) -> as many that cover it placed."""
        sides, margins = self.symmetry.shape(*shape), self._margins(shape)
        box = [
            (-before / side, 1 + after / side)
            for side, (before, after) in zip(sides, margins, strict=True)
        ]
        turned = self.symmetry.maps(prior, y=0, x=1)
        found = _resample(torch.from_numpy(turned.copy()), box, turned.shape)
        return found.numpy()

    def _margins(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Pixels above and below, left and right of the turned picture."""
        found = []
        for side, share, offset in zip(
            self.symmetry.shape(*shape), self.border, self.offset, strict=True
        ):
            whole = round(share * side)
            before = round(share * side * offset)
            found.append((before, whole - before))
        return found


def placements_of(group: Group, shift: float, grid: tuple[int, int]) -> tuple[Placement, ...]:
    """The placements of `group`, the picture as it is first.

    Args:
        shift: by how many patches of SigLIP the others move the picture; 0: not at all.
        grid: rows and columns of SigLIP's patches.
    """
    border = (shift / grid[0], shift / grid[1])
    _, *others = GROUPS[group]
    moved = [
        Placement(one, border, offset) for one, offset in zip(others, OFFSETS[1:], strict=False)
    ]
    return Placement(), *moved


def _take(image: Maps, rows: np.ndarray, axis: int) -> Maps:
    if isinstance(image, Tensor):
        return image.index_select(axis, torch.from_numpy(rows).to(image.device))
    return image.take(rows, axis)


def _resample(logits: Tensor, box: Sequence[tuple[float, float]], size: tuple[int, ...]) -> Tensor:
    """The part of (h, w) logits within `box`, from and to as shares of the height and the width, at
    `size`. Outside they go on as at their edge."""
    if all(side == (0, 1) for side in box):
        return upsample(logits[None], (size[0], size[1]))[0]
    logits = at_least_float32(logits)
    y, x = (
        2 * (start + (end - start) * (torch.arange(n, device=logits.device) + 0.5) / n) - 1
        for (start, end), n in zip(box, size, strict=True)
    )
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), -1).to(logits.dtype)
    found = F.grid_sample(
        logits[None, None], grid[None], mode='bilinear', padding_mode='border', align_corners=False
    )
    return found[0, 0]
