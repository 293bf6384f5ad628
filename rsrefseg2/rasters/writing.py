"""Answers on the map: a mask as GeoTIFF and polygons as GeoJSON, with the raster's coordinates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..extras import require_extra
from ..files import write_text, write_with
from .reading import Raster, View

BLOCK = 512  # side of a tile of the mask
LON_LAT, EQUAL_AREA = 'EPSG:4326', 'EPSG:6933'  # both of the WGS 84 ellipsoid


def logits_at(
    logits: np.ndarray, shape: tuple[int, int], rows: slice, columns: slice
) -> np.ndarray:
    """A part of `logits` (h, w) upsampled to `shape` (H, W), bilinear with align_corners=False:
    the same numbers as upsampling all of it, without holding them."""
    for axis, (size, part) in enumerate(zip(shape, (rows, columns), strict=True)):
        length = logits.shape[axis]
        position = (np.arange(part.start, part.stop) + 0.5) * (length / size) - 0.5
        position = np.clip(position, 0, length - 1)
        first = np.floor(position).astype(int)
        second = np.minimum(first + 1, length - 1)
        weight = (position - first).astype(logits.dtype)
        weight = weight[:, None] if axis == 0 else weight
        low, high = logits.take(first, axis), logits.take(second, axis)
        logits = low * (1 - weight) + high * weight
    return logits


def write_mask(path: Path, raster: Raster, view: View, logits: np.ndarray, *, mark: str) -> int:
    """The mask of `logits` (h, w) of a view as a GeoTIFF of the view's native pixels: 0, 255, and
    nodata nowhere; tiled, deflated, with the raster's CRS and transform.

    Returns:
        The number of pixels of the mask, in the raster's own pixels.
    Raises:
        UserError: it cannot be written.
    """
    rasterio: Any = require_extra('raster', f'writing {path}')
    _, _, width, height = view.window
    profile = dict(
        driver='GTiff',
        dtype='uint8',
        count=1,
        width=width,
        height=height,
        compress='deflate',
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        BIGTIFF='IF_SAFER',
    )
    if raster.crs is not None:
        profile |= dict(crs=raster.crs, transform=_transform_of(raster, view, (height, width)))
    found = 0

    def write(temporary: Path) -> None:
        nonlocal found
        found = 0
        with rasterio.open(temporary, 'w', **profile) as file:
            file.update_tags(SOURCE=mark)
            for rows, columns in _blocks(height, width):
                part = logits_at(logits, (height, width), rows, columns) > 0
                part &= _valid_at(view, rows, columns)
                found += int(part.sum())
                window = rasterio.windows.Window.from_slices(rows, columns)
                file.write(np.where(part, np.uint8(255), np.uint8(0)), 1, window=window)

    write_with(path, write)
    return found


def _transform_of(raster: Raster, view: View, shape: tuple[int, ...]) -> Any:
    """The affine map of a view's window in `shape` (h, w) pixels."""
    a, b, c, d, e, f = raster.transform[:6]
    column, row, width, height = view.window
    x, y = width / shape[1], height / shape[0]  # the raster's pixels in one of these
    return type(raster.transform)(
        a * x, b * y, c + a * column + b * row, d * x, e * y, f + d * column + e * row
    )


def _blocks(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, height, BLOCK):
        for column in range(0, width, BLOCK):
            yield slice(row, min(row + BLOCK, height)), slice(column, min(column + BLOCK, width))


def _valid_at(view: View, rows: slice, columns: slice) -> np.ndarray:
    """The view's valid pixels at the raster's own, by nearest neighbour."""
    _, _, width, height = view.window
    h, w = view.valid.shape
    y = (np.arange(rows.start, rows.stop) * h) // height
    x = (np.arange(columns.start, columns.stop) * w) // width
    return view.valid[np.ix_(y, x)]


def write_polygons(
    path: Path,
    raster: Raster,
    view: View,
    mask: np.ndarray,
    probability: np.ndarray,
    *,
    text: str,
    source: str,
    mark: str,
) -> int:
    """The mask (h, w) of a view as GeoJSON (RFC 7946: longitude, latitude), one feature a connected
    part: the sentence, `area_m2` on the ellipsoid, the mean probability, the source.

    Returns:
        The number of parts.
    Raises:
        UserError: it cannot be written.
    """
    require_extra('raster', f'writing {path}')
    from rasterio.features import shapes
    from rasterio.warp import transform_geom

    # 4-connected, as `shapes` joins pixels
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    sums, counts = np.bincount(parts.ravel(), probability.ravel()), np.bincount(parts.ravel())
    affine = _transform_of(raster, view, mask.shape)
    features = []
    for geometry, part in shapes(parts, mask=mask, transform=affine):
        world = transform_geom(
            raster.crs, LON_LAT, geometry, antimeridian_cutting=True, precision=9
        )
        features.append(
            {
                'type': 'Feature',
                'geometry': world,
                'properties': {
                    'sentence': text,
                    'area_m2': round(_area(transform_geom(LON_LAT, EQUAL_AREA, world)), 2),
                    'probability': round(float(sums[int(part)] / counts[int(part)]), 4),
                    'source': source,
                },
            }
        )
    collection = {'type': 'FeatureCollection', 'generator': mark, 'features': features}
    write_text(path, json.dumps(collection, ensure_ascii=False))
    return len(features)


def _area(geometry: dict[str, Any]) -> float:
    """Of a GeoJSON polygon or of several, in its coordinates' unit: rings less their holes."""
    polygons = geometry['coordinates']
    if geometry['type'] == 'Polygon':
        polygons = [polygons]
    total = 0.0
    for outer, *holes in polygons:
        total += _ring(outer) - sum(map(_ring, holes))
    return total


def _ring(points: Sequence[Sequence[float]]) -> float:
    x, y = np.asarray(points, np.float64).T[:2]
    x, y = x - x[0], y - y[0]  # far from the origin the products would lose digits
    return abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2
