"""Plots and tables for a page, as HTML text: inline SVG in the page's own colours (page.html)."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

WIDTH, HEIGHT = 440, 250  # units of the drawing, which scales with the page
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 42  # margins of the axes


def curve(
    points: Sequence[tuple[float, float]], *, marks: Iterable[float], title: str, x: str, y: str
) -> str:
    """A falling or rising line over x in 0 to 1, y in 0 to 100.

    Args:
        points: (x, y), x rising.
        marks: the x of points that get a dot; its value is shown where the pointer rests on it.
    """
    path = ' '.join(f'{_x(a):.1f},{_y(b, 100):.1f}' for a, b in points)
    heights = {round(a, 9): b for a, b in points}
    dots = ''.join(
        f'<circle cx="{_x(a):.1f}" cy="{_y(heights[round(a, 9)], 100):.1f}" r="4">'
        f'<title>{a:g}: {heights[round(a, 9)]:.2f}</title></circle>'
        for a in marks
    )
    return _plot(f'<polyline points="{path}"/>{dots}', title, x, y, 100)


def histogram(counts: Sequence[int], *, title: str, x: str, y: str) -> str:
    """Bars over equal bins of 0 to 1."""
    highest = _round_up(max(counts))
    step = 1 / len(counts)
    bars = ''.join(
        f'<rect x="{_x(k * step) + 1:.1f}" y="{_y(n, highest):.1f}" '
        f'width="{_x(step) - _x(0) - 2:.1f}" height="{_y(0, highest) - _y(n, highest):.1f}">'
        f'<title>{k * step:.2f} to {(k + 1) * step:.2f}: {n}</title></rect>'
        for k, n in enumerate(counts)
    )
    return _plot(bars, title, x, y, highest)


def bar_table(
    rows: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    *,
    title: str,
    head: str,
    bar: str,
) -> str:
    """A line per group of scores in percent, two decimals, counts as they are; column `bar` also as
    a bar."""
    names = ''.join(f'<th scope="col">{html.escape(readable(column))}</th>' for column in columns)
    lines = ''.join(
        f'<tr><th scope="row">{html.escape(group)}</th>'
        + ''.join(_cell(row.get(column), bar=column == bar) for column in columns)
        + '</tr>'
        for group, row in rows.items()
    )
    return (
        f'<section><h2>{html.escape(title)}</h2><div class="wide"><table>'
        f'<thead><tr><th scope="col">{html.escape(head)}</th>{names}</tr></thead>'
        f'<tbody>{lines}</tbody></table></div></section>'
    )


def readable(name: str) -> str:
    """A score's name as words."""
    return name.replace('_', ' ')


def _cell(value: float | None, *, bar: bool) -> str:
    if value is None:
        return '<td>-</td>'
    text = str(value) if isinstance(value, int) else f'{value:.2f}'
    if not bar or math.isnan(value):
        return f'<td>{text}</td>'
    return f'<td class="bar" style="--share:{value / 100:.4f}">{text}</td>'


def _plot(body: str, title: str, x: str, y: str, highest: float) -> str:
    """Axes with ticks around `body`."""
    ticks = ''.join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(v, highest):.1f}" '
        f'y2="{_y(v, highest):.1f}"/><text x="{LEFT - 6}" y="{_y(v, highest) + 4:.1f}" '
        f'text-anchor="end">{v:g}</text>'
        for v in (k * highest / 4 for k in range(5))
    )
    ticks += ''.join(
        f'<text x="{_x(k / 5):.1f}" y="{HEIGHT - BOTTOM + 16}" '
        f'text-anchor="middle">{k / 5:g}</text>'
        for k in range(6)
    )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    names = (
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f'{html.escape(x)}</text><text x="10" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 10 {middle})">{html.escape(y)}</text>'
    )
    title = html.escape(title, quote=True)
    return (
        f'<section class="plot"><h2>{title}</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{title}">{ticks}{body}{names}</svg></section>'
    )


def _x(value: float) -> float:
    return LEFT + value * (WIDTH - LEFT - RIGHT)


def _y(value: float, highest: float) -> float:
    return HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM)


def _round_up(count: int) -> int:
    """The next of 4, 8, 12, 16, 20, 28, 40, 80 ...: four whole steps."""
    unit = 1
    while True:
        for digit in (4, 8, 12, 16, 20, 28):
            if digit * unit >= count:
                return digit * unit
        unit *= 10
