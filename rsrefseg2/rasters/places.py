"""Where pixels lie: windows of bounds, ground resolution, areas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import require_extra
from .reading import Raster, Window

LON_LAT, EQUAL_AREA = 'EPSG:4326', 'EPSG:6933'  # both of the WGS 84 ellipsoid


def window_of(
    raster: Raster, bounds: tuple[float, float, float, float], *, lon_lat: bool = False
) -> Window:
    """The pixels that cover the bounds (west, south, east, north), cut at the raster's border.

    Args:
        lon_lat: they are longitudes and latitudes; False: in the raster's CRS.
    Raises:
        UserError: the raster has no coordinates; the bounds are empty or beside it.
    """
    west, south, east, north = bounds
    shown = ' '.join(f'{value:.10g}' for value in bounds)
    if not (west < east and south < north):
        raise UserError(
            f'bounds {shown}: give west, south, east, north, west below east (across the date line ask twice)'
        )
    crs = crs_of(raster, 'bounds')
    if lon_lat:
        west, south, east, north = _moved(raster, LON_LAT, crs, bounds)
    to_pixels = ~raster.transform
    corners = [placed(to_pixels, x, y) for x in (west, east) for y in (south, north)]
    columns, rows = zip(*corners, strict=True)
    height, width = raster.shape
    # a border that lies on a pixel's, but for rounding, adds no pixel
    left, right = (
        max(0, math.floor(min(columns) + 1e-6)),
        min(width, math.ceil(max(columns) - 1e-6)),
    )
    top, bottom = max(0, math.floor(min(rows) + 1e-6)), min(height, math.ceil(max(rows) - 1e-6))
    if left >= right or top >= bottom:
        a, b, c, d = bounds_of(raster, lon_lat=lon_lat)
        raise UserError(
            f'bounds {shown} lie beside {raster.path!r}, which covers {a:.10g} {b:.10g} {c:.10g} '
            f'{d:.10g}{" (longitude, latitude)" if lon_lat else f" in {crs}"}'
        )
    return Window(left, top, right - left, bottom - top)


def bounds_of(raster: Raster, *, lon_lat: bool) -> tuple[float, float, float, float]:
    """West, south, east, north of the whole raster."""
    height, width = raster.shape
    corners = [placed(raster.transform, x, y) for x in (0, width) for y in (0, height)]
    xs, ys = zip(*corners, strict=True)
    bounds = min(xs), min(ys), max(xs), max(ys)
    return _moved(raster, raster.crs, LON_LAT, bounds) if lon_lat else bounds


def _moved(
    raster: Raster, source: Any, target: Any, bounds: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """The bounds in another CRS."""
    from rasterio.warp import transform_bounds

    with _on_earth(raster):
        return transform_bounds(source, target, *bounds, densify_pts=21)


def resolution(raster: Raster, window: Window) -> float:
    """Metres a pixel at the window's centre: the root of a pixel's area on the ellipsoid.

    Raises:
        UserError: the raster has no coordinates.
    """
    crs = crs_of(raster, 'gsd')
    x, y = window.column + window.width // 2, window.row + window.height // 2
    ring = [placed(raster.transform, *corner) for corner in _square(x, y)]
    (pixel,) = to_crs(raster, crs, EQUAL_AREA, [{'type': 'Polygon', 'coordinates': [ring]}])
    return math.sqrt(area(pixel))


def to_crs(
    raster: Raster, source: Any, target: Any, geometries: list[dict[str, Any]], **options: Any
) -> list[dict[str, Any]]:
    """GeoJSON geometries in another CRS; options: of rasterio's `transform_geom`.

    Raises:
        UserError: a coordinate of the raster lies nowhere on the earth.
    """
    from rasterio.warp import transform_geom

    with _on_earth(raster):
        return transform_geom(source, target, geometries, **options)


@contextmanager
def _on_earth(raster: Raster) -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, _gdal_error()) as error:
        said = ' '.join(str(error).split())
        raise UserError(
            f'{raster.path!r}: its coordinates are nowhere on the earth ({said:.120}): correct its CRS '
            'and transform (gdal_edit.py), or ask for --polygons none and no --gsd'
        ) from error


def _gdal_error() -> type[Exception]:
    """What GDAL's own errors are; rasterio lets them pass as they are."""
    from rasterio._err import CPLE_BaseError

    return CPLE_BaseError


def _square(x: int, y: int) -> list[tuple[int, int]]:
    return [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]


def placed(affine: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The affine map of a point, or of arrays of points."""
    a, b, c, d, e, f = affine[:6]
    return a * x + b * y + c, d * x + e * y + f


def crs_of(raster: Raster, what: str) -> Any:
    """The raster's CRS.

    Args:
        what: what needs it.
    Raises:
        UserError: it has none.
    """
    require_extra('raster', f'{what} of {raster.path!r}')
    if raster.crs is None:
        raise UserError(
            f'{raster.path!r} has no coordinates, which {what} needs: leave it out, or give the '
            'raster its CRS (gdal_edit.py -a_srs)'
        )
    return raster.crs


def area(geometry: dict[str, Any]) -> float:
    """Of a GeoJSON polygon or of several, in its coordinates' unit squared: rings less holes."""
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
