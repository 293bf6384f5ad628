"""The grids for print: what is drawn where, that text stays text, and that nothing overflows."""

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.visualization import GREEN, Row, Tile, grid, save

IMAGE = np.full((30, 40, 3), 128, np.uint8)
MASK = np.zeros((30, 40), bool)
MASK[10:20, 10:30] = True
LONG = 'the storage tank on the left of the ship that costs $5 and $6, ' * 4


def rows():
    return [
        Row('a car', [Tile(IMAGE), Tile(IMAGE, MASK, GREEN)]),
        Row(LONG, [Tile(IMAGE, values=np.eye(4)), Tile(IMAGE, MASK, note='IoU 50.0 %')]),
    ]


def test_text_is_whole_and_inside(tmp_path):
    figure = grid(rows(), ['Image', 'A model with a rather long name'], width=3.5)
    texts = [text.get_text() for text in figure.texts]
    assert 'a car' in texts and 'IoU 50.0 %' in texts and 'Image' in texts
    words = ' '.join(texts)
    assert LONG.strip() in words and 'A model with a rather long name' in words
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text


def test_pictures_are_at_the_resolution_of_print(tmp_path):
    png, pdf = save(grid(rows(), ['Image', 'Mask'], width=3.5), tmp_path / 'fig.1')
    assert (png.name, pdf.name) == ('fig.1.png', 'fig.1.pdf')
    drawn = np.asarray(Image.open(png).convert('RGB')).astype(int)
    assert drawn.shape[1] == 1050
    tile = round((3.5 - 0.04) / 2 * 300)
    green = abs(drawn - (0.55 * 128 + 0.45 * np.array(GREEN))).max(axis=2) <= 2
    # a third of the mask's tile in height and half of it in width, in the right column alone
    assert green.sum() == pytest.approx(tile * tile * 3 / 4 / 3 / 2, rel=0.05)
    assert not green[:, :tile].any()
    content = pdf.read_bytes()
    assert content.count(b'/Subtype /Image') == 4
    assert b'/FontFile2' in content and b'/Type3' not in content  # TrueType, embedded
    assert (
        save(grid(rows(), ['Image', 'Mask'], width=3.5), tmp_path / 'again')[1].read_bytes()
        == content
    )


def test_images_of_other_shapes_do_not_overlap():
    tall = np.full((90, 30, 3), 60, np.uint8)
    figure = grid([Row('a', [Tile(tall), Tile(tall)]), *rows()], ['Image', 'Mask'])
    boxes = [axes.get_position() for axes in figure.axes]
    width, height = figure.get_size_inches()
    for box, shape in zip(boxes, [tall.shape] * 2 + [IMAGE.shape] * 4):
        ratio = box.height * height / (box.width * width)
        assert ratio == pytest.approx(shape[0] / shape[1], rel=0.01)
    assert boxes[0].y0 > boxes[2].y1 and boxes[2].y0 > boxes[4].y1
    assert boxes[0].x1 < boxes[1].x0


def test_rows_fit_the_heads():
    with pytest.raises(ValueError, match='3 columns, but rows of'):
        grid(rows(), ['a', 'b', 'c'])
    with pytest.raises(ValueError, match='2 columns'):
        grid([], ['a', 'b'])
