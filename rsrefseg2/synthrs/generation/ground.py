"""What lies under the objects: textured ground, a shore or a second field, roads, trees."""

from __future__ import annotations

import cv2
import numpy as np

# base colour, strength of the coarse and of the fine texture
KINDS: dict[str, tuple[tuple[int, int, int], float, float]] = {
    'grass': ((104, 126, 80), 16, 6),
    'dry grass': ((150, 142, 98), 14, 6),
    'soil': ((142, 114, 88), 14, 7),
    'sand': ((196, 180, 144), 10, 5),
    'concrete': ((162, 162, 158), 7, 4),
    'asphalt': ((112, 114, 118), 7, 5),
    'water': ((58, 92, 104), 8, 3),
    'crops': ((112, 134, 72), 10, 5),
}


def noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) of about unit variance with `cells` knots per side."""
    knots = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)


def _texture(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    """-> (size, size, 3) float32 of one kind of ground."""
    colour, coarse, fine = KINDS[kind]
    tint = np.array(colour, np.float32) + rng.normal(0, 7, 3).astype(np.float32)
    relief = coarse * (0.6 * noise(rng, size, 5) + 0.4 * noise(rng, size, 17))
    relief += fine * rng.standard_normal((size, size), dtype=np.float32)
    if kind in ('crops', 'concrete', 'water'):
        turn, period = rng.uniform(0, np.pi), size / 128 * rng.uniform(5, 9)
        rows = np.arange(size, dtype=np.float32)
        wave = (np.cos(turn) * rows[None] + np.sin(turn) * rows[:, None]) / period
        if kind == 'concrete':  # slabs: a thin dark seam every four periods
            relief -= 16 * (np.abs(wave / 4 % 1 - 0.5) < 0.03)
        else:
            relief += (9 if kind == 'crops' else 3) * np.sin(2 * np.pi * wave)
    return tint + relief[..., None]


def _region(rng: np.random.Generator, size: int) -> np.ndarray:
    """A soft half plane with a wavy edge: (size, size, 1) in 0..1."""
    turn = rng.uniform(0, 2 * np.pi)
    grid = np.arange(size, dtype=np.float32) / size - 0.5
    distance = np.cos(turn) * grid[None] + np.sin(turn) * grid[:, None] - rng.uniform(-0.2, 0.3)
    distance = distance + 0.05 * noise(rng, size, 6)
    return np.clip(distance * 40 + 0.5, 0, 1)[..., None]


def _blend(image: np.ndarray, alpha: np.ndarray, colour: np.ndarray | np.float32) -> None:
    image += alpha[..., None] * (colour - image)


def _road(rng: np.random.Generator, image: np.ndarray) -> None:
    """A slightly bent road with a dashed middle line, in place."""
    size = image.shape[0]
    turn = rng.uniform(0, np.pi)
    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    middle = size / 2 + across * rng.uniform(-0.3, 0.3) * size
    steps = np.linspace(-0.8, 0.8, 33)
    bend = rng.uniform(-0.25, 0.25)
    path = middle + size * (steps[:, None] * along + bend * steps[:, None] ** 2 * across)
    points = np.round(path * 16).astype(np.int32)
    width = max(2, round(size / 128 * rng.uniform(5, 10)))
    for thick, grey in ((width + 2, 176), (width, rng.uniform(92, 124))):
        mask = np.zeros((size, size), np.uint8)
        cv2.polylines(mask, [points], False, 255, thick, cv2.LINE_AA, shift=4)
        _blend(
            image, mask.astype(np.float32) / (255 * (1.6 if grey == 176 else 1.1)), np.float32(grey)
        )
    mask = np.zeros((size, size), np.uint8)
    for start in range(0, len(points) - 1, 2):
        cv2.line(mask, points[start], points[start + 1], 255, 1, cv2.LINE_AA, shift=4)
    _blend(image, mask.astype(np.float32) / 400, np.float32(216))


def _trees(rng: np.random.Generator, image: np.ndarray) -> None:
    """A few tree crowns, each with a darker side, in place."""
    size = image.shape[0]
    for _ in range(rng.integers(0, 9)):
        radius = size / 128 * rng.uniform(1.5, 3.2)
        side = int(np.ceil(radius * 3))
        x, y = rng.integers(0, size - side, 2)
        spot = image[y : y + side, x : x + side]
        green = np.array([54, 84, 44], np.float32) + rng.normal(0, 8, 3).astype(np.float32)
        for shift, paint in ((0.5, green * 0.45), (0.0, green), (-0.35, green * 1.25)):
            mask = np.zeros((side, side), np.uint8)
            middle = round((side / 2 + shift * radius) * 16)
            reach = radius * (0.55 if shift < 0 else 1)
            cv2.circle(mask, (middle, middle), round(reach * 16), 255, -1, cv2.LINE_AA, shift=4)
            _blend(spot, mask.astype(np.float32) * (0.8 / 255), paint)


def draw_ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """-> (size, size, 3) float32 RGB in 0..255."""
    kinds = list(KINDS)
    first, second = rng.choice(len(kinds), 2, replace=False)
    image = _texture(rng, size, kinds[first])
    if rng.random() < 0.5:
        image += _region(rng, size) * (_texture(rng, size, kinds[second]) - image)
    for _ in range(rng.integers(0, 3)):
        _road(rng, image)
    if 'water' not in (kinds[first], kinds[second]):
        _trees(rng, image)
    return image
