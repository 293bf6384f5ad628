"""Masks: COCO run lengths and mask files to (H, W) bool."""
from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from rsrefseg2.errors import UserError

from .images import reason


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
    if isinstance(counts, str):
        counts = counts.encode('ascii', errors='replace')
    elif isinstance(counts, list):
        if sum(counts) != size[0] * size[1] or min(counts) < 0:  # COCO's C code does not check
            raise UserError(f'{where}: the run lengths sum to {sum(counts)}, the mask has '
                            f'{size[0]} x {size[1]} pixels')
        counts = coco_mask.frPyObjects({'size': size, 'counts': counts}, *size)['counts']
    return {'size': list(size), 'counts': counts}


def decode_rle(rle: dict, where: str) -> np.ndarray:
    """(H, W) bool; run lengths are column by column, as COCO counts them."""
    try:
        return coco_mask.decode(rle).astype(bool)
    except ValueError as error:
        raise UserError(f'{where}: the run lengths do not fill a mask of {rle["size"][0]} x '
                        f'{rle["size"][1]}: the annotation is damaged') from error


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
    found = np.unique(values)
    if not (set(found.tolist()) <= {0, 1} or set(found.tolist()) <= {0, 255}):
        shown = ', '.join(map(str, found[:4])) + (', ...' if len(found) > 4 else '')
        raise UserError(f'{path!r}: the mask holds the values {shown}, expected 0 and 1, or 0 and '
                        '255: save it without compression loss or smoothing')
    return values > 0


def check_mask_size(mask: np.ndarray, image_size: tuple[int, int], *, mask_where: str,
                    img_path: str) -> np.ndarray:
    """The mask (H, W), if it has the image's size. The one place where the two sizes meet."""
    if mask.shape != tuple(image_size):
        raise UserError(f'{mask_where}: the mask is {mask.shape[0]} x {mask.shape[1]} (height x '
                        f'width), its image {img_path!r} is {image_size[0]} x {image_size[1]}: '
                        'one of the two files is another version')
    return mask
