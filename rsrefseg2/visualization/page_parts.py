"""Tables and plots as sections of a page, in HTML; a table wider than the page scrolls."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence


def bar_table(
    rows: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    *,
    title: str,
    head: str,
    bar: str,
) -> str:
    """A section with a line per group: scores in percent, two decimals; counts as they are.

    Args:
        rows: group -> column -> value; a column that a group lacks is shown as '-'.
        columns: which, in their order.
        title: the section's heading.
        head: the name of the groups' column.
        bar: the column that is drawn as a bar, too.
    """
    names = [readable(column) for column in columns]
    lines = ''.join(
        f'<tr><th scope="row">{html.escape(group)}</th>'
        + ''.join(_cell(row.get(column), bar=column == bar) for column in columns)
        + '</tr>'
        for group, row in rows.items()
    )
    table = wide_table([head, *names], lines, label=title)
    return f'<section><h2>{html.escape(title)}</h2>{table}</section>'


def wide_table(heads: Sequence[str], lines: str, *, label: str) -> str:
    """A table in a box that scrolls, by keyboard as well.

    Args:
        heads: the columns' names.
        lines: its rows, as HTML.
        label: what the box is called where it is read aloud.
    """
    names = ''.join(f'<th scope="col">{html.escape(head)}</th>' for head in heads)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f'<table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def plot_section(svg: str, *, title: str) -> str:
    """A section with a plot of plots.py."""
    return f'<section class="plot"><h2>{html.escape(title)}</h2>{svg}</section>'


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
