"""Tables for the terminal and the log, laid out by rich as plain text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .terminal import visible

# Two spaces between columns and a rule of minus signs below the header: no other mark, so that a
# log stays readable in any encoding.
_PLAIN = Box('    \n    \n----\n    \n    \n    \n    \n    \n', ascii=True)
_NUMBER = re.compile(r'[+-]?[\d,]*\.?\d+(e[+-]?\d+)?( ?%| ± [\d.]+)?|-|nan|')
_WIDE = 100_000  # columns: no cell is wrapped or cut


def plain_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> str:
    """A table as plain text: the same on a terminal, in a log and in a pipe.

    Args:
        head: the names of the columns.
        rows: one cell per column: a float is shown with two decimals, None as '-', anything else
            as `str` gives it, with its control characters as escapes.
        title: a line above the table.

    A column of numbers is aligned right, any other left.

    Raises:
        ValueError: a row has more or fewer cells than `head`.
    """
    lines = [[_cell(value) for value in row] for row in rows]
    table = Table(box=_PLAIN, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, *cells in zip(head, *lines, strict=True):
        right = bool(cells) and all(map(_NUMBER.fullmatch, cells))
        table.add_column(Text(_cell(name)), justify='right' if right else 'left', no_wrap=True)
    for line in lines:
        table.add_row(*map(Text, line))  # Text: brackets in a cell are no markup
    out = io.StringIO()
    Console(file=out, width=_WIDE, color_system=None, legacy_windows=False).print(table)
    text = '\n'.join(line.rstrip() for line in out.getvalue().splitlines())
    return text if title is None else f'{title}\n{text}'


def _cell(value: object) -> str:
    if value is None:
        return '-'
    if isinstance(value, float):
        return f'{value:.2f}'
    return visible(re.sub(r'[\t\n]', ' ', str(value)))
