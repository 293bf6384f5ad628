"""Plots and tables of a page: well-formed, and as high and as wide as their numbers say."""

import ast
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from rsrefseg2 import visualization
from rsrefseg2.errors import UserError
from rsrefseg2.visualization import bar_table, curve, histogram, plot_section
from rsrefseg2.visualization.drawing import PAGE_COLOURS, new_figure
from rsrefseg2.visualization.plots import bars, columns, density

from .test_panel import EVIL, Reader


def shapes(svg):
    """[(x, y) of its corners] of each path in the accent colour, in the order of drawing."""
    found = []
    for path, style in re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*)"', svg):
        if 'var(--accent)' in style and 'L' in path:
            points = re.findall(r'[ML] ([\d.-]+) ([\d.-]+)', path)
            found.append(np.array(points, float))
    return found


def heights(svg):
    return [np.ptp(shape[:, 1]) for shape in shapes(svg)]


def test_a_curve_lies_where_its_numbers_are():
    points = [(k / 10, 100 - 10 * k) for k in range(11)]
    svg = curve(points, marks=[0.5, 0.9], title=EVIL, x='X', y='%')
    read = Reader(plot_section(svg, title=EVIL))
    line = shapes(svg)[0]
    assert len(line) == 11
    np.testing.assert_allclose(line, np.linspace(line[0], line[-1], 11), atol=1e-3)
    assert (line[-1] > line[0]).all()  # to the right and, as y counts downwards, down
    assert len(read.all('use')) >= 2 and {'50.0', '10.0'} <= set(read.text['text'])
    assert read.text['h2'] == [EVIL] and read.all('svg')[0]['aria-label'] == EVIL


@pytest.mark.parametrize('counts', [[0, 3, 1], [5], [112, 30], [0, 0], [2001, 9]])
def test_bars_are_as_high_as_their_counts(counts):
    drawn = heights(histogram(counts, title='t', x='IoU', y='samples'))
    assert len(drawn) == len(counts)
    largest = max(counts) or 1
    for height, count in zip(drawn, counts, strict=True):
        assert height / (max(drawn) or 1) == pytest.approx(count / largest, abs=1e-4)


def test_charts_of_counts():
    labels, counts = ['1', '<b>', '$3$'], [4, 0, 8]
    upright, lying = columns(labels, counts, title='t'), bars(labels, counts, title='t')
    assert heights(upright)[2] == pytest.approx(2 * heights(upright)[0]) and not heights(upright)[1]
    widths = [np.ptp(shape[:, 0]) for shape in shapes(lying)]
    assert widths[2] == pytest.approx(2 * widths[0]) and not widths[1]
    for svg in (upright, lying):
        assert Reader(svg).text['text'].count('8') == 1  # the largest count is written out
        assert '<b>' not in svg and '$3$' in svg
    assert len(Reader(density(np.eye(4), title='t')).all('image')) == 1


def test_a_plot_belongs_into_a_page():
    one, other = (curve([(0, 1), (1, 2)], marks=[1], title=t, x='', y='') for t in 'ab')
    assert one == curve([(0, 1), (1, 2)], marks=[1], title='a', x='', y='')  # no date, no chance
    assert 'http' not in one and not any(colour in one for colour in PAGE_COLOURS)
    ids = [re.findall(r' id="([^"]*)"', svg) for svg in (one, other)]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    assert set(re.findall(r'#([\w-]+)["\')]', one)) == set(ids[0])


def test_matplotlib_is_imported_late():
    """Panels of a prediction or a training need none."""
    folder = Path(visualization.__file__).parent
    for path in folder.glob('*.py'):
        for statement in ast.parse(path.read_text(encoding='utf-8')).body:
            names = [name.name for name in getattr(statement, 'names', ())]
            origin = getattr(statement, 'module', None) or ''
            assert not any(name.startswith('matplotlib') for name in (*names, origin)), path


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(UserError, match=r'rsrefseg2\[plots\]'):
        new_figure(1, 1)


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
    (box,) = read.all('div')
    assert box['class'] == 'wide' and box['tabindex'] == '0'  # it scrolls, by keyboard as well
