"""Answers as polygons on the map: GeoJSON, GeoPackage or GeoParquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..extras import require_extra
from ..files import write_text, write_with
from .places import EQUAL_AREA, LON_LAT, area, crs_of
from .reading import Raster, Window
from .surface import Surface, probability
from .writing import transform_of

LAYER = 'answers'


class Feature(NamedTuple):
    """One connected part of a mask."""

    geometry: dict[str, Any]  # GeoJSON polygon in the raster's CRS
    lon_lat: dict[str, Any]  # the same in longitude and latitude, cut at the date line
    properties: dict[str, Any]  # sentence, area_m2, probability, ...


def polygons_of(
    raster: Raster,
    window: Window,
    mask: Path,
    surface: Surface,
    properties: Mapping[str, Any],
) -> Iterator[Feature]:
    """The parts of a written mask, 4-connected, read from the file block by block. Beside
    `properties` each has `area_m2`, on the ellipsoid, and `probability`, the mean over its cells.

    Args:
        window: what the mask covers, in the raster's pixels.
    Raises:
        UserError: the raster has no coordinates.
    """
    rasterio: Any = require_extra('raster', f'polygons of {mask}')
    from rasterio.features import shapes
    from rasterio.warp import transform_geom

    crs = crs_of(raster, 'polygons')
    affine = transform_of(raster, window)
    with rasterio.open(mask) as file:
        band = rasterio.band(file, 1)
        for pixels, _ in shapes(band, mask=band):
            geometry = {
                'type': 'Polygon',
                'coordinates': [_placed(ring, affine) for ring in pixels['coordinates']],
            }
            lon_lat = transform_geom(
                crs, LON_LAT, geometry, antimeridian_cutting=True, precision=9
            )
            yield Feature(
                geometry,
                lon_lat,
                {
                    **properties,
                    'area_m2': round(area(transform_geom(LON_LAT, EQUAL_AREA, lon_lat)), 2),
                    'probability': round(_mean_probability(pixels, window, surface), 4),
                },
            )


def _placed(ring: Sequence[Sequence[float]], affine: Any) -> list[tuple[float, float]]:
    x, y = np.asarray(ring, np.float64).T
    a, b, c, d, e, f = affine[:6]
    return list(zip((a * x + b * y + c).tolist(), (d * x + e * y + f).tolist(), strict=True))


def _mean_probability(pixels: dict[str, Any], window: Window, surface: Surface) -> float:
    """Over the surface's cells whose centres lie in the polygon; of one without any, over those
    that it touches."""
    from rasterio.features import geometry_mask
    from rasterio.transform import Affine

    down, across = surface.cells
    rings = np.asarray(pixels['coordinates'][0], np.float64)
    x = (rings[:, 0] + window.column - surface.window.column) * across
    y = (rings[:, 1] + window.row - surface.window.row) * down
    h, w = surface.logits.shape
    left, top = max(0, int(x.min())), max(0, int(y.min()))
    right, bottom = min(w, int(x.max()) + 1), min(h, int(y.max()) + 1)
    left, top = min(left, w - 1), min(top, h - 1)
    cells = probability(surface.logits[top : max(bottom, top + 1), left : max(right, left + 1)])
    to_pixels = Affine.translation(
        surface.window.column - window.column, surface.window.row - window.row
    ) @ Affine.scale(1 / across, 1 / down)
    to_pixels = to_pixels @ Affine.translation(left, top)
    for touched in (False, True):
        inside = geometry_mask(
            [pixels], cells.shape, to_pixels, all_touched=touched, invert=True
        )
        if inside.any():
            return float(cells[inside].mean())
    return float(cells.mean())


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
