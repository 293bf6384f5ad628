"""One or several runs as curves, from the scalars.json that a run writes at each of its starts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError, suggest
from ..extras import require_extra
from ..files import read_text
from .drawing import clean_axes, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, without the yellow that paper swallows; further runs repeat them, dashed.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000')
DASHES = ('-', '--', ':')
# What is drawn unless asked otherwise: names, or the beginnings of names.
DEFAULT = (
    'train/loss',
    'train/loss_*',
    'train/grad_norm',
    'train/lr',
    'val/gIoU',
    'val/cIoU',
    'train/images_per_s',
    'train/data_share',
    'train/mfu',
)
UNITS = {'val/gIoU': '%', 'val/cIoU': '%', 'train/peak_gib': 'GiB'}
NOT_VALUES = ('step', 'iter', 'epoch')
COLUMNS = 3


class Run(NamedTuple):
    """What a run logged."""

    name: str
    curves: dict[str, dict[int, float]]  # 'train/loss', 'val/gIoU' -> iterations done -> value


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """`read_run` of each; runs of one name get the path that they were given by."""
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    return [
        run._replace(name=str(path)) if names.count(run.name) > 1 else run
        for run, path in zip(runs, paths, strict=True)
    ]


def read_run(path: str | Path) -> Run:
    """A work dir with one folder per start, or one scalars.json.

    What a later start did again replaces what an earlier one had from that step on.

    Raises:
        UserError: there is no log, or a line of it cannot be read.
    """
    path = Path(path)
    files = (
        [path]
        if path.is_file()
        else sorted(path.glob('*/vis_data/scalars.json'))
        or (sorted(path.glob('vis_data/scalars.json')) or sorted(path.glob('scalars.json')))
    )
    if not files:
        raise UserError(
            f'{path} holds no log of a run (*/vis_data/scalars.json): give the '
            '--work-dir of tools/train.py'
            if path.exists()
            else f'{path} does not exist: give the --work-dir of tools/train.py'
        )
    curves: dict[str, dict[int, float]] = {}
    for file in files:
        begun: set[str] = set()
        for phase, step, values in _lines(file):
            if phase not in begun:
                begun.add(phase)
                for name, curve in curves.items():
                    if name.startswith(f'{phase}/'):
                        for later in [known for known in curve if known >= step]:
                            del curve[later]
            for name, value in values.items():
                curves.setdefault(f'{phase}/{name}', {})[step] = value
    if not any(curves.values()):
        raise UserError(
            f'{files[0]} holds no value yet: the run has not reached its first log '
            '(default_hooks.logger.interval)'
        )
    return Run(path.resolve().name if path.is_dir() else path.name, curves)


def _lines(file: Path) -> Iterator[tuple[str, int, dict[str, float]]]:
    """(phase, step, values) of each line; a last one that was cut off is left out."""
    lines = read_text(file, what='the log').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
            step = int(found['step'])
            values = {
                name: float(value)
                for name, value in found.items()
                if name not in NOT_VALUES and isinstance(value, (int, float))
            }
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            if number == len(lines) and number > 1:
                return  # the process died while it wrote
            raise UserError(
                f'{file}, line {number} is no line of a log of tools/train.py: give '
                "a run's work dir, or its scalars.json"
            ) from None
        yield 'train' if 'iter' in found else 'val', step, values


def choose(runs: Sequence[Run], keys: Sequence[str] | None = None) -> list[str]:
    """Full names of the curves to draw: those of `keys` (`loss`, `val/time`, `loss_*`), or the
    defaults that any of the runs has.

    Raises:
        UserError: no run has one of `keys`.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.curves))
    chosen: list[str] = []
    for key in keys or DEFAULT:
        names = [key] if key in known or '/' in key else [f'train/{key}', f'val/{key}']
        found = [
            name
            for wanted in names
            for name in known
            if name == wanted or (wanted.endswith('*') and name.startswith(wanted[:-1]))
        ]
        if keys and not found:
            short = [name.partition('/')[2] for name in known]
            raise UserError(
                f'no run logged {key!r}{suggest(key, [*short, *known])}; there are '
                f'{", ".join(sorted(known))}'
            )
        chosen += [name for name in found if name not in chosen]
    return chosen or known


def plot_runs(runs: Sequence[Run], keys: Sequence[str] | None = None) -> Figure:
    """A plot per curve, a colour per run; iterations that are done to the right.

    Args:
        keys: see `choose`.
    """
    require_extra('plots', 'a plot')
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    chosen = choose(runs, keys)
    columns = min(COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(3.5 * columns, 2.1 * rows + 0.5)
    plots = iter(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for name, axes in zip(chosen, plots, strict=False):
        for run, style in zip(runs, _styles(len(runs)), strict=True):
            if name in run.curves:
                _draw(axes, name, run.curves[name], style)
        unit = f', {UNITS[name]}' if name in UNITS else ''
        axes.set_title(
            literal(name.removeprefix('train/').replace('/', ' ')) + unit, loc='left', fontsize=9
        )
        axes.tick_params(labelsize=8, labelbottom=True)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        clean_axes(axes, 'both')
    for axes in plots:  # the rest of the last row
        axes.remove()
    figure.legend(
        [Line2D([], [], linewidth=2, **style) for style in _styles(len(runs))],
        [literal(run.name) for run in runs],
        loc='outside upper left',
        ncols=min(4, len(runs)),
        frameon=False,
        fontsize=9,
    )
    figure.supxlabel('iterations', fontsize=9)
    return figure


def _styles(n: int) -> list[dict[str, Any]]:
    return [
        dict(color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i // len(COLOURS) % len(DASHES)])
        for i in range(n)
    ]


def _draw(axes: Axes, name: str, curve: Mapping[int, float], style: Mapping[str, Any]) -> None:
    points = sorted(curve.items())
    axes.plot(
        *zip(*points, strict=True),
        **style,
        linewidth=1.4,
        markersize=3,
        marker='o' if len(points) < 40 else None,
    )
    if name == 'train/grad_norm' and min(curve.values()) > 0:
        from matplotlib.ticker import LogFormatter

        axes.set_yscale('log')
        axes.yaxis.set_major_formatter('{x:g}')
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axes.tick_params(which='minor', labelsize=8)
