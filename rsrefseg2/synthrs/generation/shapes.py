"""The categories seen from above, drawn with supersampling into small patches.

Every shape is drawn in its own frame: x along its heading, y across, the longer side from -0.5 to
0.5. A patch is premultiplied RGBA, so averaging it down gives antialiased edges.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SUPERSAMPLING = 4
ASPHALT, GRASS, CLAY, WATER = (96, 97, 100), (72, 128, 58), (172, 116, 72), (64, 176, 206)
_TURN = np.linspace(0, 2 * np.pi, 29)[:-1]
UNIT_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


class Pen:
    """Draws polygons, given in an object's own frame, into a supersampled RGBA patch.

    Args:
        side: the patch's side P in pixels.
        centre: the object's centre (x, y) in the patch.
        length: the object's longer side in pixels.
        angle: the heading in degrees, counted from the image's x axis towards its y axis.
    """

    def __init__(
        self, *, side: int, centre: tuple[float, float], length: float, angle: float
    ) -> None:
        self.canvas = np.zeros((side * SUPERSAMPLING, side * SUPERSAMPLING, 4), np.uint8)
        turn = np.deg2rad(angle)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        self._to_patch = rotation * length * SUPERSAMPLING
        self._centre = np.array(centre) * SUPERSAMPLING

    def polygon(self, points: np.ndarray | list, colour: tuple[int, int, int]) -> None:
        """Fill the polygon `points` (N, 2) with an RGB colour."""
        corners = np.asarray(points, np.float64) @ self._to_patch + self._centre
        cv2.fillPoly(
            self.canvas,
            [np.round(corners * 16).astype(np.int32)],
            (*colour, 255),
            lineType=cv2.LINE_8,
            shift=4,
        )

    def box(
        self, x: float, y: float, half_x: float, half_y: float, colour: tuple[int, int, int]
    ) -> None:
        """Fill the box of centre (x, y)."""
        self.polygon(
            [
                (x - half_x, y - half_y),
                (x + half_x, y - half_y),
                (x + half_x, y + half_y),
                (x - half_x, y + half_y),
            ],
            colour,
        )

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        colour: tuple[int, int, int],
        *,
        flatten: float = 1.0,
    ) -> None:
        """Fill a circle, or an ellipse whose extent in y is `flatten` times its extent in x."""
        self.polygon(UNIT_CIRCLE * (radius, radius * flatten) + (x, y), colour)

    def finish(self) -> np.ndarray:
        """-> (P, P, 4) float32 in 0..1, premultiplied."""
        side = self.canvas.shape[0] // SUPERSAMPLING
        small = cv2.resize(self.canvas, (side, side), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255


def shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    """A darker (factor < 1) or lighter (factor > 1, towards white) colour."""
    if factor <= 1:
        red, green, blue = (int(channel * factor) for channel in colour)
    else:
        red, green, blue = (int(255 - (255 - channel) * (2 - factor)) for channel in colour)
    return red, green, blue


def contrast(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Dark lines on a light colour, light lines on a dark one."""
    return (40, 42, 48) if sum(colour) > 420 else (238, 238, 236)


def _airplane(pen: Pen, colour: tuple[int, int, int]) -> None:
    pen.polygon(
        [(0.14, 0), (-0.16, 0.47), (-0.26, 0.47), (-0.10, 0), (-0.26, -0.47), (-0.16, -0.47)],
        shade(colour, 0.88),
    )
    pen.polygon(
        [(-0.34, 0), (-0.44, 0.19), (-0.50, 0.19), (-0.47, 0), (-0.50, -0.19), (-0.44, -0.19)],
        shade(colour, 0.88),
    )
    pen.polygon(
        [
            (0.5, 0),
            (0.42, 0.075),
            (-0.30, 0.075),
            (-0.5, 0.02),
            (-0.5, -0.02),
            (-0.30, -0.075),
            (0.42, -0.075),
        ],
        colour,
    )
    pen.box(0.38, 0, 0.03, 0.045, shade(contrast(colour), 0.8))


def _ship(pen: Pen, colour: tuple[int, int, int]) -> None:
    hull = np.array(
        [
            (0.5, 0),
            (0.30, 0.16),
            (-0.44, 0.16),
            (-0.5, 0.10),
            (-0.5, -0.10),
            (-0.44, -0.16),
            (0.30, -0.16),
        ]
    )
    pen.polygon(hull, colour)
    pen.polygon(hull * (0.84, 0.62), shade(colour, 1.28 if sum(colour) < 420 else 0.84))
    pen.box(-0.24, 0, 0.10, 0.10, (226, 226, 222) if sum(colour) < 600 else (120, 124, 130))
    pen.box(0.10, 0, 0.05, 0.06, (96, 98, 104))


def _vehicle(pen: Pen, colour: tuple[int, int, int]) -> None:
    pen.polygon(
        [
            (0.5, 0.14),
            (0.44, 0.23),
            (-0.46, 0.24),
            (-0.5, 0.2),
            (-0.5, -0.2),
            (-0.46, -0.24),
            (0.44, -0.23),
            (0.5, -0.14),
        ],
        colour,
    )
    glass = (24, 30, 40) if sum(colour) > 200 else (132, 150, 164)
    pen.polygon([(0.26, 0.19), (0.13, 0.17), (0.13, -0.17), (0.26, -0.19)], glass)
    pen.polygon([(-0.28, 0.16), (-0.38, 0.18), (-0.38, -0.18), (-0.28, -0.16)], glass)


def _storage_tank(pen: Pen, colour: tuple[int, int, int]) -> None:
    pen.disc(0, 0, 0.5, shade(colour, 0.62) if sum(colour) > 200 else (72, 72, 78))
    pen.disc(0.02, 0.02, 0.43, colour)
    pen.polygon(
        np.concatenate([UNIT_CIRCLE[:9] * 0.43 + 0.02, [(0.02, 0.02)]]),
        shade(colour, 1.2 if sum(colour) < 600 else 0.9),
    )
    pen.disc(0.02, 0.02, 0.08, shade(contrast(colour), 0.7))


def _tennis_court(pen: Pen, colour: tuple[int, int, int]) -> None:
    line = contrast(colour)
    pen.box(0, 0, 0.5, 0.26, shade(colour, 0.72) if sum(colour) > 200 else (58, 58, 64))
    pen.box(0, 0, 0.42, 0.19, line)
    pen.box(0, 0, 0.39, 0.16, colour)
    pen.box(0, 0, 0.018, 0.24, line)
    for side in (-1, 1):
        pen.box(side * 0.21, 0, 0.014, 0.16, line)
    pen.box(0, 0, 0.21, 0.014, line)


def _building(pen: Pen, colour: tuple[int, int, int]) -> None:
    pen.polygon(
        [(-0.5, -0.36), (0.5, -0.36), (0.5, 0.08), (0.06, 0.08), (0.06, 0.36), (-0.5, 0.36)],
        shade(colour, 0.66) if sum(colour) > 200 else (20, 20, 24),
    )
    pen.polygon([(-0.46, -0.32), (0.46, -0.32), (0.46, -0.14), (-0.28, -0.14)], shade(colour, 1.12))
    pen.polygon(
        [(-0.28, -0.14), (0.46, -0.14), (0.46, 0.04), (-0.10, 0.04)],
        shade(colour, 0.8) if sum(colour) > 200 else (66, 66, 72),
    )
    pen.polygon([(-0.46, -0.32), (-0.24, -0.12), (-0.24, 0.32), (-0.46, 0.32)], colour)
    pen.polygon([(-0.24, -0.12), (0.02, 0.06), (0.02, 0.32), (-0.24, 0.32)], shade(colour, 0.84))
    pen.box(0.26, -0.22, 0.05, 0.04, (150, 152, 156))


def _baseball_field(pen: Pen, colour: tuple[int, int, int]) -> None:
    # Home plate at (-0.5, 0); the fences run at 45 degrees and the outfield is an arc.
    arc = np.linspace(-np.pi / 4, np.pi / 4, 13)
    fan = np.stack([np.cos(arc), np.sin(arc)], axis=1)
    home = (-0.46, 0)
    pen.polygon(np.concatenate([[home], fan * (0.96, 0.71 / 0.707 * 0.96 * 0.74) + home]), CLAY)
    pen.polygon(np.concatenate([[(-0.42, 0)], fan * (0.88, 0.62) + home]), (84, 150, 66))
    pen.polygon(np.concatenate([[home], fan * (0.50, 0.40) + home]), shade(CLAY, 1.1))
    pen.polygon([(-0.38, 0), (-0.22, 0.14), (-0.06, 0), (-0.22, -0.14)], (84, 150, 66))
    pen.disc(-0.22, 0, 0.035, (232, 226, 214))


def _windmill(pen: Pen, colour: tuple[int, int, int]) -> None:
    for turn in np.deg2rad([0, 120, 240]):
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]])
        pen.polygon(
            [
                along * 0.02 + across * 0.055,
                along * 0.16 + across * 0.085,
                along * 0.5 + across * 0.03,
                along * 0.5 - across * 0.03,
                along * 0.02 - across * 0.055,
            ],
            colour,
        )
    pen.disc(0, 0, 0.10, shade(colour, 0.72) if sum(colour) > 200 else (86, 86, 92))
    pen.disc(0, 0, 0.05, contrast(colour))


def _swimming_pool(pen: Pen, colour: tuple[int, int, int]) -> None:
    for grow, paint in ((0.0, (222, 214, 198)), (-0.055, WATER)):
        pen.disc(-0.22, 0.02, 0.28 + grow, paint)
        pen.disc(0.25, 0, 0.25 + grow, paint)
        pen.box(0.02, 0.04, 0.26, 0.20 + grow, paint)
    pen.disc(-0.22, 0.02, 0.12, shade(WATER, 1.25))
    pen.box(0.18, -0.05, 0.16, 0.018, shade(WATER, 1.3))


def _roundabout(pen: Pen, colour: tuple[int, int, int]) -> None:
    for half_x, half_y in ((0.5, 0.11), (0.11, 0.5)):
        pen.box(0, 0, half_x, half_y, ASPHALT)
    pen.disc(0, 0, 0.38, ASPHALT)
    pen.disc(0, 0, 0.215, (214, 212, 204))
    pen.disc(0, 0, 0.175, GRASS)
    for half_x, half_y in ((0.03, 0.016), (0.016, 0.03)):
        for side in (-1, 1):
            x, y = (side * 0.45, 0) if half_x > half_y else (0, side * 0.45)
            pen.box(x, y, half_x, half_y, (226, 224, 216))


def _helipad(pen: Pen, colour: tuple[int, int, int]) -> None:
    mark = contrast(colour)
    corner = 0.5 / (1 + np.sqrt(2))
    pen.polygon(
        [
            (0.5, corner),
            (corner, 0.5),
            (-corner, 0.5),
            (-0.5, corner),
            (-0.5, -corner),
            (-corner, -0.5),
            (corner, -0.5),
            (0.5, -corner),
        ],
        colour,
    )
    pen.disc(0, 0, 0.41, mark)
    pen.disc(0, 0, 0.34, colour)
    for side in (-1, 1):
        pen.box(0, side * 0.13, 0.20, 0.045, mark)
    pen.box(0, 0, 0.04, 0.13, mark)


def _stadium(pen: Pen, colour: tuple[int, int, int]) -> None:
    pen.disc(0, 0, 0.5, shade(colour, 0.7) if sum(colour) > 200 else (20, 20, 24), flatten=0.74)
    pen.disc(0, 0, 0.47, colour, flatten=0.72)
    for turn in _TURN[::4]:
        spoke = np.array([np.cos(turn), np.sin(turn) * 0.74])
        across = np.array([-spoke[1], spoke[0]]) * 0.03
        pen.polygon(
            [
                spoke * 0.28 + across,
                spoke * 0.48 + across,
                spoke * 0.48 - across,
                spoke * 0.28 - across,
            ],
            shade(contrast(colour), 0.75),
        )
    pen.disc(0, 0, 0.32, (206, 206, 200), flatten=0.62)
    pen.disc(0, 0, 0.29, GRASS, flatten=0.58)
    pen.box(0, 0, 0.014, 0.15, (226, 232, 220))


_DRAW: dict[str, Callable[[Pen, tuple[int, int, int]], None]] = {
    'airplane': _airplane,
    'baseball field': _baseball_field,
    'building': _building,
    'helipad': _helipad,
    'roundabout': _roundabout,
    'ship': _ship,
    'stadium': _stadium,
    'storage tank': _storage_tank,
    'swimming pool': _swimming_pool,
    'tennis court': _tennis_court,
    'vehicle': _vehicle,
    'windmill': _windmill,
}


def draw(
    category: str,
    *,
    colour: tuple[int, int, int],
    length: float,
    angle: float,
    centre: tuple[float, float],
) -> tuple[np.ndarray, tuple[int, int]]:
    """Draw one object.

    Returns:
        patch (P, P, 4) float32, premultiplied RGBA in 0..1, and the pixel (x, y) of the image
        where the patch's first pixel lies; it may lie outside the image.
    """
    side = int(np.ceil(length * 1.08)) + 4
    left, top = (int(np.floor(value - side / 2)) for value in centre)
    pen = Pen(side=side, centre=(centre[0] - left, centre[1] - top), length=length, angle=angle)
    _DRAW[category](pen, colour)
    return pen.finish(), (left, top)
