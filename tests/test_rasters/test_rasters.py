"""Rasters read through GDAL and answers on the map, checked by other readers and closed forms."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import rasterio
import shapely
import torch
import torch.nn.functional as F
from PIL import Image
from pyproj import Geod
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from rsrefseg2.apis.sources import open_source
from rsrefseg2.errors import UserError
from rsrefseg2.rasters import (
    Raster,
    Stretch,
    Surface,
    Window,
    interpolate,
    is_raster,
    logits_at,
    parse_stretch,
    polygons_of,
    surface_over,
    write_mask,
    write_polygons,
    write_probability,
)

# affine 3 prefers another operator than rasterio 1.4 uses; and some rasters here have no place
pytestmark = [
    pytest.mark.filterwarnings('ignore::PendingDeprecationWarning'),
    pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning'),
]
UTM = dict(crs='EPSG:32633', transform=from_origin(500000, 5000000, 0.5, 0.5))


def write(path, values, *, colours=None, **profile):
    """A GeoTIFF of (bands, H, W)."""
    values = np.asarray(values)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=values.shape[2],
        height=values.shape[1],
        count=len(values),
        dtype=values.dtype,
        **profile,
    ) as file:
        file.write(values)
        if colours:
            file.colorinterp = colours
    return str(path)


def random(*shape, dtype=np.uint8, high=256):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


# ------------------------------------------------------------------ reading


def test_8_bit_bands_are_taken_as_they_are(tmp_path):
    values = random(3, 20, 30)
    with Raster(write(tmp_path / 'a.tif', values, **UTM)) as raster:
        view = raster.view()
    assert np.array_equal(view.image, np.moveaxis(values, 0, -1)) and view.valid.all()
    assert raster.shape == (20, 30) and raster.crs.to_epsg() == 32633
    assert view.window == (0, 0, 30, 20)


def test_a_window_is_read_alone(tmp_path):
    values = random(3, 20, 30)
    with Raster(write(tmp_path / 'a.tif', values)) as raster:
        view = raster.view((5, 3, 10, 8))
        assert np.array_equal(view.image, np.moveaxis(values[:, 3:11, 5:15], 0, -1))
        for window in ((25, 0, 10, 5), (-1, 0, 5, 5), (0, 0, 0, 5)):
            with pytest.raises(
                UserError, match=r'30 columns and 20 rows: the window .* not inside'
            ):
                raster.view(window)


def test_a_large_raster_is_averaged(tmp_path):
    """The mean of 4 x 4 pixels, which a decimated reading would skip."""
    values = random(1, 64, 96)
    with Raster(write(tmp_path / 'a.tif', values)) as raster:
        view = raster.view(most_side=24)
    wanted = values[0].reshape(16, 4, 24, 4).mean((1, 3))
    assert view.image.shape == (16, 24, 3)
    assert np.abs(view.image[..., 0] - wanted).max() <= 1


@pytest.mark.parametrize('dtype', ['uint16', 'int16', 'float32', 'float64'])
def test_deep_bands_get_the_range_of_their_percentiles(tmp_path, dtype):
    values = random(3, 40, 40, dtype=dtype, high=3000)
    with Raster(write(tmp_path / 'a.tif', values)) as raster:
        image = raster.view().image
    for band, found in zip(values, np.moveaxis(image, -1, 0), strict=True):
        low, high = np.percentile(band, (2, 98))
        wanted = np.clip((band.astype(float) - low) / (high - low), 0, 1) * 255
        assert np.abs(found - wanted).max() <= 0.51


def test_a_fixed_range(tmp_path):
    path = write(tmp_path / 'a.tif', np.array([[[0, 500, 1000, 4000]]] * 3, np.uint16))
    with Raster(path, stretch=parse_stretch('0,1000')) as raster:
        assert raster.view().image[0, :, 0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [('2%,98%', Stretch(2, 98, True)), ('-1e3, 3000', Stretch(-1000, 3000, False))],
)
def test_a_stretch_as_text(text, wanted):
    assert parse_stretch(text) == wanted


@pytest.mark.parametrize('text', ['2', '2%,98', '98%,2%', '5,5', '-1%,50%', 'low,high'])
def test_what_is_no_stretch(text):
    with pytest.raises(ValueError, match='percentiles|below'):
        parse_stretch(text)


def test_nodata_stays_out_of_the_range_and_of_the_picture(tmp_path):
    values = random(3, 30, 30, dtype=np.uint16, high=1000)
    full = values.copy()
    full[:, :10] = 65535
    with Raster(write(tmp_path / 'a.tif', full, nodata=65535)) as raster:
        view = raster.view()
    with Raster(write(tmp_path / 'b.tif', values[:, 10:])) as raster:
        wanted = raster.view().image
    assert not view.valid[:10].any() and view.valid[10:].all()
    assert not view.image[:10].any() and np.array_equal(view.image[10:], wanted)


def test_nan_and_alpha_are_not_valid(tmp_path):
    values = random(3, 8, 8, dtype=np.float32, high=100)
    values[1, 2, 3] = np.nan
    with Raster(write(tmp_path / 'a.tif', values)) as raster:
        view = raster.view()
    assert np.argwhere(~view.valid).tolist() == [[2, 3]] and not view.image[2, 3].any()
    alpha = np.full((1, 8, 8), 255, np.uint8)
    alpha[0, 5:] = 0
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = write(tmp_path / 'b.tif', np.concatenate([random(3, 8, 8), alpha]), colours=colours)
    with Raster(path) as raster:
        view = raster.view()
    assert view.valid[:5].all() and not view.valid[5:].any()


def test_a_raster_of_one_pixel(tmp_path):
    with Raster(write(tmp_path / 'a.tif', np.full((3, 1, 1), 7, np.uint8))) as raster:
        assert raster.view().image.tolist() == [[[7, 7, 7]]]


def test_nothing_valid_is_one_line(tmp_path):
    path = write(tmp_path / 'a.tif', np.zeros((3, 4, 4), np.uint16), nodata=0)
    with Raster(path) as raster, pytest.raises(UserError, match='no pixel is valid in columns 0'):
        raster.view()


def test_bands_by_their_colours_or_by_number(tmp_path):
    """Satellites write blue, green, red, infrared."""
    values = random(4, 6, 6)
    colours = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    path = write(tmp_path / 'a.tif', values, colours=colours)
    with Raster(path) as raster:
        assert raster.bands == (3, 2, 1)
    with Raster(path, bands=(4, 3, 2)) as raster:
        assert np.array_equal(raster.view().image, np.moveaxis(values[[3, 2, 1]], 0, -1))
    with Raster(path, bands=[4]) as raster:
        assert np.array_equal(raster.view().image[..., 1], values[3])
    for bands in ((5,), (1, 2), (0, 1, 2)):
        with pytest.raises(UserError, match='has 4 bands, and bands .* one or three of 1 to 4'):
            Raster(path, bands=bands)


def test_palette_single_bits_and_inks(tmp_path):
    numbers = random(1, 6, 6, high=3)
    path = tmp_path / 'palette.tif'
    write(path, numbers, photometric='palette')
    table = {0: (10, 20, 30, 255), 1: (200, 0, 0, 255), 2: (0, 0, 255, 255)}
    with rasterio.open(path, 'r+') as file:
        file.write_colormap(1, table)
    with Raster(path) as raster:
        wanted = np.array([table[i][:3] for i in range(3)])[numbers[0]]
        assert np.array_equal(raster.view().image, wanted)
    bits = random(1, 6, 6, high=2)
    with Raster(write(tmp_path / 'bits.tif', bits, nbits=1)) as raster:
        assert np.array_equal(raster.view().image[..., 0], 255 * bits[0])
    inks = random(4, 6, 6)
    with Raster(write(tmp_path / 'inks.tif', inks, photometric='cmyk')) as raster:
        found = raster.view().image
    white = 255 - inks[:3].astype(float)
    wanted = np.moveaxis(white * (255 - inks[3]) / 255, 0, -1)
    assert np.abs(found - wanted).max() <= 1


def test_what_is_no_raster(tmp_path):
    path = tmp_path / 'a.tif'
    path.write_bytes(b'II*\0 torn')
    with pytest.raises(UserError, match='a.tif.* cannot be read as a raster'):
        Raster(path)
    complexes = write(tmp_path / 'c.tif', np.ones((1, 4, 4), np.complex64))
    with pytest.raises(UserError, match='complex numbers'):
        Raster(complexes)
    assert is_raster('A.TIF') and is_raster('b.jp2') and not is_raster(tmp_path / 'c.png')
    (tmp_path / 'c.pgw').write_text('2\n0\n0\n-2\n6\n8\n')
    assert is_raster(tmp_path / 'c.png')


@pytest.mark.parametrize(
    ('values', 'profile'),
    [
        (random(5, 6, 6), {}),
        (random(3, 6, 6), dict(nodata=0)),
        (random(3, 6, 6), dict(transform=from_origin(5, 9, 2, 2))),
        (random(3, 6, 6, dtype=np.uint16), {}),
    ],
)
def test_what_is_no_plain_picture(tmp_path, values, profile):
    with open_source(write(tmp_path / 'a.tif', values, **profile)) as source:
        assert source.raster is not None
    with open_source(write(tmp_path / 'b.tif', random(3, 6, 6))) as source:
        assert source.raster is None


def test_a_part_is_opened_by_gdals_name(tmp_path):
    path = write(tmp_path / 'a.tif', random(3, 6, 6), **UTM)
    with open_source(f'GTIFF_DIR:1:{path}') as source:
        assert source.shape == (6, 6) and source.files == [path]
    with pytest.raises(UserError, match='does not exist'):
        open_source(str(tmp_path / 'b.tif'))


def test_without_rasterio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    with pytest.raises(UserError, match=r"pip install 'rsrefseg2\[raster\]'"):
        Raster('a.tif')


# ------------------------------------------------------------------ writing


def test_a_part_of_the_logits_is_that_of_all_of_them():
    """torch's interpolation of the whole, cut; and the numbers themselves where nothing grows."""
    logits = np.random.default_rng(1).normal(size=(7, 9)).astype(np.float32)
    whole = F.interpolate(
        torch.from_numpy(logits)[None, None], (50, 41), mode='bilinear', align_corners=False
    )[0, 0].numpy()
    part = logits_at(logits, (7 / 50, 9 / 41), slice(11, 37), slice(3, 41))
    assert np.abs(part - whole[11:37, 3:41]).max() < 1e-6
    assert np.array_equal(logits_at(logits, (1.0, 1.0), slice(0, 7), slice(0, 9)), logits)


def test_nothing_is_found_beside_the_surface():
    logits = np.arange(12, dtype=np.float32).reshape(3, 4)
    surface = surface_over(Window(10, 20, 8, 6), logits)
    found = surface.at(slice(15, 30), slice(5, 30))
    inside = np.isfinite(found)
    assert inside[5:11, 5:13].all() and inside.sum() == 48
    assert np.array_equal(
        found[5:11, 5:13], logits_at(logits, (0.5, 0.5), slice(0, 6), slice(0, 8))
    )
    assert surface.at(slice(0, 5), slice(0, 5)).tolist() == np.full((5, 5), -np.inf).tolist()
    assert np.array_equal(
        interpolate(logits, np.array([-9.0, 1.5]), np.array([9.0])), [[3.0], [9.0]]
    )


def answer(tmp_path, *, window=None, most_side=2048, shape=(700, 600), **where):
    """A rectangle of logits on a raster -> (raster, view, logits, mask file, pixels)."""
    path = write(tmp_path / 'scene.tif', random(3, *shape), **where)
    raster = Raster(path)
    view = raster.view(window, most_side=most_side)
    h, w = view.valid.shape
    logits = np.full((h, w), -2.0, np.float32)
    logits[h // 5 : h // 2, w // 4 : w // 2] = 3.0
    out = tmp_path / 'mask.tif'
    surface = surface_over(view.window, logits)
    return raster, view, logits, out, write_mask(out, raster, view.window, surface, mark='a mark')


def raster_xy(raster, column, row):
    return rasterio.transform.xy(raster.transform, row, column, offset='ul')


@pytest.mark.parametrize('window', [None, (100, 40, 300, 200)])
def test_the_mask_has_the_rasters_coordinates(tmp_path, window):
    raster, view, logits, out, found = answer(tmp_path, window=window, **UTM)
    with rasterio.open(out) as file:
        mask = file.read(1)
        assert file.crs == raster.crs and file.profile['tiled'] and file.nodata is None
        column, row = view.window[:2]
        assert file.xy(0, 0, offset='ul') == raster_xy(raster, column, row)
        assert file.compression.name == 'deflate'
    assert np.array_equal(mask, np.where(logits > 0, 255, 0)) and found == (logits > 0).sum()
    assert b'a mark' in out.read_bytes()


def test_a_mask_at_native_size_of_a_view_that_was_shrunk(tmp_path):
    raster, view, logits, out, found = answer(tmp_path, most_side=100, **UTM)
    assert max(view.valid.shape) == 100
    with rasterio.open(out) as file:
        assert file.shape == raster.shape
        mask = file.read(1)
    wanted = F.interpolate(torch.from_numpy(logits)[None, None], raster.shape, mode='bilinear')
    assert np.array_equal(mask > 0, wanted[0, 0].numpy() > 0) and found == (mask > 0).sum()


def test_no_answer_where_nothing_is_known(tmp_path):
    values = random(3, 20, 20)
    values[:, :, 10:] = 0
    raster = Raster(write(tmp_path / 'a.tif', values, nodata=0))
    view = raster.view()
    surface = surface_over(view.window, np.ones((20, 20), np.float32))
    found = write_mask(tmp_path / 'm.tif', raster, view.window, surface, mark='m')
    assert found == view.valid.sum() < 210


def test_nodata_stays_out_of_the_mask_at_the_rasters_own_pixels(tmp_path):
    """Every third column holds nothing, which the overview of a third cannot see."""
    values = np.full((3, 60, 90), 9, np.uint8)
    values[:, :, 1::3] = 0
    raster = Raster(write(tmp_path / 'a.tif', values, nodata=0, **UTM))
    assert raster.view(most_side=30).valid.all()  # each pixel holds some that is known
    surface = surface_over(raster.whole, np.ones((2, 2), np.float32))
    found = write_mask(tmp_path / 'm.tif', raster, raster.whole, surface, mark='m')
    with rasterio.open(tmp_path / 'm.tif') as file:
        assert np.array_equal(file.read(1) > 0, values[0] > 0) and found == 60 * 60


def test_a_transform_without_a_crs_stays(tmp_path):
    path = write(tmp_path / 'a.tif', random(3, 8, 8), transform=from_origin(5, 9, 2, 2))
    raster = Raster(path)
    surface = surface_over(raster.whole, np.ones((8, 8), np.float32))
    write_mask(tmp_path / 'm.tif', raster, Window(1, 2, 4, 4), surface, mark='m')
    with rasterio.open(tmp_path / 'm.tif') as file:
        assert file.transform == from_origin(7, 5, 2, 2) and file.crs is None


def test_probabilities(tmp_path):
    """The sigmoid where something is known, 0 beside what was looked at, else nodata."""
    values = random(3, 20, 20)
    values[:, :, 15:] = 0
    raster = Raster(write(tmp_path / 'a.tif', values, nodata=0, **UTM))
    view = raster.view()
    logits = np.full((5, 5), 2.0, np.float32)
    surface = surface_over(Window(0, 0, 10, 10), logits)
    write_probability(tmp_path / 'p.tif', raster, view.window, surface, mark='m')
    with rasterio.open(tmp_path / 'p.tif') as file:
        found = file.read(1, masked=True)
        assert file.transform == raster.transform and file.dtypes == ('float32',)
    assert found[:10, :10].compressed() == pytest.approx(1 / (1 + np.exp(-2)))
    assert np.array_equal(found.mask, ~view.valid)
    assert not found[10:, :15].compressed().any()


def polygons(tmp_path, **options):
    raster, view, logits, mask, _ = answer(tmp_path, **options)
    out = tmp_path / 'out.geojson'
    surface = surface_over(view.window, logits)
    said = {'sentence': 'a ship', 'source': 'scene.tif'}
    features = list(polygons_of(raster, view.window, mask, surface, said))
    write_polygons(out, raster, features, mark='a mark')
    found = json.loads(out.read_text())['features']
    assert len(features) == len(found) == 1
    return raster, view, logits, found[0]


@pytest.mark.parametrize('epsg', [32633, 3857, 4326])
def test_polygons_are_in_degrees_and_square_metres(tmp_path, epsg):
    """Against pyproj on the ellipsoid, whatever the raster's own CRS."""
    where = {
        32633: UTM,
        3857: dict(crs='EPSG:3857', transform=from_origin(1500000, 6000000, 2, 2)),
        4326: dict(crs='EPSG:4326', transform=from_origin(15, 45, 1e-5, 1e-5)),
    }[epsg]
    raster, view, logits, feature = polygons(tmp_path, **where)
    (ring,) = feature['geometry']['coordinates']
    area, _ = Geod(ellps='WGS84').polygon_area_perimeter(*np.array(ring).T[:2])
    properties = feature['properties']
    assert properties['area_m2'] == pytest.approx(abs(area), rel=1e-4)
    assert properties['probability'] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-4)
    assert (properties['sentence'], properties['source']) == ('a ship', 'scene.tif')
    if epsg == 32633:  # half a metre a pixel, and UTM's scale of 0.9996
        assert properties['area_m2'] == pytest.approx((logits > 0).sum() / 4, rel=2e-3)


def test_polygons_move_with_the_transform(tmp_path):
    first = polygons(tmp_path, **UTM)[3]['geometry']['coordinates'][0]
    moved = dict(UTM, transform=from_origin(500100, 5000000, 0.5, 0.5))
    second = polygons(tmp_path, **moved)[3]['geometry']['coordinates'][0]
    _, _, metres = Geod(ellps='WGS84').inv(*first[0], *second[0])
    assert metres == pytest.approx(100, rel=1e-3)


def test_polygons_of_a_shrunk_window_lie_where_the_mask_does(tmp_path):
    raster, view, logits, feature = polygons(
        tmp_path, window=(100, 200, 400, 400), most_side=100, **UTM
    )
    ring = np.array(feature['geometry']['coordinates'][0])
    xs, ys = rasterio.warp.transform('EPSG:4326', raster.crs, *ring.T)
    rows, columns = rasterio.transform.rowcol(raster.transform, xs, ys, op=np.asarray)
    assert columns.min() == pytest.approx(100 + 400 * 0.25, abs=0.1)
    assert rows.max() == pytest.approx(200 + 400 * 0.5, abs=0.1)


def test_a_polygon_across_the_date_line_is_cut_there(tmp_path):
    where = dict(crs='EPSG:32601', transform=from_origin(200000, 5000000, 3000, 3000))
    raster, view, logits, feature = polygons(tmp_path, shape=(40, 60), **where)
    assert feature['geometry']['type'] == 'MultiPolygon'
    longitudes = [
        [point[0] for point in polygon[0]] for polygon in feature['geometry']['coordinates']
    ]
    assert all(max(part) - min(part) < 10 for part in longitudes)
    assert feature['properties']['area_m2'] == pytest.approx((logits > 0).sum() * 9e6, rel=0.02)


def test_a_rotated_raster(tmp_path):
    """A corner of the mask lies where the raster's pixel does, and a pixel's area is the map's."""
    turned = rasterio.transform.Affine(0.3, 0.4, 500000, 0.4, -0.3, 5000000)
    raster, view, logits, out, found = answer(
        tmp_path, window=(100, 40, 300, 200), crs='EPSG:32633', transform=turned
    )
    with rasterio.open(out) as file:
        assert file.xy(0, 0, offset='ul') == pytest.approx(raster_xy(raster, 100, 40))
        assert file.xy(7, 9, offset='ul') == pytest.approx(raster_xy(raster, 109, 47))
    surface = surface_over(view.window, logits)
    (one,) = polygons_of(raster, view.window, out, surface, {})
    assert one.properties['area_m2'] == pytest.approx(found / 4, rel=2e-3)
    assert one.properties['probability'] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-4)


@pytest.mark.skipif(shutil.which('gdalinfo') is None, reason='gdalinfo is not installed')
def test_gdalinfo_reads_the_mask(tmp_path):
    _, _, _, out, _ = answer(tmp_path, **UTM)
    said = subprocess.run(['gdalinfo', out], capture_output=True, text=True, check=True).stdout
    assert 'UTM zone 33N' in said and 'Origin = (500000' in said and 'Block=512x512' in said


# ------------------------------------------------------------------ the command


@pytest.fixture
def predict(run, tiny, tmp_path):
    def predict(*arguments):
        return run(
            'predict.py',
            *arguments,
            '--config',
            tiny.config,
            '--checkpoint',
            tiny.checkpoint,
            '--device',
            'cpu',
            '--out',
            tmp_path / 'out',
        )

    return predict


def test_a_geotiff_answers_on_the_map(predict, tmp_path):
    """16 bits in, a mask with coordinates and polygons out; asked again it replaces its own."""
    path = write(tmp_path / 'scene.tif', random(3, 60, 50, dtype=np.uint16, high=2000), **UTM)
    code, out, err = predict(path, 'a ship', 'the red car')
    assert code in (0, None), err
    answers = [json.loads(line) for line in (tmp_path / 'out/answers.jsonl').open()]
    assert [line['pixels'] for line in answers] == [
        int(text) for text in re.findall(r'(\d+) of 3000 pixels', out)
    ]
    for k in (1, 2):
        with rasterio.open(tmp_path / f'out/scene_{k}_mask.tif') as file:
            assert file.crs.to_epsg() == 32633 and file.shape == (60, 50)
            pixels = int((file.read(1) > 0).sum())
        features = json.loads((tmp_path / f'out/scene_{k}_polygons.geojson').read_text())
        assert f'{pixels} of 3000 pixels, {len(features["features"])} polygon' in out
        assert (tmp_path / f'out/scene_{k}_panel.png').is_file()
    (tmp_path / 'out/scene_1_mask.tif').write_bytes(b'mine')
    code, _, err = predict(path, 'a boat')
    assert code == 1 and 'scene_1_mask.tif is there, and this command did not write it' in err


def test_the_mask_of_a_small_raster_is_the_pictures(predict, tmp_path):
    """Bit for bit that of the same pixels as a PNG."""
    values = random(3, 60, 50)
    Image.fromarray(np.moveaxis(values, 0, -1)).save(tmp_path / 'plain.png')
    code, _, err = predict(tmp_path / 'plain.png', 'a ship')
    assert code in (0, None), err
    code, _, err = predict(write(tmp_path / 'map.tif', values, **UTM), 'a ship')
    assert code in (0, None), err
    with rasterio.open(tmp_path / 'out/map_1_mask.tif') as file:
        found = file.read(1)
    assert np.array_equal(found, np.asarray(Image.open(tmp_path / 'out/plain_1_mask.png')))


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--bands', 1, 9, 2], 'has 3 bands, and bands 1 9 2 were asked for'),
        (['--window', 40, 0, 20, 20], 'the window 40 0 20 20'),
        (['--stretch', '3'], "'3' is neither percentiles"),
    ],
)
def test_options_that_do_not_fit(predict, tmp_path, options, says):
    path = write(tmp_path / 'scene.tif', random(3, 60, 50), **UTM)
    code, _, err = predict(path, 'a ship', *options)
    assert code in (1, 2) and says in err


def test_a_raster_without_coordinates_has_a_mask_and_no_polygons(predict, tmp_path):
    path = write(tmp_path / 'deep.tif', random(3, 40, 40, dtype=np.uint16, high=900))
    code, out, err = predict(path, 'a ship')
    assert code in (0, None), err
    assert (tmp_path / 'out/deep_1_mask.tif').is_file() and 'polygon' not in out
    assert not (tmp_path / 'out/deep_1_polygons.geojson').exists()


def test_without_rasterio_a_picture_is_read_and_a_line_says_so(monkeypatch, tmp_path, capsys):
    path = write(tmp_path / 'map.tif', random(3, 6, 6), **UTM)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'rasterio' else find(name)
    )
    assert open_source(path).raster is None
    assert (
        "without coordinates: for these pip install 'rsrefseg2[raster]'" in capsys.readouterr().err
    )


def test_each_part_has_its_own_probability(tmp_path):
    """Parts that touch at a corner are two."""
    raster = Raster(write(tmp_path / 'a.tif', random(3, 8, 8), **UTM))
    view = raster.view()
    logits = np.full((8, 8), -3.0, np.float32)
    logits[:4, :4], logits[4:6, 4:6] = 2.0, 1.0
    surface = Surface(view.window, logits, (1.0, 1.0))
    write_mask(tmp_path / 'm.tif', raster, view.window, surface, mark='m')
    found = {
        one.properties['probability']: one.properties['area_m2']
        for one in polygons_of(raster, view.window, tmp_path / 'm.tif', surface, {})
    }
    assert found == {
        round(1 / (1 + np.exp(-2)), 4): pytest.approx(4, rel=0.01),
        round(1 / (1 + np.exp(-1)), 4): pytest.approx(1, rel=0.01),
    }


def test_a_part_smaller_than_a_cell_has_a_probability(tmp_path):
    raster, view, _, _, _ = answer(tmp_path, shape=(40, 40), **UTM)
    logits = np.full((4, 4), -1.0, np.float32)
    logits[2, 1] = 0.2
    surface = surface_over(view.window, logits)
    write_mask(tmp_path / 'm.tif', raster, view.window, surface, mark='m')
    (one,) = polygons_of(raster, view.window, tmp_path / 'm.tif', surface, {})
    assert 0 < one.properties['area_m2'] < 25
    assert one.properties['probability'] == pytest.approx(1 / (1 + np.exp(-0.2)), abs=1e-4)


@pytest.mark.parametrize('ending', ['.geojson', '.gpkg', '.parquet'])
@pytest.mark.parametrize('found', [True, False])
def test_polygons_as_others_read_them(tmp_path, ending, found):
    """GDAL reads the GeoPackage in the raster's CRS, pyarrow the GeoParquet; of nothing found a
    table without rows."""
    raster, view, logits, mask, _ = answer(tmp_path, **UTM)
    surface = surface_over(view.window, logits)
    features = list(polygons_of(raster, view.window, mask, surface, {'sentence': 'ä ship'}))
    out = tmp_path / f'out{ending}'
    write_polygons(out, raster, features if found else [], mark='a mark')
    write_polygons(out, raster, features if found else [], mark='a mark')  # replaced
    if ending == '.parquet':
        table = pyarrow.parquet.read_table(out)
        geo = json.loads(table.schema.metadata[b'geo'])
        assert geo['primary_column'] == 'geometry' and table.num_rows == found
        shapes = shapely.from_wkb(table['geometry'].to_pylist())
        texts = table['sentence'].to_pylist()
    else:
        meta, _, wkb, columns = pyogrio.raw.read(out)
        assert meta['crs'] == ('EPSG:32633' if ending == '.gpkg' else 'EPSG:4326')
        shapes = shapely.from_wkb(wkb)
        texts = list(columns[list(meta['fields']).index('sentence')]) if found else []
    assert len(shapes) == len(texts) == found and shapely.is_valid(shapes).all()
    if found:
        assert texts == ['ä ship']
        (west, south, east, north) = shapely.total_bounds(shapes)
        if ending == '.gpkg':
            assert (west, north) == (500000 + 150 * 0.5, 5000000 - 140 * 0.5)
        else:
            assert 15 < west < east < 15.01 and 45.1 < south < north < 45.2
        assert shapely.is_ccw(shapely.get_exterior_ring(shapely.get_parts(shapes)[0]))
