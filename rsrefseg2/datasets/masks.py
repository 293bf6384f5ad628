"""Masks: COCO run lengths, polygons and mask files to (H, W) bool."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from rsrefseg2.errors import UserError

from .images import reason

# How far a stored mask may differ from its image and still be its mask: a share of each side, and
# at least one pixel. RRSIS-D has images of 800 x 801 and 800 x 787 (1.6 %) with masks of 800 x 800.
SIZE_TOLERANCE = 0.02
_MOST_PIXELS = 2**30  # a damaged size must not ask for more memory than there is


def as_rle(segmentation: Any, where: str) -> dict:
    """A COCO RLE dict `{'size': [H, W], 'counts': bytes}` of what annotation files hold:
    one RLE, or a list of one; counts as str, bytes, or a list of run lengths."""
    if isinstance(segmentation, (list, tuple)) and len(segmentation) == 1:
        segmentation = segmentation[0]
    if not isinstance(segmentation, dict) or not {'size', 'counts'} <= segmentation.keys():
        kind = type(segmentation).__name__
        if isinstance(segmentation, (list, tuple)):
            kind = f'list of {len(segmentation)}'
        raise UserError(f'{where}: the segmentation is no run-length mask with size and counts '
                        f'(found: {kind})')
    size, counts = segmentation['size'], segmentation['counts']
    if (not isinstance(size, (list, tuple)) or len(size) != 2
            or any(not isinstance(n, int) or n < 1 for n in size)):
        raise UserError(f'{where}: the mask has size {size}, expected two positive integers')
    if size[0] * size[1] > _MOST_PIXELS:
        raise UserError(f'{where}: the mask has size {size}: the annotation is damaged')
    if isinstance(counts, str):
        counts = counts.encode('ascii', errors='replace')
    elif isinstance(counts, list):
        counts = _compressed(counts, size, where)
    elif not isinstance(counts, bytes):
        raise UserError(f'{where}: the counts are {type(counts).__name__}, expected text or a list '
                        'of run lengths')
    return {'size': list(size), 'counts': counts}


def _compressed(counts: list, size: Sequence[int], where: str) -> bytes:
    """A list of run lengths, compressed. COCO's C code checks none of this."""
    if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) != size[0] * size[1]:
        total = sum(n for n in counts if isinstance(n, int))
        raise UserError(f'{where}: the run lengths sum to {total}, the mask has '
                        f'{size[0]} x {size[1]} pixels')
    return coco_mask.frPyObjects({'size': list(size), 'counts': counts}, *size)['counts']


def decode_rle(rle: dict, where: str) -> np.ndarray:
    """(H, W) bool; run lengths are column by column, as COCO counts them."""
    # A character is 48 plus 6 bits, the highest of which says that the number goes on. COCO's C
    # code would read past the end of a string whose last number does.
    codes = np.frombuffer(rle['counts'], np.uint8)
    sound = len(codes) > 0 and codes.min() >= 48 and codes.max() < 112 and codes[-1] < 80
    try:
        if not sound:
            raise ValueError('no run lengths')
        return coco_mask.decode(rle).astype(bool)
    except ValueError as error:
        raise UserError(f'{where}: the run lengths do not fill a mask of {rle["size"][0]} x '
                        f'{rle["size"][1]}: the annotation is damaged') from error


def polygons_as_rle(polygons: Any, size: tuple[int, int], where: str) -> dict:
    """The RLE of COCO polygons (each a flat list x, y, x, y, ... of at least 3 points) in an image
    of `size` (H, W); their union."""
    if (not isinstance(polygons, list) or not polygons or any(
            not isinstance(p, list) or len(p) < 6 or len(p) % 2
            or any(not isinstance(v, (int, float)) for v in p) for p in polygons)):
        raise UserError(f'{where}: the segmentation is no list of polygons of at least 3 points')
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def read_mask(path: str) -> np.ndarray:
    """(H, W) bool of a mask file with one channel, or equal ones, of values 0 and 1, or 0 and 255.

    Other values are an error: every threshold for them is a guess, and the public loaders differ
    (> 0, > 50, == 255).
    """
    try:
        with Image.open(path) as image:
            values = np.array(image)  # a palette stays its indices
    except Exception as error:
        raise UserError(f'{path!r}: the mask cannot be read ({reason(error)}): '
                        'fetch the file again') from error
    if values.ndim == 3:
        # (H, W, C) -> (H, W); the last of 2 or 4 channels is alpha
        colours = values[..., :-1] if values.shape[2] in (2, 4) else values
        if (colours != colours[..., :1]).any():
            raise UserError(f'{path!r}: the mask is coloured, expected one channel or equal ones')
        values = colours[..., 0]
    target = values > 0
    top = values.max(initial=0)
    if top not in (0, 1, 255) or values.min(initial=0) < 0 or (values[target] != top).any():
        found = np.unique(values)
        shown = ', '.join(map(str, found[:4])) + (', ...' if len(found) > 4 else '')
        raise UserError(f'{path!r}: the mask holds the values {shown}, expected 0 and 1, or 0 and '
                        '255: save it without compression loss or smoothing')
    return target


def fit_mask(mask: np.ndarray, image_size: tuple[int, int], *, mask_where: str,
             img_path: str) -> np.ndarray:
    """The mask (H, W) at its image's size. The one place where the two sizes meet.

    The mask follows the image, by nearest neighbour, where no side differs by more than
    SIZE_TOLERANCE; beyond that the two are not of one picture, and it is an error.
    """
    if mask.shape == tuple(image_size):
        return mask
    if any(abs(have - want) > max(1, SIZE_TOLERANCE * want)
           for have, want in zip(mask.shape, image_size, strict=True)):
        raise UserError(f'{mask_where}: the mask is {mask.shape[0]} x {mask.shape[1]} (height x '
                        f'width), its image {img_path!r} is {image_size[0]} x {image_size[1]}: '
                        'one of the two files is another version')
    rows, columns = (((np.arange(want) + 0.5) * have / want).astype(int)
                     for have, want in zip(mask.shape, image_size, strict=True))
    return mask[rows][:, columns]
