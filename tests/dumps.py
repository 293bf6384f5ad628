"""Dumps of made-up models for the tests: the lines that tools/test.py --dump would write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

SIDE = 64
SENTENCES = (
    'the ship on the upper left',
    'a storage tank',
    'the dam next to the bridge',
    'the vehicle that is parked on the left of the large building in the middle, by day',
)
CATEGORIES = ('ship', 'storagetank', 'dam', 'vehicle')


def rle(mask: np.ndarray) -> dict:
    """COCO RLE as JSON holds it."""
    coded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': list(mask.shape), 'counts': coded['counts'].decode()}


def target(number: int) -> np.ndarray:
    """(SIDE, SIDE) bool: 20 columns of 30 pixels each."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10 + number % 8 : 40 + number % 8, 5:25] = True
    return mask


def shifted(share: float) -> Callable[[int], np.ndarray]:
    """A model whose mask of sample i moves by i * share columns."""
    return lambda number: np.roll(target(number), round(number * share), axis=1)


def write_dump(
    folder: Path,
    name: str,
    predict: Callable[[int], np.ndarray],
    *,
    n: int = 24,
    keys: tuple[str, ...] = (),
    **changed: Callable[[int], object],
) -> Path:
    """<folder>/<name>.jsonl of n samples, and their images beside it.

    Args:
        keys: of a line; none given: all that a test writes.
        changed: key -> its value for a sample's number.
    """
    images = folder / 'images'
    images.mkdir(exist_ok=True)
    lines = []
    for i in range(n):
        gt, file = target(i), images / f'{i}.png'
        picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
        picture[gt] = (220, 180, 40)
        Image.fromarray(picture).save(file)
        record = dict(
            id=str(1000 + i),
            file=str(file),
            sentence=SENTENCES[i % 4],
            category=CATEGORIES[i % 4],
            prediction=rle(predict(i)),
            ground_truth=rle(gt),
            coarse_localisation=(i % 5) / 4,
        )
        record.update({key: value(i) for key, value in changed.items()})
        lines.append(
            json.dumps({key: value for key, value in record.items() if not keys or key in keys})
        )
    path = folder / f'{name}.jsonl'
    path.write_text('\n'.join(lines) + '\n')
    return path
