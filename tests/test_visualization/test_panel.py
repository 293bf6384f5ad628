"""The panel and the page: shapes, what is drawn where, and a page that needs nothing else."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from rsrefseg2.visualization import Case, page, panel, write_page
from rsrefseg2.visualization.panel import (
    CAPTION,
    GAP,
    GREEN,
    LARGEST,
    ORANGE,
    draw_tiles,
    iou,
    overlay,
)

GREY = np.full((40, 60, 3), 128, np.uint8)
LEFT = np.zeros((40, 60), bool)
LEFT[10:30, 5:25] = True
TILE = 120  # the image is 120 x 80 there


def tiles(sheet, n=4):
    """The tiles of a panel without a heading."""
    top, width = GAP + CAPTION, TILE + GAP
    return [sheet[top:-GAP, GAP + i * width : GAP + i * width + TILE] for i in range(n)]


def draw(**kwargs):
    return panel(kwargs.pop('image', GREY), '', tile=TILE, **kwargs)


def test_each_column_shows_its_own():
    dense = np.full((8, 8), -20.0)
    dense[:, 6:] = 20
    sheet = draw(pred_mask=~LEFT, gt_mask=LEFT, dense_prompt=dense)
    assert sheet.dtype == np.uint8 and sheet.shape == (
        80 + CAPTION + 2 * GAP,
        4 * (TILE + GAP) + GAP,
        3,
    )
    image, gt, heat, pred = tiles(sheet)
    assert (image == 128).all()
    inside, outside = (40, 30), (40, 90)  # row, column
    tint = 0.55 * 128 + 0.45 * np.array(GREEN)
    assert np.allclose(gt[inside], tint, atol=1) and (gt[outside] == 128).all()
    assert np.allclose(pred[outside], 0.55 * 128 + 0.45 * np.array(ORANGE), atol=1)
    assert (pred[inside] == 128).all()
    assert heat[40, 115, 0] > heat[40, 115, 2] and heat[40, 5, 0] < heat[40, 115, 0]


def test_dense_prompt_is_a_probability_or_stretched():
    saturated = -30 + np.mgrid[:8, :8][1] / 10
    flat = tiles(draw(dense_prompt=saturated))[1]
    stretched = tiles(draw(dense_prompt=saturated, dense_range='stretched'))[1]
    assert np.ptp(flat.reshape(-1, 3), axis=0).max() == 0
    assert np.ptp(stretched.reshape(-1, 3), axis=0).max() > 50
    huge = draw(dense_prompt=np.array([[-1e4, 1e4]]))  # no overflow
    assert tiles(huge)[1].std() > 10


@pytest.mark.parametrize('missing', ['pred_mask', 'gt_mask', 'dense_prompt'])
def test_a_missing_part_has_no_column(missing):
    parts = dict(pred_mask=LEFT, gt_mask=LEFT, dense_prompt=np.zeros((4, 4)))
    whole, part = draw(**parts), draw(**dict(parts, **{missing: None}))
    assert part.shape[1] == whole.shape[1] - TILE - GAP
    order = {'': 0, 'gt_mask': 1, 'dense_prompt': 2, 'pred_mask': 3}
    kept = [number for name, number in order.items() if name != missing]
    for number, tile in zip(kept, tiles(part, 3), strict=True):
        assert (tile == tiles(whole)[number]).all()


def test_without_ground_truth_the_tiles_have_the_pictures_size():
    def sizes(side, **parts):
        image, mask = np.zeros((side, side // 2, 3), np.uint8), np.zeros((side, side // 2), bool)
        parts = {name: mask for name in ('pred_mask', *parts)}
        return {picture.shape[:2] for _, picture in draw_tiles(image, **parts)}

    assert sizes(800) == {(800, 400)}
    assert sizes(40) == {(320, 160)}
    assert sizes(4 * LARGEST) == {(LARGEST, LARGEST // 2)}
    assert sizes(800, gt_mask=True) == {(320, 160)}


def test_a_closer_look_is_its_own_tile():
    """A square look in the middle of a tile of the image's shape, its mask tinted."""
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    closer = np.full((10, 10, 3), 60, np.uint8), mask
    (*_, (caption, tile)) = draw_tiles(GREY, pred_mask=LEFT, closer=closer, tile=TILE)
    assert caption == 'Closer look' and tile.shape == (80, 120, 3)
    assert (tile[:, :20] == 255).all() and (tile[:, 100:] == 255).all()
    assert (tile[60:78, 40:80] == 60).all()  # looked at and not found
    assert np.abs(tile[10:25, 40:80] - (0.55 * 60 + 0.45 * np.array(ORANGE))).max() <= 1


def test_tensors_are_accepted_and_nothing_is_changed():
    image, mask = torch.from_numpy(GREY.copy()), torch.from_numpy(LEFT.copy())
    sheet = draw(image=image, pred_mask=mask, gt_mask=mask, dense_prompt=torch.zeros(4, 4))
    assert (sheet == draw(pred_mask=LEFT, gt_mask=LEFT, dense_prompt=np.zeros((4, 4)))).all()
    assert (image.numpy() == GREY).all() and (mask.numpy() == LEFT).all()


@pytest.mark.parametrize('shape', [(1, 1), (1, 300), (300, 1), (7, 5), (900, 700)])
def test_any_size_has_room_for_its_captions(shape):
    mask = np.zeros(shape, bool)
    mask[shape[0] // 2, shape[1] // 2] = True
    image = np.full((*shape, 3), 90, np.uint8)
    sheet = panel(image, 'x', pred_mask=mask, gt_mask=mask, tile=TILE)
    assert sheet.shape[1] == 3 * (TILE + GAP) + GAP


def test_one_pixel_of_a_large_image_is_seen():
    mask = np.zeros((2000, 3000), bool)
    mask[1000, 1500] = True
    gt = tiles(draw(image=np.full((2000, 3000, 3), 90, np.uint8), gt_mask=mask))[1]
    assert (gt == GREEN).all(axis=2).sum() >= 8


def test_outline_does_not_cover_the_mask():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    drawn = overlay(np.zeros((9, 9, 3), np.uint8), mask, (0, 200, 0), alpha=0.5)
    assert tuple(drawn[4, 4]) == (0, 100, 0) and tuple(drawn[4, 5]) == (0, 200, 0)
    assert (drawn[4, 6] > 240).all() and tuple(drawn[4, 8]) == (0, 0, 0)


@pytest.mark.parametrize('colour', [GREEN, ORANGE])
@pytest.mark.parametrize('ground', [(0, 0, 0), (128, 128, 128), (255, 255, 255), GREEN, ORANGE])
def test_outline_shows_on_any_ground(ground, colour):
    """A step of WCAG's contrast 4.5 : 1 lies on the way out of the mask."""

    def luminance(pixel):
        linear = np.where((v := pixel / 255) > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)
        return linear @ (0.2126, 0.7152, 0.0722) + 0.05

    image = np.full((40, 60, 3), ground, np.uint8)
    way = [luminance(pixel) for pixel in overlay(image, LEFT, colour)[20, 24:32]]
    assert max(max(a, b) / min(a, b) for a, b in zip(way, way[1:], strict=False)) > 4.5


def test_long_sentences_wrap():
    heights = [panel(GREY, text, tile=TILE).shape[0] for text in ('car', 'car ' * 60, 'c' * 240)]
    assert heights[0] < heights[1] and heights[0] < heights[2]


def test_iou():
    assert iou(LEFT, LEFT) == 1 and iou(LEFT, ~LEFT) == 0 and iou(LEFT & False, LEFT & False) == 0


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(image=GREY[..., 0]), 'image must be'),
        (dict(image=GREY / 255), 'image must be'),
        (dict(pred_mask=LEFT.T), r'pred_mask is \(60, 40\), the image is \(40, 60\)'),
        (dict(gt_mask=LEFT[:5]), 'gt_mask'),
        (dict(dense_prompt=np.zeros(4)), 'dense_prompt must be'),
    ],
)
def test_wrong_shapes_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        draw(**wrong)


class Reader(HTMLParser):
    """Collects elements and checks that they are closed."""

    VOID = {'meta', 'img', 'input', 'br'}

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.setdefault(self.open[-1] if self.open else '', []).append(data)

    def all(self, name):
        return [attrs for tag, attrs in self.elements if tag == name]


EVIL = '</q><script>alert("1")</script> & the ship\'s $title'


def cases():
    return [
        Case(GREY, 'the car', LEFT, LEFT, np.zeros((4, 4)), '7', 'position'),
        Case(GREY, EVIL, ~LEFT, LEFT, None, '8', 'relation'),
        Case(GREY, 'no truth', LEFT),
    ]


def test_page_is_whole_and_self_contained(tmp_path):
    write_page(tmp_path / 'index.html', cases(), title='A <title>', note='n', scores={'gIoU': 50})
    text = (tmp_path / 'index.html').read_text(encoding='utf-8')
    read = Reader(text)
    assert len(read.all('figure')) == 3 and len(read.all('script')) == 1
    assert [f['data-iou'] for f in read.all('figure')] == ['1.0', '0.0', '']
    assert [f['data-group'] for f in read.all('figure')] == ['position', 'relation', '']
    assert read.text['q'][1] == EVIL and read.text['h1'] == ['A <title>']
    assert 'gIoU' in read.text['dt'] and '50.00' in read.text['dd']
    assert not re.search(r'(src|href)="(?!data:)', text) and 'http' not in text
    for image in read.all('img'):
        picture = Image.open(io.BytesIO(base64.b64decode(image['src'].split(',')[1])))
        assert picture.size == (int(image['width']), int(image['height']))


def test_page_without_groups_hides_their_filter():
    read = Reader(page([Case(GREY, 'a', LEFT)], title='t'))
    assert [label for label in read.all('label') if 'hidden' in label]
    assert not [
        label for label in Reader(page(cases(), title='t')).all('label') if 'hidden' in label
    ]
