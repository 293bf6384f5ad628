"""The pictures beside an answer: the mask, the dense prompt (where) and the closest look (how)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...rasters import Window, probability
from ...visualization.panel import DARK, LIGHT, ORANGE, heat, overlay, resize_image, resize_mask
from ..sources import Source
from ..viewer import Answer, around

LEAST, MOST = 480, 960  # pixels of a drawing's longer side
AROUND = 3.0  # sides of the found part that the closest look keeps where nobody looked closer
FAINT = 0.1  # largest probability of a dense prompt whose colours are stretched


class Drawing(NamedTuple):
    """A picture of an answer."""

    title: str
    note: str
    image: np.ndarray  # (h, w, 3) uint8


def draw_picture(source: Source, window: Window) -> Drawing:
    """The window as the model sees it."""
    image, _ = _shown(source, window)
    return Drawing('Picture', '', image)


def draw_answer(source: Source, window: Window, answer: Answer) -> list[Drawing]:
    """Two or three drawings: the mask on the view, the dense prompt (where the model made one), and
    the closest look with the mask (where something was found, or a closer look was taken)."""
    image, valid = _shown(source, window)
    mask = answer.surface.mask_on(window, valid.shape) & valid
    drawn = overlay(image, mask, ORANGE)
    for look in answer.looks[1:]:
        _frame(drawn, window, look)
    drawings = [
        Drawing(
            'Answer',
            'the mask on the whole view' + ', and the closer looks' * (len(answer.looks) > 1),
            drawn,
        )
    ]
    if answer.dense_prompt is not None:
        drawings.append(_where(image, answer.dense_prompt))
    close = _closest(window, answer, mask)
    if close is not None:
        image, valid = _shown(source, close)
        mask = answer.surface.mask_on(close, valid.shape) & valid
        drawings.append(
            Drawing(
                'How',
                f'the outline, in {close.width:,} × {close.height:,} pixels of the picture',
                overlay(image, mask, ORANGE),
            )
        )
    return drawings


def _where(image: np.ndarray, dense: np.ndarray) -> Drawing:
    values = probability(dense)
    most = float(values.max())
    note = f'how well each place fits: {values.min():.2f} to {most:.2f}'
    if most < FAINT:
        note = f'how well each place fits, at most {most:.2g}: colours stretched'
        values = values / max(most, np.finfo(values.dtype).tiny)
    return Drawing('Where', note, heat(image, values))


def _shown(source: Source, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The window at a drawing's size: (h, w, 3) uint8, and (h, w) bool where it is valid."""
    view = source.view(window, most_side=MOST, must_see=False)
    longer = max(window.width, window.height)
    scale = min(max(longer, LEAST), MOST) / longer
    size = max(1, round(window.width * scale)), max(1, round(window.height * scale))
    return resize_image(view.image, size), resize_mask(view.valid, size)


def _closest(window: Window, answer: Answer, mask: np.ndarray) -> Window | None:
    """The last look; where there was but one, what lies around the largest part of the mask."""
    if len(answer.looks) > 1:
        return answer.looks[-1]
    _, _, boxes, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(boxes) < 2:  # the background is a part, too
        return None
    part = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())
    left, top, wide, high = boxes[part][:4]
    across, down = window.width / mask.shape[1], window.height / mask.shape[0]
    return around(
        window.column + (left + wide / 2) * across,
        window.row + (top + high / 2) * down,
        max(1.0, AROUND * max(wide * across, high * down)),
        window,
    )


def _frame(image: np.ndarray, window: Window, look: Window) -> None:
    """Draws where a look lay, light on dark."""
    height, width = image.shape[:2]
    across, down = width / window.width, height / window.height
    left, top = (look.column - window.column) * across, (look.row - window.row) * down
    corners = (
        (round(left), round(top)),
        (round(left + look.width * across) - 1, round(top + look.height * down) - 1),
    )
    for colour, thickness in ((DARK, 5), (LIGHT, 2)):
        cv2.rectangle(image, *corners, colour, thickness)
