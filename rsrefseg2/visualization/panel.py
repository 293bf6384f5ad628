"""The panel of Fig. 7: sentence above image, ground truth, dense prompt and prediction.

    +--------------------------------------------------------+
    | sentence, wrapped                                      |
    | note: sample, category, IoU                            |
    | Image        Ground truth  Dense prompt  Prediction    |
    | [tile]       [tile]        [tile]        [tile]        |
    +--------------------------------------------------------+

Pure functions of arrays. A part that is missing has no column. Without ground truth, as for a
picture of one's own, the others are drawn at the picture's size. Drawn by Pillow and OpenCV.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..terminal import visible

INK, QUIET, PAPER = (24, 28, 34), (98, 106, 117), (255, 255, 255)
GREEN, ORANGE = (38, 222, 129), (255, 107, 53)  # ground truth, prediction
LIGHT, DARK = (255, 255, 255), (16, 16, 16)  # an outline's line and its edge
TILE, LARGEST = 320, 1024  # pixels of a tile's longer side: beside a ground truth; at most
GAP, LINE, CAPTION = 12, 26, 24  # pixels: margins, a heading line, a caption line, at TILE


def panel(image: Any, text: str, *, note: str = '', **parts: Any) -> np.ndarray:
    """One panel as RGB.

    Args:
        image: (H, W, 3) uint8 RGB array or tensor.
        text: the sentence, or ''; control characters are shown as escapes, here and in the note.
        note: what stands below the sentence (sample, category).
        parts: the other arguments of `draw_tiles`.
    Returns:
        (H', W', 3) uint8.
    Raises:
        ValueError: see `draw_tiles`.
    """
    tiles = draw_tiles(image, **parts)
    return _compose(tiles, visible(text), visible(note))


def draw_tiles(
    image: Any,
    *,
    pred_mask: Any = None,
    gt_mask: Any = None,
    dense_prompt: Any = None,
    closer: tuple[np.ndarray, np.ndarray] | None = None,
    score: float | None = None,
    tile: int | None = None,
    dense_range: Literal['probability', 'stretched'] = 'probability',
) -> list[tuple[str, np.ndarray]]:
    """The tiles of a panel with their captions: the image, and each part that is given.

    Args:
        image: (H, W, 3) uint8 RGB array or tensor.
        pred_mask, gt_mask: (H, W) bool, or None where there is none.
        dense_prompt: (h, w) logits p_dense (Eq. 7), or None. Any size: it covers the whole image.
        closer: a part of the image at a finer resolution, (h, w, 3) uint8, and the predicted mask
            there, (h, w) bool; or None.
        score: the IoU (0 to 1) that the caption gives; None: that of the two masks.
        tile: pixels of a tile's longer side; smaller images are enlarged, larger ones shrunk.
            None: `TILE` beside a ground truth, else the image's own, `TILE` to `LARGEST`.
        dense_range: colours over the sigmoid's 0 to 1, or stretched over the logits' own range
            (for a dense prompt whose sigmoid is saturated everywhere; the caption names the range).
    Returns:
        (caption, (H', W', 3) uint8), all of one size.
    Raises:
        ValueError: an array of another type or shape.
    """
    image = _as_image(image)
    pred, gt = (
        _as_mask(mask, image.shape[:2], name)
        for mask, name in ((pred_mask, 'pred_mask'), (gt_mask, 'gt_mask'))
    )
    if tile is None:
        tile = TILE if gt is not None else min(max(TILE, *image.shape[:2]), LARGEST)
    scale = tile / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))  # W', H'
    shown = resize_image(image, size)
    tiles = [('Image', shown)]
    if gt is not None:
        tiles.append(('Ground truth', overlay(shown, resize_mask(gt, size), GREEN)))
    if dense_prompt is not None:
        tiles.append(_heat(shown, dense_prompt, dense_range))
    if pred is not None:
        picture = overlay(shown, resize_mask(pred, size), ORANGE)
        tiles.append((_prediction_caption(pred, gt, score), picture))
    if closer is not None:
        tiles.append(('Closer look', _fitted(*closer, size)))
    return tiles


def _fitted(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask on its image, as large as fits in size = (W', H'), in the middle of a blank tile."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    tile = np.full((size[1], size[0], 3), PAPER, np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    tile[top : top + height, left : left + width] = overlay(
        resize_image(image, (width, height)), resize_mask(mask, (width, height)), ORANGE
    )
    return tile


def overlay(
    image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], alpha: float = 0.45
) -> np.ndarray:
    """The mask (H, W) as a tint on the image (H, W, 3), and around it, from the mask outwards, a
    line in its colour, a light one and a dark edge: the outline shows on any ground.

    The lines are thicker on larger pictures.
    """
    out = image.astype(np.float32)
    out[mask] = (1 - alpha) * out[mask] + alpha * np.array(colour, np.float32)
    width = max(1, round(max(mask.shape) / TILE))
    inner = mask
    for line, pixels in ((colour, width), (LIGHT, width), (DARK, width)):
        outer = _dilate(inner, pixels)
        out[outer & ~inner] = line
        inner = outer
    return out.round().astype(np.uint8)


def heat(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values (h, w), 0 to 1, as colours over the greyed image (H, W, 3); any size."""
    size = image.shape[1], image.shape[0]
    resized = Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    values = np.asarray(resized).clip(0, 1)
    codes = (values * 255).round().astype(np.uint8)
    colours = cv2.applyColorMap(codes, cv2.COLORMAP_TURBO)[..., ::-1].astype(np.float32)  # BGR
    grey = image.mean(axis=2, keepdims=True)
    alpha = 0.4 + 0.3 * values[..., None]  # the cold parts leave more of the image
    return ((1 - alpha) * grey + alpha * colours).round().astype(np.uint8)


def iou(pred: np.ndarray, gt: np.ndarray) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    union = np.count_nonzero(pred | gt)
    return np.count_nonzero(pred & gt) / union if union else 0.0


def _as_image(image: Any) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'image must be (H, W, 3) uint8, got {image.shape} {image.dtype}')
    return image


def _as_mask(mask: Any, shape: tuple[int, int], name: str) -> np.ndarray | None:
    if mask is None:
        return None
    mask = np.asarray(mask).astype(bool)
    if mask.shape != shape:
        raise ValueError(f'{name} is {mask.shape}, the image is {shape}')
    return mask


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (H', W', 3) for size = (W', H')."""
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool -> (H', W') for size = (W', H'). Nearest when enlarging; when shrinking, a pixel
    is set where any below it is: small targets must not vanish from the picture."""
    if size[0] >= mask.shape[1]:
        return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    covered = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(covered) > 0


def _dilate(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grows a mask (H, W) by so many pixels to each of its 8 neighbours."""
    side = 2 * pixels + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _heat(image: np.ndarray, logits: Any, dense_range: str) -> tuple[str, np.ndarray]:
    """The tile's caption, and the dense prompt as colours over the greyed image."""
    logits = np.asarray(logits, dtype=np.float32)
    if logits.ndim != 2:
        raise ValueError(f'dense_prompt must be (h, w), got {logits.shape}')
    low, high = float(logits.min()), float(logits.max())
    if dense_range == 'stretched':
        values = (logits - low) / (high - low) if high > low else np.zeros_like(logits)
        caption = f'Dense prompt, logits {low:.1f} to {high:.1f}'
    else:
        values = 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
        caption = f'Dense prompt, {values.min():.2f} to {values.max():.2f}'
    return caption, heat(image, values)


def _prediction_caption(pred: np.ndarray, gt: np.ndarray | None, score: float | None) -> str:
    if not pred.any():
        return 'Prediction: empty'
    if gt is None:
        return f'Prediction, {100 * pred.mean():.2g} % of the image'
    return f'Prediction, IoU {100 * (iou(pred, gt) if score is None else score):.1f} %'


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib; without matplotlib Pillow's own font, which has
    Latin letters alone."""
    found = importlib.util.find_spec('matplotlib')
    if found is None or found.origin is None:
        return ImageFont.load_default(size)
    name = f'DejaVuSans{"-Bold" if bold else ""}.ttf'
    return ImageFont.truetype(str(Path(found.origin).parent / 'mpl-data/fonts/ttf' / name), size)


def wrap(text: str, length: Callable[[str], float], width: float) -> list[str]:
    """Lines of at most `width` by `length`; a word that is longer than a line is broken."""
    lines = ['']
    for word in visible(text).split():
        if lines[-1] and length(f'{lines[-1]} {word}') <= width:
            lines[-1] += f' {word}'
            continue
        if lines[-1]:
            lines.append('')
        for letter in word:
            if lines[-1] and length(lines[-1] + letter) > width:
                lines.append('')
            lines[-1] += letter
    return lines


def _compose(tiles: Sequence[tuple[str, np.ndarray]], text: str | None, note: str) -> np.ndarray:
    """Puts heading, captions and tiles, all of one size, on a white sheet."""
    tall, wide = tiles[0][1].shape[:2]
    unit = max(1, tall / TILE, wide / TILE)  # text grows with the tiles
    gap, line, caption = (round(unit * pixels) for pixels in (GAP, LINE, CAPTION))
    bold, plain, small = (_font(round(unit * pixels), bold=pixels == 19) for pixels in (19, 14, 13))
    column = max(wide, min(tall, round(unit * TILE)))  # room for a caption, however narrow
    width = len(tiles) * (column + gap) + gap
    lines = wrap(text, bold.getlength, width - 2 * gap) if text else []
    notes = wrap(note, small.getlength, width - 2 * gap) if note else []
    top = gap + line * len(lines) + caption * len(notes)
    sheet = Image.new('RGB', (width, top + caption + tall + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, words in enumerate(lines):
        draw.text((gap, gap - 4 + line * i), words, fill=INK, font=bold)
    for i, words in enumerate(notes):
        draw.text((gap, gap + line * len(lines) + caption * i), words, fill=QUIET, font=small)
    for i, (name, picture) in enumerate(tiles):
        left = gap + i * (column + gap)
        shown = wrap(name, plain.getlength, column)[0]
        draw.text((left, top), shown, fill=QUIET, font=plain)
        sheet.paste(Image.fromarray(picture), (left + (column - wide) // 2, top + caption))
    return np.asarray(sheet)
