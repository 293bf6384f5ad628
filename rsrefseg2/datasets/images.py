"""Reading an image to 8-bit RGB; anything that needs a decision of the user is an error."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Hashable

import numpy as np
import torch
from PIL import Image

from ..errors import UserError
from .display import percentile_range, to_uint8
from .pictures import memory_errors_reported, open_picture, too_deep

# How each of Pillow's modes becomes RGB. Alpha is dropped (never blended: what lies under it is
# the measured image), grey is repeated, a palette is looked up.
_TO_RGB = {
    'RGB': 'RGB',
    'RGBA': 'RGB',
    'RGBX': 'RGB',
    'L': 'RGB',
    'LA': 'L',
    'P': 'RGB',
    'PA': 'RGBA',
    '1': 'L',
}


def read_image(path: str | os.PathLike, *, upright: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 RGB of the file.

    A picture whose EXIF orientation says that viewers turn it is refused, as masks of data sets
    may be stored against either form (`open_picture`); with `upright` it is turned.

    Pillow rather than OpenCV: it names the mode it found, and it refuses a truncated file, of which
    OpenCV 4 returns the readable part without a word. It costs 0.6 ms more per 512 x 512 JPEG.

    Raises:
        UserError: see `open_picture`; more than 8 bits a channel; a mode such as CMYK.
    """
    image, shown = open_picture(path, upright=upright), repr(os.fsdecode(path))
    if image.mode[0] in 'IF':
        raise too_deep(f'{shown}: the image', f'mode {image.mode}')
    return rgb_of(image, shown)


def rgb_of(image: Image.Image, shown: str) -> np.ndarray:
    """(H, W, 3) uint8 of an 8-bit picture in memory.

    Args:
        shown: what errors call it.
    Raises:
        UserError: a mode such as CMYK; the memory does not suffice.
    """
    if image.mode not in _TO_RGB:
        raise UserError(
            f'{shown}: images of mode {image.mode} are not read: convert it to 8-bit RGB or '
            'grey, e.g. magick IN -colorspace sRGB OUT.png'
        )
    with memory_errors_reported(f'{shown}: the image'):
        if image.mode != 'RGB':
            image = image.convert(_TO_RGB[image.mode]).convert('RGB')
        return np.array(image)


def rgb_of_array(values: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of integers -> (H, W, 3) uint8.

    8 bits stay as they are; more are brought there by their channel's percentiles 2 and 98. Alpha
    is dropped.

    Raises:
        UserError: another shape or type.
    """
    shape = values.shape
    channels = 1 if values.ndim == 2 else shape[2] if values.ndim == 3 else 0
    if not np.issubdtype(values.dtype, np.integer) or not values.size or channels not in (1, 3, 4):
        raise UserError(
            'an image array must be (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, of uint8 or '
            f'deeper integers, got {shape} {values.dtype}: convert it first'
        )
    values = values.reshape(*shape[:2], channels)[..., :3]
    if values.dtype != np.uint8:
        values = np.stack(
            [to_uint8(band, *percentile_range(band)) for band in np.moveaxis(values, -1, 0)],
            axis=-1,
        )
    return np.broadcast_to(values, (*shape[:2], 3))


class ImageCache:
    """The images of one batch: one reading per key, one tensor per array.

    The tensor is keyed by the array and not by the path, so a transform that changes a sample's
    image gives this sample a tensor of its own, unless it makes it here (`changed`).

    Args:
        seed: (seed of the run, epoch) of a batch that was drawn.
    """

    def __init__(self, seed: tuple[int, ...] | None = None) -> None:
        self._seed = seed
        self._changed: dict[tuple[int, Hashable], tuple[np.ndarray, np.ndarray]] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._tensors: dict[int, tuple[np.ndarray, torch.Tensor]] = {}

    def read(self, path: str, key: str | None = None) -> np.ndarray:
        """(H, W, 3) uint8, shared: read-only. Files of one `key` (default: the path) are equal."""
        key = path if key is None else key
        if key not in self._arrays:
            image = read_image(path)
            image.flags.writeable = False  # a transform in place would alter other samples
            self._arrays[key] = image
        return self._arrays[key]

    def generator(self, key: str) -> np.random.Generator:
        """Random numbers that belong to an image: the same for all its samples of an epoch.

        A function of the batch's seed and the image's file name; where the batch was not drawn, of
        NumPy's state when the batch first asks.
        """
        if self._seed is None:
            self._seed = (int(np.random.randint(2**31)),)
        name = os.path.basename(key).encode('utf-8', 'surrogateescape')
        return np.random.default_rng((*self._seed, zlib.crc32(name)))

    def changed(
        self, image: np.ndarray, name: Hashable, change: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """`change(image)`, shared and so read-only: made once for each `name` of the change."""
        key = id(image), name
        if key not in self._changed:
            made = np.ascontiguousarray(change(image))
            made.flags.writeable = False
            self._changed[key] = image, made  # holding the array keeps its id its own
        return self._changed[key][1]

    def tensor(self, image: np.ndarray) -> torch.Tensor:
        """(3, H, W) uint8, the same object for the same array."""
        if id(image) not in self._tensors:
            tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())  # (H, W, 3) -> (3, H, W)
            self._tensors[id(image)] = image, tensor  # holding the array keeps its id its own
        return self._tensors[id(image)][1]
