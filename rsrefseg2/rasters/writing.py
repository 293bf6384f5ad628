"""Answers as GeoTIFFs of the raster's own pixels, with its CRS and transform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..extras import require_extra
from ..files import write_with
from .places import placed
from .reading import Raster, Window
from .surface import BLOCK, Surface, blocks, probability

OUTSIDE = -1.0  # nodata of a probability: nothing is known of the pixel


def write_mask(path: Path, raster: Raster, window: Window, surface: Surface, *, mark: str) -> int:
    """The mask as a GeoTIFF of the window's pixels: 255 where a logit is above 0, else 0, and 0
    where the raster's own pixel is not valid.

    Args:
        raster: open.  window: what was asked.
        mark: what the file bears.
    Returns:
        The number of pixels found.
    Raises:
        UserError: it cannot be written.
    """
    return _write(path, raster, window, surface, mark=mark, mask=True)


def write_probability(
    path: Path, raster: Raster, window: Window, surface: Surface, *, mark: str
) -> None:
    """The probability as a GeoTIFF of float32, 0 beside what was looked at; nodata `OUTSIDE` where
    the raster has no valid pixel. Otherwise as `write_mask`.

    Raises:
        UserError: it cannot be written.
    """
    _write(path, raster, window, surface, mark=mark, mask=False)


def _write(
    path: Path, raster: Raster, window: Window, surface: Surface, *, mark: str, mask: bool
) -> int:
    rasterio: Any = require_extra('raster', f'writing {path}')
    profile: dict[str, Any] = dict(
        driver='GTiff',
        dtype='uint8' if mask else 'float32',
        count=1,
        width=window.width,
        height=window.height,
        compress='deflate',
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        BIGTIFF='IF_SAFER',
    )
    if not mask:
        profile |= dict(nodata=OUTSIDE, predictor=3)
    if raster.crs is not None or not raster.transform.is_identity:
        profile |= dict(crs=raster.crs, transform=transform_of(raster, window))
    found = 0

    def write(temporary: Path) -> None:
        nonlocal found
        found = 0
        with rasterio.open(temporary, 'w', **profile) as file:
            file.update_tags(SOURCE=mark)
            for rows, columns in blocks(window):
                logits = surface.at(rows, columns)
                valid = raster.valid_at(Window(columns.start, rows.start, *logits.shape[::-1]))
                values = (logits > 0) & valid
                found += int(values.sum())
                place = rasterio.windows.Window(
                    columns.start - window.column, rows.start - window.row, *logits.shape[::-1]
                )
                if mask:
                    out = np.where(values, np.uint8(255), np.uint8(0))
                else:
                    out = np.where(valid, probability(logits), np.float32(OUTSIDE))
                file.write(out, 1, window=place)

    write_with(path, write)
    return found


def transform_of(raster: Raster, window: Window) -> Any:
    """The affine map of the window's pixels."""
    a, b, _, d, e, _ = raster.transform[:6]
    c, f = placed(raster.transform, window.column, window.row)
    return type(raster.transform)(a, b, c, d, e, f)
