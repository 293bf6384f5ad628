"""Images and masks in all the forms that files hold."""

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import as_rle, pictures, read_image, read_mask
from rsrefseg2.datasets.masks import fit_mask
from rsrefseg2.errors import UserError
from rsrefseg2.rle import decode

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]
ALPHA = RNG.integers(0, 256, (20, 30, 1), dtype=np.uint8)
MASK = RNG.random((20, 30)) < 0.3


def saved(tmp_path, array, name='file.png', mode=None):
    path = str(tmp_path / name)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.mark.parametrize('name', ['rgb.png', 'rgb.tif', 'rgb.bmp'])
def test_rgb(tmp_path, name):
    np.testing.assert_array_equal(read_image(saved(tmp_path, RGB, name)), RGB)


@pytest.mark.parametrize('name', ['rgba.png', 'rgba.tif'])
def test_alpha_is_dropped_not_blended(tmp_path, name):
    path = saved(tmp_path, np.concatenate([RGB, ALPHA], axis=-1), name)
    np.testing.assert_array_equal(read_image(path), RGB)


def test_grey_is_repeated(tmp_path):
    expected = np.repeat(GREY[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read_image(saved(tmp_path, GREY)), expected)
    grey_alpha = np.stack([GREY, ALPHA[..., 0]], axis=-1)
    np.testing.assert_array_equal(read_image(saved(tmp_path, grey_alpha)), expected)


def test_palette_and_bilevel(tmp_path):
    colours = np.where(MASK[..., None], np.uint8([200, 10, 30]), np.uint8([0, 90, 255]))
    np.testing.assert_array_equal(read_image(saved(tmp_path, colours, mode='P')).shape, RGB.shape)
    bilevel = read_image(saved(tmp_path, MASK, 'bilevel.tif'))
    np.testing.assert_array_equal(bilevel, np.repeat(MASK[..., None] * np.uint8(255), 3, -1))


@pytest.mark.parametrize(
    'array', [GREY.astype(np.uint16) * 9, GREY.astype(np.float32), GREY.astype(np.int32)]
)
def test_deep_images_are_refused(tmp_path, array):
    with pytest.raises(UserError, match='more than 8 bits a channel'):
        read_image(saved(tmp_path, array, 'deep.tif'))


def sgi(array):
    """A file of the SGI format, channel by channel, the lowest row first."""
    height, width, channels = array.shape
    head = struct.pack('>hBBHHHH', 474, 0, array.itemsize, 3, width, height, channels)
    return (
        head.ljust(512, b'\0')
        + array[::-1].transpose(2, 0, 1).astype(array.dtype.newbyteorder('>')).tobytes()
    )


@pytest.mark.parametrize('name', ['deep.png', 'deep.tif', 'deep.jp2', 'deep.ppm', 'deep.sgi'])
@pytest.mark.parametrize('read', [read_image, read_mask])
def test_deep_rgb_is_refused(tmp_path, name, read):
    """Pillow itself would drop the low bytes: an 11-bit image would become black."""
    path, deep = tmp_path / name, np.tile(RGB.astype(np.uint16) * 8, (5, 5, 1))
    if name.endswith('sgi'):
        path.write_bytes(sgi(deep))
    else:
        cv2.imwrite(str(path), deep)
    with pytest.raises(UserError, match=r'more than 8 bits a channel \((16|11) bits\).*gdal_tran'):
        read(str(path))


def test_the_same_formats_of_8_bits_are_read(tmp_path):
    (tmp_path / 'rgb.sgi').write_bytes(sgi(RGB))
    np.testing.assert_array_equal(read_image(str(tmp_path / 'rgb.sgi')), RGB)
    for name in ('rgb.ppm', 'rgb.tif'):
        np.testing.assert_array_equal(read_image(saved(tmp_path, RGB, name)), RGB)
    lossless = str(tmp_path / 'rgb.jp2')
    Image.fromarray(RGB).save(lossless, irreversible=False)
    np.testing.assert_array_equal(read_image(lossless), RGB)


FORMATS = [
    ('PNG', {}),
    ('JPEG', {}),
    ('TIFF', {}),
    ('TIFF', {'compression': 'tiff_lzw'}),
    ('BMP', {}),
    ('GIF', {}),
    ('WEBP', {'lossless': True}),
    ('JPEG2000', {}),
    ('PPM', {}),
]


@pytest.mark.filterwarnings('ignore::UserWarning:PIL.TiffImagePlugin')
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(form=st.sampled_from(FORMATS), share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_picture_is_an_error(form, share, tmp_path):
    """Only a picture whose every pixel is there is read; the rest is said to be damaged."""
    file, path = io.BytesIO(), tmp_path / 'cut'
    Image.fromarray(RGB).save(file, form[0], **form[1])
    content = file.getvalue()
    path.write_bytes(content)
    whole = read_image(path)
    path.write_bytes(content[: int(share * len(content))])
    try:
        np.testing.assert_array_equal(read_image(path), whole)
    except UserError as error:
        assert str(error).endswith('fetch the file again') and '\n' not in str(error)


def test_a_damaged_png_is_an_error(tmp_path):
    """Decoding looks at neither checksums nor the end: other pixels would come without a word."""
    file, path = io.BytesIO(), tmp_path / 'damaged'
    stripes = np.indices((48, 64)).sum(0) % 37 < 15
    Image.fromarray(stripes.astype(np.uint8) * 255).save(file, 'PNG')
    content = file.getvalue()
    end = len(content) - 12  # the chunk IEND holds nothing
    for number in range(0, len(content), 2):
        flipped = bytearray(content)
        flipped[number] ^= 1 << number % 7
        for damaged in [content[:number]] + [flipped] * (number < end):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match='damaged.*fetch the file again'):
                read_image(path)


def tiff(bands, bits, *, compression=1, cut=0):
    """A TIFF of 4 x 4 pixels, of any bands and depth."""
    pixels = bytes(16 * bands * bits // 8)
    shorts = [
        (256, 4),
        (257, 4),
        (258, bits),
        (259, compression),
        (262, 1),
        (273, 200),
        (277, bands),
        (278, 4),
        (279, len(pixels)),
        (339, 3 if bits > 16 else 1),
    ]
    entries = b''.join(struct.pack('<HHIHH', tag, 3, 1, value, 0) for tag, value in shorts)
    head = b'II*\0' + struct.pack('<IH', 8, len(shorts)) + entries + bytes(4)
    return (head.ljust(200, b'\0') + pixels)[: 200 + len(pixels) - cut]


@pytest.mark.parametrize(
    'content, said',
    [
        (tiff(4, 8), 'a TIFF of 4 bands of 8 bits, .* gdal_translate -b 1 -b 2 -b 3 IN OUT.png$'),
        (tiff(1, 64), 'a TIFF of 1 band of 64 bits, .* gdal_translate -ot Byte -scale IN OUT.png$'),
        (tiff(3, 8, compression=34887), 'compression LERC, a kind that is not read: convert it'),
        (b'\x89HDF' + bytes(20), 'is HDF5, which is not read: convert it to PNG'),
        (
            b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n',
            'an EPS, which is not read: convert',
        ),
    ],
    ids=['bands', 'depth', 'compression', 'HDF5', 'EPS'],
)
def test_a_sound_file_is_named_for_what_it_is(tmp_path, content, said):
    (tmp_path / 'file').write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_image(tmp_path / 'file')
    assert 'fetch the file again' not in str(caught.value)
    (tmp_path / 'file').write_bytes(tiff(4, 8, cut=9))
    with pytest.raises(UserError, match='fetch the file again'):
        read_image(tmp_path / 'file')


@pytest.mark.parametrize('name', ['turned.jpg', 'turned.png', 'turned.tif'])
@pytest.mark.parametrize('number', range(1, 9))
def test_a_turned_photograph(tmp_path, name, number):
    """Refused where masks are beside it; turned as viewers do where none are."""
    path, exif = tmp_path / name, Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    Image.fromarray(RGB).save(path, exif=exif)
    plain = tmp_path / f'plain_{name}'
    Image.fromarray(RGB).save(plain)
    turn = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }.get(number, lambda a: a)
    np.testing.assert_array_equal(read_image(path, upright=True), turn(read_image(plain)))
    if number == 1:
        np.testing.assert_array_equal(read_image(path), read_image(plain))
    else:
        with pytest.raises(UserError, match=f'has the EXIF orientation {number}: its stored'):
            read_image(path)


def test_a_picture_larger_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, 'MOST_PIXELS', 500)
    with pytest.raises(UserError, match='of 30 x 20 pixels is larger than the memory allows: cut'):
        read_image(saved(tmp_path, RGB))
    monkeypatch.undo()
    monkeypatch.setattr(pictures, '_MUCH', 500)
    monkeypatch.setattr(pictures, '_free_memory', lambda: 600 * 10 - 1)
    with pytest.raises(UserError, match='larger than the memory allows'):
        read_image(saved(tmp_path, RGB))


def test_the_free_memory_is_known():
    assert 2**20 < pictures._free_memory() < 2**50


def test_other_modes_are_refused(tmp_path):
    with pytest.raises(UserError, match='images of mode CMYK are not read'):
        read_image(saved(tmp_path, RGB, 'cmyk.jpg', mode='CMYK'))


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="none.png': the image does not exist"):
        read_image(str(tmp_path / 'none.png'))


@pytest.mark.parametrize(
    'array',
    [
        MASK,
        MASK.astype(np.uint8),
        MASK * np.uint8(255),
        np.repeat(MASK[..., None] * np.uint8(255), 3, -1),
        np.repeat(MASK[..., None] * np.uint8(1), 3, -1),
        np.concatenate([np.repeat(MASK[..., None] * np.uint8(255), 3, -1), ALPHA], -1),
        np.stack([MASK * np.uint8(255), ALPHA[..., 0]], -1),
    ],
    ids=['bool', '0/1', '0/255', '3 x 0/255', '3 x 0/1', 'rgba', 'grey and alpha'],
)
def test_mask_files(tmp_path, array):
    mask = read_mask(saved(tmp_path, array))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize('value', [0, 1, 255])
def test_uniform_mask(tmp_path, value):
    mask = read_mask(saved(tmp_path, np.full((5, 7), value, np.uint8)))
    assert mask.shape == (5, 7) and mask.all() == (value > 0)


@pytest.mark.parametrize(
    'values, shown',
    [((0, 127), '0, 127'), ((0, 1, 255), '0, 1, 255'), ((0, 1, 2, 3, 4), '0, 1, 2, 3, ...')],
)
def test_mask_of_other_values_is_refused(tmp_path, values, shown):
    array = np.resize(np.array(values, np.uint8), (5, 7))
    with pytest.raises(UserError, match=f'holds the values {shown}, expected 0 and 1, or'):
        read_mask(saved(tmp_path, array))


BLACK_WHITE, WHITE_BLACK = [0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0]


@pytest.mark.parametrize(
    'palette, numbers, right',
    [
        (BLACK_WHITE, MASK, True),
        (WHITE_BLACK, ~MASK, True),
        ([0, 0, 0, 128, 0, 0], MASK, True),
        ([0, 0, 0, 0, 0, 0], MASK, None),
        ([128, 0, 0, 0, 0, 0], ~MASK, False),
        ([0, 0, 0, 90, 90, 90], MASK, True),
        ([90, 90, 90, 0, 0, 0], ~MASK, False),
        ([0, 128, 0, 128, 0, 0], MASK, False),
    ],
)
def test_a_palette_is_read_by_its_colours(tmp_path, palette, numbers, right):
    image = Image.fromarray(numbers.astype(np.uint8))
    image.putpalette(palette)
    image.save(tmp_path / 'palette.png')
    if right is False:
        with pytest.raises(UserError, match='the palette of the mask is not black and white'):
            read_mask(tmp_path / 'palette.png')
    else:
        mask = read_mask(tmp_path / 'palette.png')
        np.testing.assert_array_equal(mask, MASK & (right is True))


@pytest.mark.parametrize('colour', [0, 255])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_mask_in_the_alpha_channel_is_refused(tmp_path, colour, channels):
    array = np.dstack([np.full((20, 30, channels), colour, np.uint8), MASK * np.uint8(255)])
    with pytest.raises(UserError, match='stands in the alpha channel.*-alpha extract'):
        read_mask(saved(tmp_path, array))


def test_a_transposed_mask_is_none_of_the_image():
    fit_mask(np.ones((800, 800), bool), (800, 787), mask_location='here', img_path='1.jpg')
    with pytest.raises(UserError, match='here: the mask is 787 x 800 .* is transposed'):
        fit_mask(np.ones((787, 800), bool), (800, 787), mask_location='here', img_path='1.jpg')


def test_rle_in_all_its_forms_against_pycocotools():
    rle = coco_mask.encode(np.asfortranarray(MASK.astype(np.uint8)))
    column_major = MASK.flatten(order='F').astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], column_major])))  # first run is of zeros
    runs = np.diff(np.concatenate([[0], edges, [MASK.size]])).tolist()
    size = list(rle['size'])
    text = {'size': size, 'counts': rle['counts'].decode()}
    for form in (rle, text, [text], {'size': size, 'counts': runs}, [{**rle, 'more': 1}]):
        np.testing.assert_array_equal(decode(as_rle(form, 'here'), location='here'), MASK)


@pytest.mark.parametrize(
    'segmentation, message',
    [
        ([], 'no run-length mask but a list of 0'),
        (None, 'no run-length mask but null'),
        ([[0, 0, 5, 5, 9, 9]], 'no run-length mask but a list of 6'),
        (
            {'size': [4], 'counts': 'a'},
            'size of the mask is [4], expected [height, width], two pos',
        ),
        ({'size': [0, 4], 'counts': 'a'}, 'size of the mask is [0, 4], expected [height, width]'),
        ({'size': [2, 2], 'counts': [1, 2]}, 'the run lengths sum to 3, a mask of 2 x 2'),
    ],
)
def test_no_rle(segmentation, message):
    with pytest.raises(UserError) as caught:
        as_rle(segmentation, 'record 3')
    assert message in str(caught.value) and str(caught.value).startswith('record 3: ')
