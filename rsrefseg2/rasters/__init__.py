"""Georeferenced rasters of any size: read by window, answered as masks and polygons on the map."""

from .reading import Raster, Stretch, View, is_raster, parse_stretch
from .writing import logits_at, write_mask, write_polygons

__all__ = [
    'Raster',
    'Stretch',
    'View',
    'is_raster',
    'logits_at',
    'parse_stretch',
    'write_mask',
    'write_polygons',
]
