"""Georeferenced rasters of any size: read by window, answered as masks and polygons on the map."""

from .places import area, bounds_of, resolution, window_of
from .polygons import FORMATS, Feature, polygons_of, write_polygons
from .reading import (
    ENDINGS,
    MOST_SIDE,
    Raster,
    Stretch,
    View,
    Window,
    check_inside,
    is_raster,
    parse_stretch,
)
from .surface import Surface, interpolate, logits_at, probability, surface_over
from .writing import write_mask, write_probability

__all__ = [
    'ENDINGS',
    'FORMATS',
    'MOST_SIDE',
    'Feature',
    'Raster',
    'Stretch',
    'Surface',
    'View',
    'Window',
    'area',
    'bounds_of',
    'check_inside',
    'interpolate',
    'is_raster',
    'logits_at',
    'parse_stretch',
    'polygons_of',
    'probability',
    'resolution',
    'surface_over',
    'window_of',
    'write_mask',
    'write_polygons',
    'write_probability',
]
