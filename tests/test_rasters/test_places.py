"""Bounds and ground resolution, against pyproj and closed forms."""

import numpy as np
import pytest
import rasterio
from pyproj import Geod, Transformer
from rasterio.transform import Affine, from_origin

from rsrefseg2.errors import UserError
from rsrefseg2.rasters import Raster, Window, resolution, window_of

pytestmark = [
    pytest.mark.filterwarnings('ignore::PendingDeprecationWarning'),
    pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning'),
]
UTM = dict(crs='EPSG:32633', transform=from_origin(500000, 5000000, 0.5, 0.5))


@pytest.fixture
def opened(tmp_path):
    rasters = []

    def opened(shape=(200, 300), **where):
        path = tmp_path / f'{len(rasters)}.tif'
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            width=shape[1],
            height=shape[0],
            count=1,
            dtype='uint8',
            **where,
        ) as file:
            file.write(np.ones((1, *shape), np.uint8))
        rasters.append(Raster(path))
        return rasters[-1]

    yield opened
    for raster in rasters:
        raster.close()


def test_bounds_in_the_rasters_crs(opened):
    raster = opened(**UTM)
    assert window_of(raster, (500010, 4999970, 500050, 4999990)) == Window(20, 20, 80, 40)
    assert window_of(raster, (500010.1, 4999970.1, 500049.9, 4999989.9)) == Window(20, 20, 80, 40)
    # cut at the border
    assert window_of(raster, (499000, 4999000, 500005, 5001000)) == Window(0, 0, 10, 200)
    assert window_of(raster, (0, 0, 1e7, 1e7)) == raster.whole


def test_bounds_in_degrees(opened):
    """The corners by pyproj lie in the window, and on its border to a pixel."""
    raster = opened(**UTM)
    west, south, east, north = 15.0001, 45.1526, 15.0009, 45.1531
    found = window_of(raster, (west, south, east, north), lon_lat=True)
    to_utm = Transformer.from_crs('EPSG:4326', 'EPSG:32633', always_xy=True)
    x, y = to_utm.transform([west, west, east, east], [south, north, south, north])
    columns, rows = (np.array(x) - 500000) / 0.5, (5000000 - np.array(y)) / 0.5
    assert found.column == pytest.approx(columns.min(), abs=1)
    assert found.column + found.width == pytest.approx(columns.max(), abs=1)
    assert found.row == pytest.approx(rows.min(), abs=1)
    assert found.row + found.height == pytest.approx(rows.max(), abs=1)


def test_bounds_of_a_rotated_raster_are_its_box(opened):
    turned = Affine(0, 2.0, 1000, 2.0, 0, 2000)  # columns run north, rows east
    raster = opened(shape=(50, 80), crs='EPSG:32633', transform=turned)
    assert window_of(raster, (1010, 2020, 1030, 2060)) == Window(10, 5, 20, 10)


@pytest.mark.parametrize(
    ('bounds', 'says'),
    [
        ((5, 1, 3, 2), 'west below east'),
        ((0, 0, 1, 1), 'lie beside .* which covers 500000 4999900 500150 5000000 in EPSG:32633'),
    ],
)
def test_bounds_that_are_none(opened, bounds, says):
    with pytest.raises(UserError, match=says):
        window_of(opened(**UTM), bounds)


def test_a_raster_without_coordinates(opened):
    raster = opened()
    for ask in (lambda: window_of(raster, (0, 0, 1, 1)), lambda: resolution(raster, raster.whole)):
        with pytest.raises(UserError, match='has no coordinates'):
            ask()


@pytest.mark.parametrize(
    'where',
    [
        dict(crs='EPSG:4326', transform=from_origin(10, 195, 1, 1)),
        dict(crs='LOCAL_CS["x",UNIT["metre",1]]', transform=from_origin(0, 0, 1, 1)),
    ],
)
def test_coordinates_that_are_nowhere_are_one_line(opened, where):
    raster = opened(shape=(20, 20), **where)
    with pytest.raises(UserError, match='nowhere on the earth .*gdal_edit') as caught:
        resolution(raster, raster.whole)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('latitude', [0, 48, -70])
def test_resolution_in_degrees(opened, latitude):
    """The root of a pixel's area by pyproj's geodesics."""
    raster = opened(crs='EPSG:4326', transform=from_origin(10, latitude, 1e-4, 1e-4))
    x, y = 10 + 150e-4, latitude - 100e-4
    area, _ = Geod(ellps='WGS84').polygon_area_perimeter(
        [x, x + 1e-4, x + 1e-4, x], [y, y, y - 1e-4, y - 1e-4]
    )
    assert resolution(raster, raster.whole) == pytest.approx(abs(area) ** 0.5, rel=1e-4)


def test_resolution_in_metres_and_in_feet(opened):
    assert resolution(opened(**UTM), Window(0, 0, 9, 9)) == pytest.approx(0.5 / 0.9996, rel=1e-4)
    feet = dict(crs='EPSG:2263', transform=from_origin(1_000_000, 200_000, 1, 1))
    raster = opened(**feet)
    assert resolution(raster, raster.whole) == pytest.approx(0.3048, rel=1e-3)
