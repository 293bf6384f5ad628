"""What can be looked at: a picture in memory or a raster on the disk, read by window."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from ..datasets.pictures import is_turned
from ..errors import UserError
from ..files import open_regular
from ..rasters import Raster, Stretch, View, Window, is_raster
from .predictor import as_rgb

Picture = str | os.PathLike | np.ndarray | Image.Image


class Source:
    """A picture or a raster, opened; a context manager.

    Attributes:
        shape: (H, W) in its own pixels.
        raster: the opened raster; None: a picture, which is in memory.
        name: what errors call it.
        files: what it lies in: a picture's file, a raster's with all that belong to it; [] of an
            array.
    """

    def __init__(self, opened: np.ndarray | Raster, files: Sequence[str] = ()) -> None:
        self.raster = opened if isinstance(opened, Raster) else None
        self._image = None if isinstance(opened, Raster) else opened
        self.shape: tuple[int, int] = (opened.shape[0], opened.shape[1])
        self.files = list(files)
        self.name = 'the picture' if self.raster is None else self.raster.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the raster's file."""
        if self.raster is not None:
            self.raster.close()

    @property
    def whole(self) -> Window:
        """The window of all pixels."""
        return Window(0, 0, self.shape[1], self.shape[0])

    def view(self, window: Window, *, most_side: int, must_see: bool = True) -> View:
        """A window as 8-bit RGB. Of a raster its longer side has at most `most_side` pixels.

        Raises:
            UserError: it cannot be read; no pixel of it is valid, with `must_see`.
        """
        if self.raster is not None:
            return self.raster.view(window, most_side=most_side, must_see=must_see)
        assert self._image is not None
        column, row, width, height = window
        part = self._image[row : row + height, column : column + width]
        return View(part, np.ones(part.shape[:2], bool), window)


def open_source(
    picture: Picture,
    *,
    bands: Sequence[int] | None = None,
    stretch: Stretch | None = None,
    on_map: bool = False,
) -> Source:
    """A file, an array or Pillow's picture (`as_rgb`). A file is opened as a raster where it has
    coordinates or deep bands, or where one of the options is given. Without rasterio a raster is
    read as a picture, if it can be, and a line says so.

    Args:
        bands, stretch: of a raster, see `Raster`.
        on_map: its coordinates are needed.
    Raises:
        UserError: it cannot be read; an option is given of what is no file, or of a photograph that
            is to be turned.
    """
    asked = bands is not None or stretch is not None or on_map
    if not isinstance(picture, (str, os.PathLike)):
        if asked:
            raise UserError('bands, stretch, bounds and gsd are of raster files: give a path')
        return Source(as_rgb(picture))
    path = os.fspath(picture)
    installed = importlib.util.find_spec('rasterio') is not None
    if is_raster(path) and not installed and not asked:
        print(
            f'{path} is read as a picture, without coordinates: for these pip install '
            "'rsrefseg2[raster]'",
            file=sys.stderr,
        )
    if asked or (is_raster(path) and installed):
        if os.path.lexists(path) or ':' not in path:  # else a part that GDAL names so
            with open_regular(path, what='the image'):  # one line for what is no file
                pass
        ending = Path(path).suffix.lower()
        if ending in Image.registered_extensions() and not is_raster(path) and is_turned(path):
            raise UserError(
                f'{path!r}: its EXIF orientation turns it, which --bands, --stretch, --bounds and '
                '--gsd do not: save it upright (magick IN -auto-orient OUT), or leave these out'
            )
        raster = Raster(path, bands=bands, stretch=stretch)
        if asked or not raster.plain:
            return Source(raster, raster.files)
        raster.close()
    return Source(as_rgb(path), [path])
