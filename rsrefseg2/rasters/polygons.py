"""Answers as polygons on the map: GeoJSON, GeoPackage or GeoParquet."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..extras import require_extra
from ..files import write_text, write_with
from .places import EQUAL_AREA, LON_LAT, area, crs_of, placed, to_crs
from .reading import Raster, Window
from .surface import Surface, probability
from .writing import transform_of

LAYER = 'answers'
AT_ONCE = 1000  # parts that are transformed in one call


class Feature(NamedTuple):
    """One connected part of a mask."""

    geometry: dict[str, Any]  # GeoJSON polygon in the raster's CRS
    lon_lat: dict[str, Any]  # the same in longitude and latitude, cut at the date line
    properties: dict[str, Any]  # sentence, area_m2, probability, ...


def polygons_of(
    raster: Raster, window: Window, mask: Path, surface: Surface, properties: Mapping[str, Any]
) -> Iterator[Feature]:
    """The parts of a written mask, 4-connected, read from the file block by block. Beside
    `properties` each has `area_m2`, on the ellipsoid, and `probability`, the mean over its cells.

    Args:
        window: what the mask covers, in the raster's pixels.
    Raises:
        UserError: the raster has no coordinates, or such as lie nowhere on the earth.
    """
    rasterio: Any = require_extra('raster', f'polygons of {mask}')
    from rasterio.features import shapes

    crs = crs_of(raster, 'polygons')
    affine = transform_of(raster, window)
    with rasterio.open(mask) as file:
        band = rasterio.band(file, 1)
        parts = (geometry for geometry, _ in shapes(band, mask=band))  # in the file's coordinates
        while batch := list(itertools.islice(parts, AT_ONCE)):
            lon_lat = to_crs(raster, crs, LON_LAT, batch, antimeridian_cutting=True, precision=9)
            equal_area = to_crs(raster, LON_LAT, EQUAL_AREA, lon_lat)
            for geometry, world, plane in zip(batch, lon_lat, equal_area, strict=True):
                own = {
                    'area_m2': round(area(plane), 2),
                    'probability': round(_mean_probability(geometry, window, surface, affine), 4),
                }
                yield Feature(geometry, world, {**properties, **own})


def _mean_probability(
    geometry: dict[str, Any], window: Window, surface: Surface, affine: Any
) -> float:
    """Over the surface's cells whose centres lie in the polygon; of one without any, over those
    that it touches. `affine`: of the window's pixels."""
    from rasterio.features import geometry_mask

    x, y = placed(~affine, *np.asarray(geometry['coordinates'][0], np.float64).T)
    down, across = surface.cells
    h, w = surface.logits.shape
    columns = _between((x + window.column - surface.window.column) * across, w)
    rows = _between((y + window.row - surface.window.row) * down, h)
    cells = probability(surface.logits[rows, columns])
    first = (
        columns.start / across + surface.window.column - window.column,
        rows.start / down + surface.window.row - window.row,
    )
    a, b, _, d, e, _ = affine[:6]
    c, f = placed(affine, *first)
    of_cells = type(affine)(a / across, b / down, c, d / across, e / down, f)
    for touched in (False, True):
        inside = geometry_mask([geometry], cells.shape, of_cells, all_touched=touched, invert=True)
        if inside.any():
            return float(cells[inside].mean())
    return float(cells.mean())


def _between(positions: np.ndarray, length: int) -> slice:
    """The cells that the positions span, at least one, within 0 to length."""
    start = min(max(0, math.floor(positions.min())), length - 1)
    return slice(start, max(start + 1, min(length, math.ceil(positions.max()))))


def write_polygons(path: Path, raster: Raster, features: Sequence[Feature], *, mark: str) -> None:
    """The features as the file's ending says, one of `FORMATS`. GeoJSON (RFC 7946) and GeoParquet
    hold longitude and latitude, GeoPackage the raster's CRS.

    Raises:
        UserError: a package is missing; it cannot be written.
    """
    FORMATS[path.suffix](path, raster, features, mark)


def _write_geojson(path: Path, raster: Raster, features: Sequence[Feature], mark: str) -> None:
    collection = {
        'type': 'FeatureCollection',
        'generator': mark,
        'features': [
            {
                'type': 'Feature',
                'geometry': json.loads(_to_json(feature.lon_lat)),
                'properties': feature.properties,
            }
            for feature in features
        ],
    }
    write_text(path, json.dumps(collection, ensure_ascii=False))


def _to_json(geometry: dict[str, Any]) -> str:
    """Rings as RFC 7946 turns them: the outer one counterclockwise."""
    shapely: Any = require_extra('raster', 'a polygon', package='shapely')
    turned = shapely.orient_polygons(shapely.geometry.shape(geometry))
    return shapely.to_geojson(turned)


def _to_wkb(geometries: Sequence[dict[str, Any]]) -> np.ndarray:
    """Multipolygons in well-known binary, as objects."""
    shapely: Any = require_extra('raster', 'polygons', package='shapely')
    shapes = [shapely.orient_polygons(shapely.geometry.shape(one)) for one in geometries]
    parts = [shapely.multipolygons(shapely.get_parts(one)) for one in shapes]
    return np.array([shapely.to_wkb(one) for one in parts], object)


def _write_geopackage(path: Path, raster: Raster, features: Sequence[Feature], mark: str) -> None:
    pyogrio: Any = require_extra('raster', f'writing {path}', package='pyogrio')

    def write(temporary: Path) -> None:
        temporary.unlink()  # GDAL adds to a database that is there
        pyogrio.raw.write(
            temporary,
            _to_wkb([feature.geometry for feature in features]),
            list(_columns(features).values()),
            list(_columns(features)),
            layer=LAYER,
            driver='GPKG',
            geometry_type='MultiPolygon',
            crs=crs_of(raster, 'a GeoPackage').to_wkt(),
            layer_metadata={'DESCRIPTION': mark},
        )

    write_with(path, write)


def _write_geoparquet(path: Path, raster: Raster, features: Sequence[Feature], mark: str) -> None:
    pyarrow: Any = require_extra('raster', f'writing {path}', package='pyarrow')
    from pyarrow import parquet

    table = pyarrow.table(
        {
            **{name: pyarrow.array(values) for name, values in _columns(features).items()},
            'geometry': pyarrow.array(
                _to_wkb([feature.lon_lat for feature in features]), pyarrow.binary()
            ),
        }
    )
    # without a CRS of their own the coordinates are OGC:CRS84, longitude and latitude
    geo = {
        'version': '1.1.0',
        'primary_column': 'geometry',
        'columns': {'geometry': {'encoding': 'WKB', 'geometry_types': ['MultiPolygon']}},
    }
    metadata = {'geo': json.dumps(geo), 'generator': mark}
    table = table.replace_schema_metadata(metadata)
    write_with(path, lambda temporary: parquet.write_table(table, temporary))


def _columns(features: Sequence[Feature]) -> dict[str, np.ndarray]:
    """The features' properties by name; of no feature one column, so that a reader finds a table."""
    if not features:
        return {'sentence': np.array([], object)}
    columns = {name: [one.properties[name] for one in features] for name in features[0].properties}
    return {
        name: np.array(values, object if isinstance(values[0], str) else np.float64)
        for name, values in columns.items()
    }


Writer = Callable[[Path, Raster, Sequence[Feature], str], None]
FORMATS: dict[str, Writer] = {
    '.geojson': _write_geojson,
    '.gpkg': _write_geopackage,
    '.parquet': _write_geoparquet,
}
