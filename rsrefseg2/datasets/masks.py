"""Masks: COCO run lengths, polygons and mask files to (H, W) bool."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..rle import checked, decode, from_polygons, size_of, union
from .pictures import memory_errors_reported, open_picture

# How far a stored mask may differ from its image and still be its mask: a share of each side, and
# at least one pixel. RRSIS-D has images of 800 x 801 and 800 x 787 (1.6 %) with masks of 800 x 800.
SIZE_TOLERANCE = 0.02


def as_rle(segmentation: Any, location: str) -> dict[str, Any]:
    """The RLE of what annotation files hold: one, or a list of one.

    Its kind and size are checked here; compressed run lengths where they are decoded (`rle.decode`,
    `rle.checked`), which takes too long to do it for all samples when a data set is opened.

    Raises:
        UserError: it is no RLE.
    """
    if isinstance(segmentation, (list, tuple)) and len(segmentation) == 1:
        segmentation = segmentation[0]
    counts = segmentation.get('counts') if isinstance(segmentation, dict) else None
    if not isinstance(counts, (str, bytes)) or 'size' not in segmentation:
        return checked(segmentation, location=location)
    return {'size': list(size_of(segmentation['size'], location=location)), 'counts': counts}


def union_of(segmentation: Any, size: Sequence[Any], location: str) -> dict[str, Any]:
    """The RLE of one RLE, of several, or of polygons in an image of `size` (H, W); their union.

    Raises:
        UserError: it is none of them; see `rle.union` and `rle.from_polygons`.
    """
    if isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], list):
        return from_polygons(segmentation, size, location=location)
    return union(
        segmentation if isinstance(segmentation, list) else [segmentation], location=location
    )


def read_mask(path: str | os.PathLike, *, any_value: bool = False) -> np.ndarray:
    """(H, W) bool of a mask file with one channel, or equal ones, of values 0 and 1, or 0 and 255.

    Other values are an error: every threshold for them is a guess, and the public loaders differ
    (> 0, > 50, == 255). A palette is looked up.

    Args:
        any_value: The layout says that all values but 0 are the target.

    Raises:
        UserError: see `open_picture`; other values, colours, a mask that stands in the alpha
            channel.
    """
    shown = repr(os.fsdecode(path))
    image = open_picture(path, what='the mask')
    with memory_errors_reported(f'{shown}: the mask'):
        return _target_of(image, shown, any_value)


def _target_of(image: Image.Image, shown: str, any_value: bool) -> np.ndarray:
    values = _of_palette(image, shown) if image.mode in ('P', 'PA') else np.array(image)
    if values.ndim == 3:
        # (H, W, C) -> (H, W); the last of 2 or 4 channels is alpha
        colours, alpha = values, values[:0]
        if values.shape[2] in (2, 4):
            colours, alpha = values[..., :-1], values[..., -1]
        if (colours != colours[..., :1]).any():
            raise UserError(f'{shown}: the mask is coloured, expected one channel or equal ones')
        values = colours[..., 0]
        if alpha.size and (values == values[0, 0]).all() and (alpha != alpha[0, 0]).any():
            raise UserError(
                f'{shown}: the mask stands in the alpha channel, its colours are all '
                'alike: save that channel, e.g. magick IN -alpha extract OUT.png'
            )
    if any_value:
        return values != 0
    target = values > 0
    top = values.max(initial=0)
    if top not in (0, 1, 255) or values.min(initial=0) < 0 or (values[target] != top).any():
        found = np.unique(values)
        shown_values = ', '.join(map(str, found[:4])) + (', ...' if len(found) > 4 else '')
        raise UserError(
            f'{shown}: the mask holds the values {shown_values}, expected 0 and 1, or '
            '0 and 255: save it without compression loss or smoothing'
        )
    return target


def _of_palette(image: Image.Image, shown: str) -> np.ndarray:
    """(H, W) or (H, W, C), by the palette's colours where they are black and white.

    Labelling tools colour a class: 0 is black, 1 dark red. There the numbers are the mask, as long
    as the colours agree that 0 alone is the background.
    """
    transparent = image.mode == 'PA' or 'transparency' in image.info
    values = np.array(image.convert('RGBA' if transparent else 'RGB'))
    colours = values[..., :3]
    if (colours == colours[..., :1]).all() and colours.max(initial=0) in (0, 1, 255):
        return values
    numbers = np.array(image if image.mode == 'P' else image.getchannel('P'))
    if ((numbers == 0) != (colours == 0).all(-1)).any():
        raise UserError(
            f'{shown}: the palette of the mask is not black and white, and black is '
            'not its number 0: save the mask in grey, as 0 and 255'
        )
    return numbers


def mask_of(
    record: Mapping[str, Any], image_size: Sequence[int] | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """((H, W) bool, the size (H, W) as stored) of a record with `mask_rle` or
    `mask_path`.

    Args:
        image_size: (H, W) that the mask is brought to (`fit_mask`); None: it stays as it is stored.

    Raises:
        UserError: see `rle.decode`, `read_mask` and `fit_mask`.
    """
    location = record.get('mask_location') or (
        repr(record['mask_path'])
        if 'mask_path' in record
        else f'mask of sample {record["sample_id"]!r}'
    )
    fit = dict(mask_location=location, img_path=record['img_path'])
    if 'mask_rle' in record:
        if image_size is not None:  # before a damaged size takes memory
            _require_fit(tuple(record['mask_rle']['size']), image_size, **fit)
        mask = decode(record['mask_rle'], location=location)
    else:
        mask = read_mask(record['mask_path'], any_value=record.get('any_value', False))
    return (mask if image_size is None else fit_mask(mask, image_size, **fit)), mask.shape


def fit_mask(
    mask: np.ndarray, image_size: Sequence[int], *, mask_location: str, img_path: str
) -> np.ndarray:
    """The mask (H, W) at its image's size. The one place where the two sizes meet.

    The mask follows the image, by nearest neighbour, where no side differs by more than
    SIZE_TOLERANCE; beyond that, or where height and width are swapped, the two are not of one
    picture, and it is an error.
    """
    if mask.shape == tuple(image_size):
        return mask
    _require_fit(mask.shape, image_size, mask_location=mask_location, img_path=img_path)
    rows, columns = (
        ((np.arange(want) + 0.5) * have / want).astype(int)
        for have, want in zip(mask.shape, image_size, strict=True)
    )
    return mask[rows][:, columns]


def _require_fit(
    size: Sequence[int], image_size: Sequence[int], *, mask_location: str, img_path: str
) -> None:
    turned = size[0] != size[1] and tuple(size) == tuple(image_size)[::-1]
    if turned or any(
        abs(have - want) > max(1, SIZE_TOLERANCE * want)
        for have, want in zip(size, image_size, strict=True)
    ):
        raise UserError(
            f'{mask_location}: the mask is {size[0]} x {size[1]} (height x width), its '
            f'image {img_path!r} is {image_size[0]} x {image_size[1]}: one of the two '
            + ('is transposed' if turned else 'files is another version')
        )
