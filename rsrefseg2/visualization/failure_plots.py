"""The causes of failures by group, and how often interventions are attributed correctly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..extras import require_extra
from .drawing import QUIET, clean_axes, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours: distinct for every kind of colour vision, and in print
COLOURS = {'where': '#d55e00', 'how': '#0072b2', 'both': '#cc79a7', 'undecided': '#b8bec5'}
COLOURS |= {'invented': '#e69f00', 'lost': '#56b4e9'}  # of protocol generalised
STYLES = {
    'exchange': ('#d55e00', 'o'),
    'erode': ('#0072b2', 's'),
    'dilate': ('#56b4e9', '^'),
    'shift': ('#009e73', 'D'),
}
BREAKDOWNS = ('kind', 'level', 'category', 'length', 'size')


def plot_causes(report: Mapping[str, Any]) -> Figure:
    """Stacked bars of `ErrorReport.to_dict()`, a bar for each group of each breakdown."""
    require_extra('plots', 'a plot')
    from matplotlib.patches import Patch

    rows = _rows(report)
    figure = new_figure(7.2, 1.2 + 0.2 * len(rows))
    axes = figure.add_subplot()
    for y, (_, row) in enumerate(rows):
        if row is None:
            continue
        left = 0.0
        for cause, colour in COLOURS.items():
            axes.barh(y, row.get(cause, 0), left=left, height=0.75, color=colour)
            left += row.get(cause, 0)
        axes.annotate(
            f'n={row["samples"]}',
            (left, y),
            (4, 0),
            textcoords='offset points',
            va='center',
            fontsize=7,
            color=QUIET,
        )
    axes.set_yticks(range(len(rows)), [literal(name) for name, _ in rows], fontsize=8)
    for label, (_, row) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight('normal' if row else 'bold')
    highest = max(row['failed'] for _, row in rows if row)
    axes.set(
        xlim=(0, 1.12 * highest or 1),
        xlabel='failures (IoU at most 0.5) in % of the samples'
        if report.get('protocol', 'paper') == 'paper'
        else f'failures (protocol {report["protocol"]}) in % of the samples',
        ylim=(len(rows) - 0.4, -0.6),
    )
    axes.set_title(f'Where or how, from the {report["from"]}', loc='left')
    shown = [cause for cause in COLOURS if any(row and row.get(cause) for _, row in rows)]
    figure.legend(
        handles=[Patch(color=COLOURS[cause], label=cause) for cause in shown],
        loc='outside upper right',
        ncols=len(shown),
        frameon=False,
    )
    clean_axes(axes, 'x')
    return figure


def _rows(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    """(name, counts) of each bar; (breakdown, None) is a heading."""
    rows: list[tuple[str, Mapping[str, Any] | None]] = [('all', report)]
    for name in BREAKDOWNS:
        groups = report.get(f'by_{name}', {})
        if len(groups) > 1:
            rows += [(name, None), *groups.items()]
    return rows


def plot_interventions(measured: Mapping[str, list[Mapping[str, Any]]]) -> Figure:
    """The curves of `interventions.measure_interventions`: above, the share of an intervention's
    failures that is attributed correctly; below, how many failures it made."""
    figure = new_figure(7.2, 5)
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    for column, (definition, rows) in enumerate(measured.items()):
        for row, key in enumerate(('correct', 'failed')):
            axes = grid[row, column]
            for name, (colour, marker) in STYLES.items():
                points = [
                    (entry['pixels'], entry[key])
                    for entry in rows
                    if entry['intervention'] == name and entry[key] is not None
                ]
                axes.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    marker=marker,
                    markersize=4,
                    label=f'{name} ({"where" if name == "exchange" else "how"})',
                )
            clean_axes(axes, 'both')
            axes.set(xscale='log', ylim=(-3, 103))
        grid[0, column].axhline(95, color=QUIET, linewidth=1, linestyle=':')
        grid[0, column].set_title(f'from the {definition}')
        ticks = sorted({entry['pixels'] for entry in rows})
        grid[1, column].set_xticks(ticks[::2], [f'{tick:g}' for tick in ticks[::2]])
        grid[1, column].minorticks_off()
        grid[1, column].set_xlabel('pixels: of the change, or to the other object')
    grid[0, 0].set_ylabel('named correctly, %')
    grid[1, 0].set_ylabel('became failures, %')
    grid[0, 0].legend(loc='lower left', fontsize=8)
    return figure
