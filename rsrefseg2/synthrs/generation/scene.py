"""Compose a scene: which objects, where, drawn over the ground with shadows."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .ground import draw_ground, noise
from .objects import CATEGORIES, COLOURS, SCENE_SCALE, SIZES
from .shapes import draw

GAP = 2.0  # pixels of a 128-pixel image between the outlines of two objects
PLACING_TRIES = 80


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thing:
    """One object of a scene; lengths in pixels.

    `centre` is the centroid of the visible mask and `bbox` (x, y, w, h) its tight box, so what a
    sentence says of the object's place can be checked against what is seen of it.
    """

    category: str
    colour: str | None
    size: str
    centre: tuple[float, float]
    bbox: tuple[int, int, int, int]
    angle: float
    length: float
    area: int
    rle: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A drawn scene: image (size, size, 3) uint8 RGB and its objects."""

    size: int
    image: np.ndarray
    things: list[Thing]


def _compose(rng: np.random.Generator, min_same: int) -> list[tuple[str, str | None, str]]:
    """Draw (category, colour, size class) of every object: one category at least `min_same` times,
    three others for company. Few colours, so that a colour is shared between categories."""
    names = [list(CATEGORIES)[index] for index in rng.choice(len(CATEGORIES), 4, replace=False)]
    counts = [
        min_same + rng.integers(0, 2),
        min_same if rng.random() < 0.25 else rng.integers(2, 4),
        rng.integers(1, 3),
        1 + (rng.random() < 0.3),
    ]
    palette = [list(COLOURS)[index] for index in rng.choice(len(COLOURS), 3, replace=False)]
    return [
        (
            name,
            palette[rng.integers(3)] if CATEGORIES[name].coloured else None,
            ('small', 'large')[rng.integers(2)],
        )
        for name, count in zip(names, counts)
        for _ in range(count)
    ]


def _spine(
    name: str, centre: np.ndarray, length: float, angle: float
) -> list[tuple[float, float, float]]:
    """Three discs (x, y, radius) that cover an object."""
    radius = length * (0.30 + 0.24 * CATEGORIES[name].width)
    reach = max(0.0, length * 0.54 - radius)
    across, down = reach * math.cos(math.radians(angle)), reach * math.sin(math.radians(angle))
    x, y = map(float, centre)
    return [(x - across, y - down, radius), (x, y, radius), (x + across, y + down, radius)]


def _apart(
    first: list[tuple[float, float, float]], second: list[tuple[float, float, float]], gap: float
) -> bool:
    """Whether no two discs come closer than `gap`. Plain floats: arrays this small cost more."""
    return all(
        (x - u) ** 2 + (y - v) ** 2 > (r + s + gap) ** 2 for x, y, r in first for u, v, s in second
    )


def _place(
    rng: np.random.Generator, plan: list[tuple[str, str | None, str]], size: int, unit: float
) -> list[tuple[int, np.ndarray, float, float]] | None:
    """Find a free spot for each planned object, longest first; `unit`: pixels of one of a 128-pixel
    image, by which objects grow.

    Returns:
        per object (index into the plan, centre, length, angle), or None where one did not fit.
    """
    scale = unit * rng.uniform(*SCENE_SCALE)
    lengths = [
        CATEGORIES[name].length * scale * rng.uniform(*SIZES[size_class])
        for name, _, size_class in plan
    ]
    taken: list[Any] = []
    spots = []
    for index in np.argsort(lengths)[::-1]:
        name, length = plan[index][0], float(lengths[index])
        for _ in range(PLACING_TRIES):
            # 0.3 of the length from the border: an object may be cut, two thirds stay visible.
            centre = rng.uniform(0.3 * length, size - 0.3 * length, 2)
            angle = rng.uniform(0, 360)
            spine = _spine(name, centre, length, angle)
            if _apart(spine, taken, GAP * unit):
                break
        else:
            return None
        taken += spine
        spots.append((int(index), centre, length, float(angle)))
    return spots


def _window(size: int, patch: np.ndarray, left: int, top: int) -> tuple[tuple, tuple]:
    """The slices (image, patch) where a patch put at (left, top) and the image overlap."""
    side = patch.shape[0]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    return (
        (slice(y0, y1), slice(x0, x1)),
        (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
    )


def _paint_colour(rng: np.random.Generator, colour: str | None) -> tuple[int, int, int]:
    base = np.array(COLOURS[colour or 'white'])
    noisy = np.clip(base + rng.normal(0, 8) + rng.normal(0, 5, 3), 0, 255)
    red, green, blue = (int(value) for value in noisy)
    return red, green, blue


def _describe(
    mask: np.ndarray, plan: tuple[str, str | None, str], length: float, angle: float
) -> Thing:
    rows, columns = np.nonzero(mask)
    x0, y0 = int(columns.min()), int(rows.min())
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle['counts'] = rle['counts'].decode()
    rle['size'] = [int(side) for side in rle['size']]
    # Rounded here, so that the sentences are chosen on the very numbers that are written.
    return Thing(
        category=plan[0],
        colour=plan[1],
        size=plan[2],
        centre=(round(float(columns.mean()) + 0.5, 2), round(float(rows.mean()) + 0.5, 2)),
        bbox=(x0, y0, int(columns.max()) + 1 - x0, int(rows.max()) + 1 - y0),
        angle=round(angle, 1),
        length=round(length, 1),
        area=len(rows),
        rle=rle,
    )


def draw_scene(
    rng: np.random.Generator, *, size: int, min_same: int, object_scale: float = 1.0
) -> Scene:
    """Draw scenes until the planned objects fit; -> Scene with its objects in random order.

    Args:
        size: side in pixels; ground and objects grow with it.
        object_scale: of the objects beside that, with their shadows and gaps.
    """
    unit = size / 128 * object_scale
    while True:
        plan = _compose(rng, min_same)
        spots = _place(rng, plan, size, unit)
        if spots is not None:
            break
    spots = [spots[index] for index in rng.permutation(len(spots))]
    image = draw_ground(rng, size)
    sun = rng.uniform(0, 2 * np.pi)
    reach = unit * rng.uniform(0.7, 1.4)
    patches, shadow = [], np.zeros((size, size), np.float32)
    for index, centre, length, angle in spots:
        name, colour, _ = plan[index]
        patch, (left, top) = draw(
            name,
            colour=_paint_colour(rng, colour),
            length=length,
            angle=angle,
            centre=tuple(centre),
        )
        patches.append((patch, left, top))
        fall = CATEGORIES[name].height * reach
        for step in np.arange(1, np.ceil(fall) + 1):
            target, source = _window(
                size,
                patch,
                left + round(np.cos(sun) * min(step, fall)),
                top + round(np.sin(sun) * min(step, fall)),
            )
            np.maximum(shadow[target], patch[source][..., 3], out=shadow[target])
    image *= 1 - 0.5 * cv2.GaussianBlur(shadow, (3, 3), 0.8)[..., None]

    things = []
    for (patch, left, top), (index, _, length, angle) in zip(patches, spots):
        target, source = _window(size, patch, left, top)
        alpha = patch[source][..., 3:]
        image[target] = image[target] * (1 - alpha) + patch[source][..., :3] * 255
        mask = np.zeros((size, size), bool)
        mask[target] = alpha[..., 0] > 0.5
        things.append(_describe(mask, plan[index], length, angle))
    return Scene(size=size, image=_expose(rng, image), things=things)


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Uneven light, a little blur and sensor noise; -> uint8."""
    size = image.shape[0]
    light = rng.uniform(0.88, 1.1) + 0.03 * noise(rng, size, 3)
    image = cv2.GaussianBlur(image * light[..., None], (3, 3), rng.uniform(0.25, 0.55))
    image += rng.normal(0, 2.5, (size, size, 1)).astype(np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
