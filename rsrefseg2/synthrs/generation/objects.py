"""What can stand in a scene: categories, colours, size classes. Lengths are in pixels of a
128-pixel image and scale with the image."""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """One category.

    length: its longer side at size factor 1; width: the other side, as a fraction of the length.
    height: how far its shadow falls, in pixels. coloured: whether a colour word may name it.
    """

    length: float
    width: float
    height: float
    coloured: bool = True


CATEGORIES: dict[str, Category] = {
    'airplane': Category(25, 0.95, 2.2),
    'baseball field': Category(27, 1.0, 0.0, coloured=False),
    'building': Category(21, 0.72, 3.2),
    'helipad': Category(18, 1.0, 0.6),
    'roundabout': Category(25, 1.0, 0.0, coloured=False),
    'ship': Category(27, 0.34, 1.6),
    'stadium': Category(28, 0.74, 2.2),
    'storage tank': Category(17, 1.0, 2.6),
    'swimming pool': Category(20, 0.62, 0.0, coloured=False),
    'tennis court': Category(24, 0.52, 0.0),
    'vehicle': Category(17, 0.48, 1.2),
    'windmill': Category(27, 0.9, 2.8),
}

COLOURS: dict[str, tuple[int, int, int]] = {
    'white': (236, 236, 232),
    'black': (34, 34, 38),
    'red': (196, 42, 38),
    'blue': (40, 84, 200),
    'yellow': (232, 200, 44),
    'purple': (150, 58, 170),
}

# Factors on a category's length. The gap between the classes exceeds 1.4 within a scene, and the
# scene's own scale (varied below) moves both classes alike.
SIZES: dict[str, tuple[float, float]] = {'small': (0.70, 0.82), 'large': (1.18, 1.36)}
SCENE_SCALE = (0.88, 1.15)
