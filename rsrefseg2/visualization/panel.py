"""The panel of Fig. 7: sentence above image, ground truth, dense prompt and prediction.

    +--------------------------------------------------------+
    | sentence, wrapped                                      |
    | note: sample, category, IoU                            |
    | Image        Ground truth  Dense prompt  Prediction    |
    | [tile]       [tile]        [tile]        [tile]        |
    +--------------------------------------------------------+

Pure functions of arrays. Where there is no ground truth or no dense prompt, the tile says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..terminal import visible

INK, QUIET, PAPER, BLANK = (24, 28, 34), (98, 106, 117), (255, 255, 255), (241, 243, 245)
GREEN, ORANGE = (38, 222, 129), (255, 107, 53)  # ground truth, prediction
GAP, LINE, CAPTION = 12, 26, 24  # pixels: margins, a heading line, a caption line


def panel(
    image: Any,
    text: str,
    *,
    pred_mask: Any = None,
    gt_mask: Any = None,
    dense_prompt: Any = None,
    score: float | None = None,
    note: str = '',
    tile: int = 320,
    heading: bool = True,
    dense_range: Literal['probability', 'stretched'] = 'probability',
) -> np.ndarray:
    """One panel as RGB.

    Args:
        image: (H, W, 3) uint8 RGB array or tensor.
        text: the sentence; control characters are shown as escapes, here and in the note.
        pred_mask, gt_mask: (H, W) bool, or None where there is none.
        dense_prompt: (h, w) logits p_dense (Eq. 7), or None. Any size: it covers the whole image.
        score: the IoU (0 to 1) that the caption gives; None: that of the two masks.
        note: what stands below the sentence (sample, category).
        tile: pixels of a tile's longer side; smaller images are enlarged, larger ones shrunk.
        heading: whether the sentence and the note stand above the tiles.
        dense_range: colours over the sigmoid's 0 to 1, or stretched over the logits' own range
            (for a dense prompt whose sigmoid is saturated everywhere; the caption names the range).
    Returns:
        (H', W', 3) uint8.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'image must be (H, W, 3) uint8, got {image.shape} {image.dtype}')
    height, width = image.shape[:2]
    pred, gt = (
        _as_mask(mask, (height, width), name)
        for mask, name in ((pred_mask, 'pred_mask'), (gt_mask, 'gt_mask'))
    )
    scale = tile / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))  # PIL: width, height

    shown = resize_image(image, size)
    dense, dense_caption = _heat(shown, dense_prompt, dense_range)
    columns = [
        ('Image', shown),
        ('Ground truth', None if gt is None else overlay(shown, resize_mask(gt, size), GREEN)),
        (dense_caption, dense),
        (
            _prediction_caption(pred, gt, score),
            None if pred is None else overlay(shown, resize_mask(pred, size), ORANGE),
        ),
    ]
    return _compose(columns, size, tile, visible(text) if heading else None, visible(note))


def overlay(
    image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], alpha: float = 0.45
) -> np.ndarray:
    """The mask (H, W) as a tint on the image (H, W, 3), with an outline just outside of it."""
    out = image.astype(np.float32)
    out[mask] = (1 - alpha) * out[mask] + alpha * np.array(colour, np.float32)
    ring = _dilate(_dilate(mask))
    out[_dilate(ring) & ~ring] = 20  # a dark rim: the outline is seen on any ground
    out[ring & ~mask] = colour
    return out.round().astype(np.uint8)


def heat(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values (h, w), 0 to 1, as colours over the greyed image (H, W, 3); any size."""
    values = Image.fromarray(values.astype(np.float32))
    values = np.asarray(values.resize(image.shape[1::-1], Image.Resampling.BILINEAR)).clip(0, 1)
    colours = matplotlib.colormaps['turbo'](values)[..., :3] * 255
    grey = image.mean(axis=2, keepdims=True)
    alpha = 0.4 + 0.3 * values[..., None]  # the cold parts leave more of the image
    return ((1 - alpha) * grey + alpha * colours).round().astype(np.uint8)


def iou(pred: np.ndarray, gt: np.ndarray) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    union = np.count_nonzero(pred | gt)
    return np.count_nonzero(pred & gt) / union if union else 0.0


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


def _dilate(mask: np.ndarray) -> np.ndarray:
    """Grows a mask (H, W) by one pixel to each of its 8 neighbours."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def _heat(image: np.ndarray, logits: Any, dense_range: str) -> tuple[np.ndarray | None, str]:
    """The dense prompt as colours over the greyed image, and the tile's caption."""
    if logits is None:
        return None, 'Dense prompt'
    logits = np.asarray(logits, dtype=np.float32)
    if logits.ndim != 2:
        raise ValueError(f'dense_prompt must be (h, w), got {logits.shape}')
    low, high = float(logits.min()), float(logits.max())
    if dense_range == 'stretched':
        values = (logits - low) / (high - low) if high > low else np.zeros_like(logits)
        caption = f'Dense prompt, logits {low:.1f} to {high:.1f}'
    else:
        values = 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
        caption = f'Dense prompt, σ {values.min():.2f} to {values.max():.2f}'
    return heat(image, values), caption


def _prediction_caption(pred: np.ndarray | None, gt: np.ndarray | None, score: float | None) -> str:
    if pred is None:
        return 'Prediction'
    if not pred.any():
        return 'Prediction: empty'
    if gt is None:
        return f'Prediction, {100 * pred.mean():.2g} % of the image'
    return f'Prediction, IoU {100 * (iou(pred, gt) if score is None else score):.1f} %'


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = f'DejaVuSans{"-Bold" if bold else ""}.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / name), size)


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


def _compose(
    columns: list[tuple[str, np.ndarray | None]],
    size: tuple[int, int],
    tile: int,
    text: str | None,
    note: str,
) -> np.ndarray:
    """Puts heading, captions and tiles on a white sheet."""
    width = len(columns) * (tile + GAP) + GAP
    lines = [] if text is None else wrap(text, _font(19, bold=True).getlength, width - 2 * GAP)
    notes = [] if text is None or not note else wrap(note, _font(13).getlength, width - 2 * GAP)
    top = GAP + LINE * len(lines) + CAPTION * len(notes)
    height = max(size[1], CAPTION)  # room for a note, however flat the image is
    sheet = Image.new('RGB', (width, top + CAPTION + height + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((GAP, GAP - 4 + LINE * i), line, fill=INK, font=_font(19, bold=True))
    for i, line in enumerate(notes):
        draw.text((GAP, GAP + LINE * len(lines) + CAPTION * i), line, fill=QUIET, font=_font(13))
    for i, (caption, picture) in enumerate(columns):
        left = GAP + i * (tile + GAP)
        draw.text((left, top), _fit(caption, tile), fill=QUIET, font=_font(14))
        if picture is None:
            box = (left, top + CAPTION, left + tile - 1, top + CAPTION + height - 1)
            draw.rectangle(box, fill=BLANK)
            draw.text(
                ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
                'not available',
                fill=QUIET,
                font=_font(14),
                anchor='mm',
            )
        else:
            sheet.paste(Image.fromarray(picture), (left + (tile - size[0]) // 2, top + CAPTION))
    return np.asarray(sheet)


def _fit(caption: str, width: int) -> str:
    """The caption cut to its tile."""
    return wrap(caption, _font(14).getlength, width)[0]
