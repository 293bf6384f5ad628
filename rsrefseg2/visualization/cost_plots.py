"""How the cost of a pass grows, as lines by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..extras import require_extra
from .drawing import QUIET, clean_axes, literal, new_figure
from .training_curves import COLOURS, DASHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Growth(NamedTuple):
    """The cost along one axis."""

    axis: str  # its name, for people
    values: Sequence[int]
    parts: Mapping[str, Sequence[float]]  # milliseconds at each value; `total` among them
    sentences: Sequence[int]  # asked at each value


def plot_growth(growths: Sequence[Growth], *, title: str) -> Figure:
    """A row for each axis: milliseconds of a pass by part, and milliseconds a sentence.

    Raises:
        UserError: matplotlib is not installed.
    """
    require_extra('plots', 'a plot')
    figure = new_figure(9, 3.1 * len(growths) + 0.4)
    rows = figure.subplots(len(growths), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), growth in zip(rows, growths, strict=True):
        for number, (name, milliseconds) in enumerate(growth.parts.items()):
            whole = name == 'total'
            left.plot(
                growth.values,
                milliseconds,
                color='black' if whole else COLOURS[number % (len(COLOURS) - 1)],
                linestyle=DASHES[0 if whole else number // (len(COLOURS) - 1) % len(DASHES)],
                linewidth=2.2 if whole else 1.4,
                marker='o',
                markersize=3,
                label=literal(name),
            )
        each = [a / b for a, b in zip(growth.parts['total'], growth.sentences, strict=True)]
        right.plot(growth.values, each, color='black', linewidth=2.2, marker='o', markersize=3)
        _finish(left, growth, 'ms a pass')
        _finish(right, growth, 'ms a sentence')
        left.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    figure.suptitle(literal(title), fontsize=10, x=0.01, ha='left')
    return figure


def _finish(axes: Axes, growth: Growth, what: str) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_xscale('log', base=2)
    axes.set_yscale('log')
    axes.set_xticks(growth.values, [str(value) for value in growth.values])
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
    axes.set_xlabel(growth.axis, color=QUIET, fontsize=9)
    axes.set_title(what, loc='left', fontsize=9)
    axes.tick_params(which='both', labelsize=8)
    clean_axes(axes, 'both')
