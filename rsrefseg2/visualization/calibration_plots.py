"""The reliability diagram, and N-acc and T-acc over the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .drawing import ACCENT, QUIET, clean_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECOND = '#0072b2'


def plot_calibration(report: Mapping[str, Any], threshold: float) -> Figure:
    """Left: the share of right masks by confidence, with the number of answers; right: N-acc and
    T-acc over the threshold of presence.

    Args:
        report: `CalibrationReport.to_dict()`.
        threshold: the chosen one, marked.
    """
    figure = new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    _draw_reliability(left, report)
    points = report['curve']
    for place, (name, colour) in enumerate((('N-acc', ACCENT), ('T-acc', SECOND)), start=1):
        line = [(point[0], point[place]) for point in points if point[place] is not None]
        right.plot(*zip(*line, strict=True), color=colour, linewidth=2, label=name)
    right.axvline(threshold, color=QUIET, linewidth=1, linestyle=':')
    right.set(xlim=(0, 1), ylim=(0, 102), xlabel='threshold of presence', ylabel='%')
    right.set_title(f'found from {threshold:.2f} on', loc='left')
    right.legend(frameon=False, loc='lower center')
    clean_axes(right, 'both')
    return figure


def _draw_reliability(axes: Axes, report: Mapping[str, Any]) -> None:
    bins = [one for one in report['bins'] if one['samples']]
    total = sum(one['samples'] for one in bins)
    axes.plot((0, 100), (0, 100), color=QUIET, linewidth=1, linestyle=':')
    axes.bar(
        [100 * one['low'] for one in bins],
        [100 * one['samples'] / total for one in bins],
        width=[95 * (one['high'] - one['low']) for one in bins],
        align='edge',
        color=QUIET,
        alpha=0.25,
        label='answers, %',
    )
    axes.plot(
        [100 * one['confidence'] for one in bins],
        [100 * one['right'] for one in bins],
        'o-',
        color=ACCENT,
        linewidth=2,
        label='IoU above 0.5, %',
    )
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel='confidence, %', ylabel='%')
    axes.set_title(f'ECE {report["ECE"]:.1f} %, AUROC {report["AUROC"]:.1f} %', loc='left')
    axes.legend(frameon=False, loc='upper left')
    clean_axes(axes, 'both')
