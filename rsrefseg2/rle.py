"""COCO run lengths: the one place that reads them, for data sets, dumps and COCO files alike.

A mask's pixels are counted column by column, in runs of 0, 1, 0 ... The compressed form writes each
run (from the fourth on, its difference to the run two before) in groups of 5 bits, lowest first, a
character (48 + 6 bits) a group; bit 5 says that the number goes on, bit 4 of the last one is its
sign. COCO's C code trusts all of it: what ends early gives memory as it was found. So everything is
checked here first: alphabet, sizes, the sum of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .errors import UserError

MOST_PIXELS = 2**29  # 23,000 x 23,000; a damaged size must not ask for more memory than there is
_MOST_GROUPS = 7  # of one number: 35 bits


def encode(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> `{'size': [H, W], 'counts': str}`, which JSON can hold."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')}


def decode(rle: Any, *, location: str) -> np.ndarray:
    """(H, W) bool of an RLE (see `runs_of`).

    Raises:
        UserError: see `runs_of`.
    """
    (height, width), runs = runs_of(rle, location=location)
    ones = np.arange(len(runs)) % 2 == 1
    # (W, H), column by column -> (H, W)
    return np.repeat(ones, runs).reshape(width, height).T


def checked(rle: Any, *, location: str) -> dict[str, Any]:
    """The RLE as COCO's C code may have it: `{'size': [H, W], 'counts': bytes}`, compressed.

    Raises:
        UserError: see `runs_of`.
    """
    (height, width), runs = runs_of(rle, location=location)
    counts = rle['counts']
    if isinstance(counts, str):
        counts = counts.encode('ascii')
    elif not isinstance(counts, bytes):
        counts = coco_mask.frPyObjects(
            {'size': [height, width], 'counts': runs.tolist()}, height, width
        )['counts']
    return {'size': [height, width], 'counts': counts}


def runs_of(rle: Any, *, location: str) -> tuple[tuple[int, int], np.ndarray]:
    """((H, W), (R,) int64 run lengths) of `{'size': [H, W], 'counts': text, bytes or a list}`.

    Raises:
        UserError: it is no RLE, the size is none, or the runs do not fill it.
    """
    if not isinstance(rle, dict) or not {'size', 'counts'} <= rle.keys():
        raise UserError(
            f'{location}: no run-length mask but {_kind(rle)}: expected '
            '{"size": [H, W], "counts": "..."}'
        )
    height, width = size_of(rle['size'], location=location)
    counts = rle['counts']
    if isinstance(counts, (str, bytes)):
        runs = _uncompressed(counts, location)
    elif isinstance(counts, (list, tuple)):
        if any(type(n) is not int or not 0 <= n <= MOST_PIXELS for n in counts):
            raise UserError(
                f'{location}: a run length of the mask is no whole number from 0 to '
                f'{MOST_PIXELS}: correct the record'
            )
        runs = np.asarray(counts, dtype=np.int64)
    else:
        raise UserError(
            f"{location}: the mask's counts are {_kind(counts)}, expected text or a list "
            'of run lengths'
        )
    total = int(runs.sum())
    if total != height * width:
        raise UserError(
            f'{location}: the run lengths sum to {total}, a mask of {height} x {width} '
            f'(height x width) has {height * width} pixels: the record is damaged'
        )
    return (height, width), runs


def size_of(size: Any, *, location: str) -> tuple[int, int]:
    """(H, W) of a mask or image, each a positive int.

    Raises:
        UserError: it is not, or has more than `MOST_PIXELS` pixels.
    """
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or any(type(n) is not int or n < 1 for n in size)
    ):
        raise UserError(
            f'{location}: the size of the mask is {_shown(size)}, expected [height, '
            'width], two positive whole numbers'
        )
    if size[0] * size[1] > MOST_PIXELS:
        raise UserError(
            f'{location}: the size of the mask is {_shown(size[0])} x {_shown(size[1])}, '
            f'more than {MOST_PIXELS} pixels: the record is damaged'
        )
    return size[0], size[1]


def _uncompressed(counts: str | bytes, location: str) -> np.ndarray:
    """(R,) int64 run lengths of the compressed text."""
    fault = UserError(
        f'{location}: the run lengths of the mask are cut off or damaged: fetch or make '
        'the record again'
    )
    try:
        codes = (
            np.frombuffer(
                counts.encode('ascii') if isinstance(counts, str) else counts, np.uint8
            ).astype(np.int64)
            - 48
        )
    except UnicodeEncodeError:
        raise fault from None
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise fault
    last = np.flatnonzero(codes & 32 == 0)  # of each number, its last group
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() >= _MOST_GROUPS:
        raise fault
    shift = 5 * (np.arange(len(codes)) - np.repeat(first, last - first + 1))
    numbers = np.add.reduceat((codes & 31) << shift, first)
    negative = codes[last] & 16 != 0
    numbers[negative] -= 1 << (5 * (last - first + 1)[negative])
    # From the fourth on a number is the difference to the run two before.
    for begin in (1, 2):
        numbers[begin::2] = np.cumsum(numbers[begin::2])
    if numbers.min() < 0 or numbers.max() > MOST_PIXELS:
        raise fault
    return numbers


def from_polygons(polygons: Any, size: Sequence[int], *, location: str) -> dict[str, Any]:
    """The RLE of COCO polygons, each a flat list x, y, x, y ... of at least 3 points, in an image
    of `size` (H, W); their union.

    Raises:
        UserError: no such list; a coordinate is not finite, or lies farther from the image than
            the image is long.
    """
    height, width = size_of(list(size), location=location)
    if not isinstance(polygons, (list, tuple)) or not polygons:
        raise UserError(
            f'{location}: the segmentation is {_kind(polygons)}, expected a list of polygons'
        )
    for number, polygon in enumerate(polygons, 1):
        if not isinstance(polygon, (list, tuple)) or len(polygon) < 6 or len(polygon) % 2:
            raise UserError(
                f'{location}: polygon {number} is no flat list x, y, x, y ... of at least '
                '3 points: correct the annotation'
            )
        require_within(polygon, (height, width), location=location, what=f'polygon {number}')
    return coco_mask.merge(
        coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
    )


def union(rles: Sequence[Any], *, location: str) -> dict[str, Any]:
    """The RLE of the pixels of all `rles`, which are of one size.

    Raises:
        UserError: there is none; see `runs_of`; two are of different sizes.
    """
    found = [checked(rle, location=location) for rle in rles]
    if not found:
        raise UserError(f'{location}: the list of masks is empty: correct the record')
    sizes = list(dict.fromkeys(tuple(rle['size']) for rle in found))
    if len(sizes) > 1:
        (height, width), (other_height, other_width), *_ = sizes
        raise UserError(
            f'{location}: its masks are {height} x {width} and {other_height} x {other_width} '
            '(height x width): correct the record'
        )
    return coco_mask.merge(found)


def require_within(
    coordinates: Sequence[Any], size: Sequence[int], *, location: str, what: str
) -> None:
    """x, y, x, y ... are numbers, finite, and at most one image's length outside the image of
    `size` (H, W): COCO's C code takes memory by the coordinates, 24 GB for one NaN.

    Raises:
        UserError: the first that is not.
    """
    for i, value in enumerate(coordinates):
        length = size[1 - i % 2]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(
                f'{location}: {what} holds {_shown(value)}, expected numbers: correct the annotation'
            )
        if (
            not (math.isfinite(value) if isinstance(value, float) else True)
            or not -length <= value <= 2 * length
        ):
            shown = f'{value:.6g}' if isinstance(value, float) else _shown(value, 20)
            raise UserError(
                f'{location}: {what} has the coordinate {"xy"[i % 2]} = {shown}, far '
                f'outside the image of {size[0]} x {size[1]} (height x width): correct '
                'the annotation'
            )


def _shown(value: Any, length: int = 80) -> str:
    try:
        return repr(value)[:length]
    except ValueError:  # Python writes no whole number of over 4,300 digits
        return 'a number of thousands of digits'


def _kind(value: Any) -> str:
    if value is None:
        return 'null'
    if isinstance(value, (list, tuple)):
        return f'a list of {len(value)}'
    return {'str': 'text', 'dict': 'a dict', 'bool': 'true or false'}.get(
        type(value).__name__, f'a value of type {type(value).__name__}'
    )
