"""Charts of counts as inline SVG in the page's own colours: bars with labels, and maps."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 400, 200, 8, 34, 18


def columns(labels: Sequence[str], counts: Sequence[float]) -> str:
    """Upright bars with a label below each (of many, some) and the largest count above its bar."""
    if not len(counts):
        return ''
    step = (WIDTH - 2 * LEFT) / len(counts)
    top, scale = max(counts), (HEIGHT - TOP - BOTTOM) / (max(counts) or 1)
    every = -(-max(len(label) for label in labels) * 7 // max(1, int(step))) or 1
    parts = []
    for i, (label, count) in enumerate(zip(labels, counts, strict=True)):
        x, bar = LEFT + i * step, count * scale
        middle = x + step / 2
        parts.append(
            f'<rect x="{x + 0.5:.1f}" y="{HEIGHT - BOTTOM - bar:.1f}" '
            f'width="{max(1, step - 1):.1f}" height="{bar:.1f}"><title>'
            f'{html.escape(label)}: {count:g}</title></rect>'
        )
        if i % every == 0:
            parts.append(
                f'<text x="{middle:.1f}" y="{HEIGHT - BOTTOM + 15}" '
                f'text-anchor="middle">{html.escape(label)}</text>'
            )
        if count == top:
            anchor = 'start' if i == 0 else 'end' if i == len(counts) - 1 else 'middle'
            parts.append(
                f'<text x="{middle:.1f}" y="{TOP - 5}" text-anchor="{anchor}">{count:g}</text>'
            )
            top = None  # of equal ones, the first
    return _svg(HEIGHT, parts)


def bars(labels: Sequence[str], counts: Sequence[float]) -> str:
    """Lying bars, one line each: the label before it, the count behind."""
    line, start = 17, 175
    scale = (WIDTH - start - 55) / (max(counts, default=0) or 1)
    parts = []
    for i, (label, count) in enumerate(zip(labels, counts, strict=True)):
        y = i * line
        parts.append(
            f'<text x="{start - 6}" y="{y + 12}" text-anchor="end">{html.escape(label)}'
            f'</text><rect x="{start}" y="{y + 2}" width="{max(1, count * scale):.1f}" '
            f'height="{line - 4}"/><text x="{start + count * scale + 5:.1f}" '
            f'y="{y + 12}">{count:g}</text>'
        )
    return _svg(line * len(counts), parts)


def heat(values: np.ndarray, *, side: int = 260) -> str:
    """A map (rows, columns) of values from 0: the higher, the more opaque."""
    rows, columns = values.shape
    cell, top = side / max(rows, columns), float(values.max()) or 1.0
    parts = [
        f'<rect class="frame" x="0" y="0" width="{columns * cell:.0f}" height="{rows * cell:.0f}"/>'
    ]
    parts += [
        f'<rect x="{c * cell:.2f}" y="{r * cell:.2f}" width="{cell:.2f}" '
        f'height="{cell:.2f}" opacity="{values[r, c] / top:.2f}"/>'
        for r in range(rows)
        for c in range(columns)
        if values[r, c] > 0.004 * top
    ]
    return _svg(rows * cell, parts, width=columns * cell)


def _svg(height: float, parts: list[str], *, width: float = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">{"".join(parts)}</svg>'
    )
