"""Plots and tables of a page: well-formed, and as high and as wide as their numbers say."""

import math
import re

import pytest

from rsrefseg2.visualization import bar_table, curve, histogram
from rsrefseg2.visualization.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

from .test_panel import EVIL, Reader


def test_a_curve_lies_where_its_numbers_are():
    points = [(k / 10, 100 - 10 * k) for k in range(11)]
    read = Reader(curve(points, marks=[0.5, 0.9], title=EVIL, x='X', y='%'))
    (line,) = read.all('polyline')
    drawn = [tuple(map(float, point.split(','))) for point in line['points'].split()]
    assert drawn[0] == (LEFT, TOP) and drawn[-1] == (WIDTH - RIGHT, HEIGHT - BOTTOM)
    assert drawn[5] == ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)
    assert [float(dot['cx']) for dot in read.all('circle')] == [drawn[5][0], drawn[9][0]]
    assert read.text['title'] == ['0.5: 50.00', '0.9: 10.00'] and read.text['h2'] == [EVIL]
    assert read.all('svg')[0]['aria-label'] == EVIL


@pytest.mark.parametrize(
    'counts, highest', [([0, 3, 1], 4), ([5], 8), ([112, 30], 120), ([0, 0], 4), ([2001, 9], 2800)]
)
def test_bars_are_as_high_as_their_counts(counts, highest):
    read = Reader(histogram(counts, title='t', x='IoU', y='samples'))
    full = HEIGHT - TOP - BOTTOM
    heights = [float(bar['height']) for bar in read.all('rect')]
    assert heights == pytest.approx([full * n / highest for n in counts], abs=0.06)
    assert f'{highest}' in read.text['text']
    assert all(
        float(bar['y']) + float(bar['height']) == pytest.approx(HEIGHT - BOTTOM, abs=0.11)
        for bar in read.all('rect')
    )


def test_a_table_has_a_line_per_group():
    rows = {
        EVIL: dict(gIoU=51.239, samples=3),
        'b': dict(gIoU=math.nan, samples=12, object_hit=7.0),
    }
    text = bar_table(
        rows, ('samples', 'gIoU', 'object_hit'), title='By size', head='size', bar='gIoU'
    )
    read = Reader(text)
    assert read.text['th'] == ['size', 'samples', 'gIoU', 'object hit', EVIL, 'b']
    assert read.text['td'] == ['3', '51.24', '-', '12', 'nan', '7.00']
    assert re.findall(r'--share:([\d.]+)', text) == ['0.5124']  # what is no number has no bar
