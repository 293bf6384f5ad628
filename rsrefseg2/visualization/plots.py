"""Plots for a page, drawn by matplotlib, as SVG text in the page's own colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .drawing import ACCENT, EDGE, QUIET, clean_axes, literal, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 4.6, 2.7  # inches; the page scales the drawing


def curve(
    points: Sequence[tuple[float, float]], *, marks: Iterable[float], title: str, x: str, y: str
) -> str:
    """A line over x in 0 to 1, y in percent.

    Args:
        points: (x, y), x rising.
        marks: the x of points that get a dot with its value beside it.
        title: what the plot shows.
        x, y: the names of the axes.
    """
    figure, axes = _plot(x, y)
    axes.plot(*zip(*points, strict=True), color=ACCENT, linewidth=2, clip_on=False)
    heights = {round(a, 9): b for a, b in points}
    dots = [(mark, heights[round(mark, 9)]) for mark in marks]
    axes.plot(*zip(*dots, strict=True), 'o', color=ACCENT, clip_on=False)
    for a, b in dots:
        axes.annotate(
            f'{b:.1f}', (a, b), (6, 4), textcoords='offset points', color=QUIET, fontsize=9
        )
    axes.set(xlim=(0, 1), ylim=(0, 100))
    return to_svg(figure, label=title)


def histogram(counts: Sequence[int], *, title: str, x: str, y: str) -> str:
    """Bars over equal bins of 0 to 1, at least one.

    Args:
        counts: of each bin.
        title: what the plot shows.
        x, y: the names of the axes.
    """
    figure, axes = _plot(x, y)
    step = 1 / len(counts)
    left = [k * step for k in range(len(counts))]
    axes.bar(left, counts, width=0.9 * step, align='edge', color=ACCENT)
    axes.locator_params(axis='y', nbins=5, integer=True)
    axes.set(xlim=(0, 1), ylim=(0, 1.05 * max(*counts, 1)))
    return to_svg(figure, label=title)


def columns(labels: Sequence[str], counts: Sequence[float], *, title: str) -> str:
    """Upright bars with a label below each (of many, some) and the largest count above its bar."""
    figure, axes = _plot('', '')
    bars = axes.bar(range(len(counts)), counts, width=0.94, color=ACCENT)
    largest = int(np.argmax(counts))
    texts = [f'{count:g}' if k == largest else '' for k, count in enumerate(counts)]
    axes.bar_label(bars, texts, color=QUIET, fontsize=9, padding=2)
    every = -(-sum(len(label) + 1 for label in labels) // 48)
    ticks = range(0, len(labels), every)
    axes.set_xticks(ticks, [literal(labels[k]) for k in ticks])
    _bare(axes, keep='bottom')
    return to_svg(figure, label=title)


def bars(labels: Sequence[str], counts: Sequence[float], *, title: str) -> str:
    """Lying bars, one line each: the label before it, the count behind."""
    figure, axes = _plot('', '', height=0.3 + 0.2 * len(counts))
    drawn = axes.barh(range(len(counts)), counts, height=0.75, color=ACCENT)
    axes.bar_label(drawn, [f'{count:g}' for count in counts], color=QUIET, fontsize=9, padding=3)
    axes.set_yticks(range(len(labels)), [literal(label) for label in labels])
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=(0, 1.15 * max(*counts, 1)))
    _bare(axes, keep='left')
    return to_svg(figure, label=title)


def density(values: np.ndarray, *, title: str) -> str:
    """A map (rows, columns) of values from 0: the higher, the more opaque."""
    figure = new_figure(3.4, 3.4 * values.shape[0] / values.shape[1])
    from matplotlib.colors import to_rgb

    axes = figure.add_subplot()
    picture = np.empty((*values.shape, 4))
    picture[..., :3] = to_rgb(ACCENT)
    picture[..., 3] = values / (values.max() or 1)
    axes.imshow(picture, interpolation='none')
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(EDGE)
    return to_svg(figure, label=title)


def _plot(x: str, y: str, *, height: float = SIZE[1]) -> tuple[Figure, Axes]:
    """A figure with one pair of axes in the page's colours."""
    figure = new_figure(SIZE[0], height)
    axes = figure.add_subplot()
    clean_axes(axes, 'y')
    axes.spines[['left', 'bottom']].set_color(EDGE)
    axes.tick_params(colors=QUIET, labelsize=9, length=0)
    axes.set_xlabel(literal(x), color=QUIET)
    axes.set_ylabel(literal(y), color=QUIET)
    return figure, axes


def _bare(axes: Axes, *, keep: str) -> None:
    """Bars that carry their counts need no grid and no second axis."""
    axes.grid(visible=False)
    other = 'left' if keep == 'bottom' else 'bottom'
    axes.spines[other].set_visible(False)
    axis = axes.yaxis if keep == 'bottom' else axes.xaxis
    axis.set_ticklabels([])
