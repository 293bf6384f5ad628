"""Text from data in Markdown and CSV: it is shown, and is neither markup nor a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from .terminal import visible

_MARKUP = re.compile(r'[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)')  # an underscore within a word is itself
_ENTITIES = {'&': '&amp;', '<': '&lt;', '>': '&gt;'}
_FORMULA = re.compile(r'\s*[=+\-@]\s*\S')
_NUMBER = re.compile(r'[+-]\d+(\.\d+)?(e[+-]?\d+)?')


def text(value: object) -> str:
    """`value` in a line or a table's cell of Markdown, as it stands."""
    line = visible(' '.join(str(value).split()))
    line = re.sub('[&<>]', lambda match: _ENTITIES[match[0]], line)
    return _MARKUP.sub(lambda match: '\\' + match[0], line)


def code(value: object) -> str:
    """`value` as code in Markdown; in a table, too."""
    line = visible(' '.join(str(value).split())).replace('|', '\\|')
    runs = [len(run) for run in re.findall('`+', line)]
    fence = '`' * next(n for n in range(1, len(runs) + 2) if n not in runs)
    pad = ' ' if '`' in line else ''
    return f'{fence}{pad}{line}{pad}{fence}'


def link(shown: object, target: str) -> str:
    """A link of Markdown to a file or a page."""
    return f'[{text(shown)}]({quote(target, safe="/:.-_~#@+,=")})'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table; cells are Markdown: see `text` and `code`."""
    yield f'| {" | ".join(header)} |'
    yield '|' + '---|' * len(header)
    yield from (f'| {" | ".join(row)} |' for row in rows)


def csv_cell(value: object) -> object:
    """A cell of a CSV file. Text that a spreadsheet would take for a formula gets a ' before it;
    numbers and a lone sign stay."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"
