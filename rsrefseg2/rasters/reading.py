"""Reading a raster: bands, display range and valid pixels of a window, at the size that is needed.

GDAL reads, by `rasterio` (extra `raster`). A raster is never read whole: a view is read at no more
than `most_side` pixels a side, from an overview where the file has one.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from ..datasets.display import HIGH, LOW, percentile_range, to_uint8
from ..errors import UserError
from ..extras import require_extra

ENDINGS = ('.tif', '.tiff', '.jp2', '.j2k', '.vrt', '.img', '.ntf', '.nitf')
MOST_SIDE = 2048  # of a view in memory; the towers read at most 1024
CACHE = 256 * 2**20  # bytes that GDAL keeps of what it has read; its own limit is 5 % of the memory
LARGE = 2**26  # pixels from which on a picture is read by window
OVERVIEW = 1024  # side of the overview that percentiles are taken from
_COLOURS = ('red', 'green', 'blue')
_INKS = ('cyan', 'magenta', 'yellow', 'black')


class Stretch(NamedTuple):
    """What becomes black and what white: percentiles of the valid pixels, or values."""

    low: float
    high: float
    percent: bool


PERCENTILES = Stretch(LOW, HIGH, True)


class Window(NamedTuple):
    """A rectangle of pixels."""

    column: int
    row: int
    width: int
    height: int


class View(NamedTuple):
    """A window of a raster or a picture, ready to be asked."""

    image: np.ndarray  # (h, w, 3) uint8; black where nothing is known
    valid: np.ndarray  # (h, w) bool: neither nodata, transparent nor NaN
    window: Window  # in the raster's pixels


def check_inside(window: Window, shape: tuple[int, int], path: str) -> None:
    """Nothing.

    Args:
        shape: (H, W) of the picture.
    Raises:
        UserError: the window is empty or not within the picture.
    """
    column, row, width, height = window
    inside = column + width <= shape[1] and row + height <= shape[0]
    if min(column, row) < 0 or min(width, height) < 1 or not inside:
        raise UserError(
            f'{path!r} has {shape[1]} columns and {shape[0]} rows: the window '
            f'{column} {row} {width} {height} (column, row, width, height) is not inside'
        )


def is_raster(path: str | os.PathLike) -> bool:
    """Whether the file's ending is one of those that carry coordinates or deep bands, or a world
    file lies beside it."""
    place = Path(path)
    ending = place.suffix.lower()
    if ending in ENDINGS:
        return True
    worlds = (f'.{ending[1:2]}{ending[-1:]}w', f'{ending}w', '.wld') if len(ending) > 2 else ()
    return any(place.with_suffix(world).is_file() for world in worlds)


def parse_stretch(text: str) -> Stretch:
    """'2%,98%' (percentiles) or '0,3000' (values).

    Raises:
        ValueError: it is neither.
    """
    match = re.fullmatch(r'\s*([-+.\deE]+)(%?)\s*,\s*([-+.\deE]+)(%?)\s*', text)
    if match is None or match[2] != match[4]:
        raise ValueError(f'{text!r} is neither percentiles (2%,98%) nor values (0,3000)')
    low, high, percent = float(match[1]), float(match[3]), bool(match[2])
    if not low < high or (percent and not (0 <= low and high <= 100)):
        raise ValueError(f'{text!r}: the first must be below the second, percentiles in 0 to 100')
    return Stretch(low, high, percent)


class Raster:
    """A raster that GDAL reads, opened; a context manager.

    Args:
        path: the file.
        bands: numbers from 1 of one band (grey) or three (red, green, blue); None: by their colour
            interpretation, else the first three, or the only one.
        stretch: the display range of what is not 8-bit; None: percentiles 2 and 98. An 8-bit band
            is taken as it is unless a range is given.
    Raises:
        UserError: `rasterio` is missing; the file cannot be read as a raster; it has no such band.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        bands: Sequence[int] | None = None,
        stretch: Stretch | None = None,
    ) -> None:
        self._rasterio: Any = require_extra('raster', f'reading {os.fspath(path)!r} as a raster')
        self.path = os.fspath(path)
        with self._reading(), warnings.catch_warnings():
            # said in another way: such a raster has no coordinates
            warnings.simplefilter('ignore', self._rasterio.errors.NotGeoreferencedWarning)
            with self._rasterio.Env(GDAL_CACHEMAX=CACHE):
                self._file = self._rasterio.open(self.path)
        try:
            if not self._file.count:
                raise UserError(
                    f'{self.path!r} holds no bands itself; name one of its parts: '
                    f'{", ".join(self._file.subdatasets[:3]) or "it has none"}'
                )
            self.shape: tuple[int, int] = (self._file.height, self._file.width)  # (H, W)
            self.crs: Any = self._file.crs  # None: the raster has no coordinates
            self.transform: Any = self._file.transform  # (column, row) -> coordinates
            self.colours = tuple(colour.name for colour in self._file.colorinterp)
            everywhere = self._rasterio.enums.MaskFlags.all_valid
            self._all_valid = all(everywhere in flags for flags in self._file.mask_flag_enums)
            self.bands = self._choose(bands)
            self._palette = self._read_palette()
            self._ranges = self._display_ranges(stretch)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def plain(self) -> bool:
        """Whether it is a picture as any other: of up to four bands of 8 bits, not too large, all
        of it known, without coordinates."""
        return (
            self.crs is None
            and self.transform.is_identity
            and self._all_valid
            and self._file.count <= 4
            and set(self._file.dtypes) == {'uint8'}
            and self.shape[0] * self.shape[1] <= LARGE
        )

    @property
    def files(self) -> list[str]:
        """All files that it lies in, sorted; of a VRT its sources, too."""
        return sorted(name for name in self._file.files if os.path.isfile(name))

    def valid_at(self, window: Window) -> np.ndarray:
        """(height, width) bool of the window's own pixels: neither nodata, transparent nor NaN.

        Raises:
            UserError: it cannot be read.
        """
        shape = window.height, window.width
        floats = any('float' in self._file.dtypes[band - 1] for band in self.bands)
        if self._all_valid and not floats:
            return np.ones(shape, bool)
        return self._read(window, shape)[1]

    @property
    def whole(self) -> Window:
        """The window of all pixels."""
        return Window(0, 0, self.shape[1], self.shape[0])

    def view(
        self,
        window: Window | tuple[int, int, int, int] | None = None,
        *,
        most_side: int = MOST_SIDE,
        must_see: bool = True,
    ) -> View:
        """A window (None: the whole raster) as 8-bit RGB, its longer side at most `most_side`.

        Raises:
            UserError: it cannot be read; it is not inside; no pixel of it is valid, with `must_see`.
        """
        window = self.whole if window is None else Window(*window)
        check_inside(window, self.shape, self.path)
        _, _, width, height = window
        scale = min(1.0, most_side / max(width, height))
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        values, valid = self._read(window, shape)
        if must_see and not valid.any():
            raise UserError(
                f'{self.path!r}: no pixel is valid in columns {window[0]} to '
                f'{window[0] + width - 1}, rows {window[1]} to {window[1] + height - 1} (nodata, '
                'transparent or NaN): choose another picture or window'
            )
        image = self._to_rgb(values)
        image[~valid] = 0
        return View(image, valid, window)

    # ------------------------------------------------------------------ bands

    def _choose(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        count, shown = self._file.count, f'{self.path!r} has {self._file.count} bands'
        if bands is not None:
            if len(bands) not in (1, 3) or not all(1 <= band <= count for band in bands):
                raise UserError(
                    f'{shown}, and bands {" ".join(map(str, bands))} were asked for: name one or '
                    f'three of 1 to {count}'
                )
            return tuple(bands)
        for names in (_COLOURS, _INKS):
            if all(name in self.colours for name in names):
                return tuple(self.colours.index(name) + 1 for name in names)
        plain = [i + 1 for i, name in enumerate(self.colours) if name != 'alpha']
        if not plain:
            raise UserError(f'{shown}, all of them transparency: there is nothing to see')
        return tuple(plain[:3]) if len(plain) >= 3 else (plain[0],)

    def _read_palette(self) -> np.ndarray | None:
        """(n, 3) uint8: the colours of a band that holds their numbers; None: it holds values."""
        if len(self.bands) > 1 or self.colours[self.bands[0] - 1] != 'palette':
            return None
        with self._reading():
            table = self._file.colormap(self.bands[0])
        colours = np.zeros((max(table) + 1, 3), np.uint8)
        for number, colour in table.items():
            colours[number] = colour[:3]
        return colours

    def _display_ranges(self, stretch: Stretch | None) -> list[tuple[float, float]]:
        """(black, white) of each band."""
        types = [self._file.dtypes[band - 1] for band in self.bands]
        if any('complex' in kind for kind in types):
            raise UserError(
                f'{self.path!r} holds complex numbers, which have no colour: convert it, e.g. '
                'gdal_translate to its amplitude'
            )
        if stretch is None and all(kind == 'uint8' for kind in types):
            return [(0.0, self._brightest(band)) for band in self.bands]
        if stretch is not None and not stretch.percent:
            return [(stretch.low, stretch.high)] * len(self.bands)
        low, high, _ = stretch or PERCENTILES
        scale = min(1.0, OVERVIEW / max(self.shape))
        shape = tuple(max(1, round(length * scale)) for length in self.shape)
        values, valid = self._read(self.whole, (shape[0], shape[1]))
        return [percentile_range(band[valid], low, high) for band in values]

    def _brightest(self, band: int) -> float:
        """255, or 1 of a band of single bits."""
        bits = self._file.tags(band, ns='IMAGE_STRUCTURE').get('NBITS')
        return 2.0 ** int(bits) - 1 if bits else 255.0

    # ------------------------------------------------------------------ pixels

    def _read(
        self, window: tuple[int, int, int, int], shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (bands, *shape) and where they are valid (*shape)."""
        column, row, width, height = window
        part = self._rasterio.windows.Window(column, row, width, height)
        resampling = self._rasterio.enums.Resampling
        # the numbers of a palette have no mean
        how = resampling.average if self._palette is None else resampling.nearest
        with self._reading():
            values = self._file.read(
                list(self.bands), window=part, out_shape=(len(self.bands), *shape), resampling=how
            )
            valid = np.ones(shape, bool)
            if not self._all_valid:
                mask = self._file.dataset_mask(  # valid where any pixel below is
                    window=part, out_shape=shape, resampling=resampling.average
                )
                valid = mask > 0
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values).all(0)
        return values, valid

    def _to_rgb(self, values: np.ndarray) -> np.ndarray:
        """(bands, h, w) of any number -> (h, w, 3) uint8."""
        if self._palette is not None:
            return self._palette[np.minimum(values[0], len(self._palette) - 1)]
        bands = values  # as they are, mostly
        if values.dtype != np.uint8 or set(self._ranges) != {(0.0, 255.0)}:
            bands = np.stack(
                [to_uint8(band, *limits) for band, limits in zip(values, self._ranges, strict=True)]
            )
        if len(bands) == 4:  # inks
            bands = to_uint8((255.0 - bands[:3]) * (255.0 - bands[3]), 0, 255**2)
        image = np.moveaxis(bands, 0, -1)
        return np.array(np.broadcast_to(image, (*image.shape[:2], 3)))  # one that can be written

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except self._rasterio.errors.RasterioError as error:
            said = ' '.join(str(error.__cause__ or error).split())
            raise UserError(
                f'{self.path!r} cannot be read as a raster: {said}: see what gdalinfo says of it, '
                'or fetch it again'
            ) from error
