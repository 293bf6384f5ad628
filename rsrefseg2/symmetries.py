"""The 8 symmetries of the square: what flips and quarter turns do to pictures and to directions."""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from torch import Tensor

Maps = TypeVar('Maps', np.ndarray, Tensor)
Number = TypeVar('Number', int, float)
Group = Literal['flips', 'turns', 'all']


class Symmetry(NamedTuple):
    """Exchange x and y, then mirror; x grows to the right and y downwards.

    Args:
        transpose: rows become columns.
        flip_x: then left and right are exchanged.
        flip_y: then top and bottom are exchanged.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def step(self, dx: Number, dy: Number) -> tuple[Number, Number]:
        """Where the direction (dx, dy) points afterwards."""
        if self.transpose:
            dx, dy = dy, dx
        return (-dx if self.flip_x else dx), (-dy if self.flip_y else dy)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) afterwards."""
        return (width, height) if self.transpose else (height, width)

    def maps(self, maps: Maps, *, y: int, x: int) -> Maps:
        """An array or a tensor whose axes `y` and `x` are a picture's, changed; maybe a view.

        (H, W) becomes (W, H) with `transpose`.
        """
        if self.transpose:
            maps = maps.swapaxes(y, x)
        axes = tuple(axis for axis, flip in ((y, self.flip_y), (x, self.flip_x)) if flip)
        return maps.flip(axes) if isinstance(maps, Tensor) else np.flip(maps, axes)

    @property
    def inverse(self) -> Symmetry:
        """What undoes it."""
        if self.transpose:
            return Symmetry(True, self.flip_y, self.flip_x)
        return self

    def then(self, other: Symmetry) -> Symmetry:
        """This one first, then `other`."""
        x, y = (other.step(*self.step(*unit)) for unit in ((1, 0), (0, 1)))
        return Symmetry(x[0] == 0, x[0] + y[0] < 0, x[1] + y[1] < 0)


IDENTITY = Symmetry()
_ALL = tuple(Symmetry(*bits) for bits in itertools.product((False, True), repeat=3))
# Each is closed, and starts with the identity.
GROUPS: dict[Group, tuple[Symmetry, ...]] = {
    'flips': tuple(s for s in _ALL if not s.transpose),  # with the half turn
    'turns': tuple(s for s in _ALL if sum(s) % 2 == 0),  # no mirror image
    'all': _ALL,
}
