"""Images and masks in all the forms that files hold."""
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import as_rle, read_image, read_mask
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


@pytest.mark.parametrize('array', [GREY.astype(np.uint16) * 9, GREY.astype(np.float32),
                                   GREY.astype(np.int32)])
def test_deep_images_are_refused(tmp_path, array):
    with pytest.raises(UserError, match='more than 8 bits a channel'):
        read_image(saved(tmp_path, array, 'deep.tif'))


@pytest.mark.parametrize('name', ['deep.png', 'deep.tif'])
def test_deep_rgb_is_refused(tmp_path, name):
    """Pillow itself would drop the low bytes: an 11-bit image would become black."""
    cv2 = pytest.importorskip('cv2')
    path = str(tmp_path / name)
    cv2.imwrite(path, RGB.astype(np.uint16) * 8)
    with pytest.raises(UserError, match='more than 8 bits a channel'):
        read_image(path)


def test_other_modes_are_refused(tmp_path):
    with pytest.raises(UserError, match='images of mode CMYK are not read'):
        read_image(saved(tmp_path, RGB, 'cmyk.jpg', mode='CMYK'))


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="none.png': the image does not exist"):
        read_image(str(tmp_path / 'none.png'))


@pytest.mark.parametrize('array', [
    MASK, MASK.astype(np.uint8), MASK * np.uint8(255),
    np.repeat(MASK[..., None] * np.uint8(255), 3, -1),
    np.repeat(MASK[..., None] * np.uint8(1), 3, -1),
    np.concatenate([np.repeat(MASK[..., None] * np.uint8(255), 3, -1), ALPHA], -1),
    np.stack([MASK * np.uint8(255), ALPHA[..., 0]], -1)],
    ids=['bool', '0/1', '0/255', '3 x 0/255', '3 x 0/1', 'rgba', 'grey and alpha'])
def test_mask_files(tmp_path, array):
    mask = read_mask(saved(tmp_path, array))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize('value', [0, 1, 255])
def test_uniform_mask(tmp_path, value):
    mask = read_mask(saved(tmp_path, np.full((5, 7), value, np.uint8)))
    assert mask.shape == (5, 7) and mask.all() == (value > 0)


@pytest.mark.parametrize('values, shown', [((0, 127), '0, 127'), ((0, 1, 255), '0, 1, 255'),
                                           ((0, 1, 2, 3, 4), '0, 1, 2, 3, ...')])
def test_mask_of_other_values_is_refused(tmp_path, values, shown):
    array = np.resize(np.array(values, np.uint8), (5, 7))
    with pytest.raises(UserError, match=f'holds the values {shown}, expected 0 and 1, or'):
        read_mask(saved(tmp_path, array))


def test_rle_in_all_its_forms_against_pycocotools():
    rle = coco_mask.encode(np.asfortranarray(MASK.astype(np.uint8)))
    column_major = MASK.flatten(order='F').astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], column_major])))  # first run is of zeros
    runs = np.diff(np.concatenate([[0], edges, [MASK.size]])).tolist()
    size = list(rle['size'])
    text = {'size': size, 'counts': rle['counts'].decode()}
    for form in (rle, text, [text], {'size': size, 'counts': runs}, [{**rle, 'more': 1}]):
        np.testing.assert_array_equal(decode(as_rle(form, 'here'), where='here'), MASK)


@pytest.mark.parametrize('segmentation, message', [
    ([], 'no run-length mask but a list of 0'),
    (None, 'no run-length mask but null'),
    ([[0, 0, 5, 5, 9, 9]], 'no run-length mask but a list of 6'),
    ({'size': [4], 'counts': 'a'}, 'size of the mask is [4], expected [height, width], two pos'),
    ({'size': [0, 4], 'counts': 'a'}, 'size of the mask is [0, 4], expected [height, width]'),
    ({'size': [2, 2], 'counts': [1, 2]}, 'the run lengths sum to 3, a mask of 2 x 2'),
])
def test_no_rle(segmentation, message):
    with pytest.raises(UserError) as caught:
        as_rle(segmentation, 'record 3')
    assert message in str(caught.value) and str(caught.value).startswith('record 3: ')
