"""Tables of variants as data: what a row changes, and it at tiny scale.

configs/ablations/index.json are Tables VI-XVI; projects/localisation_study/configs/index.json asks, on SynthRS, what
decides whether the tiny model learns where.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from mmengine.config import Config

from ..engine import load_config
from ..errors import UserError, suggest
from ..markup import code, text
from ..markup import table as markdown
from ..options import ABLATIONS as INDEX
from ..records import read_json
from ..shipped import find_shipped

WHERE = 'projects/localisation_study/configs/index.json'
STUDIES = (WHERE, 'projects/plus_recipe/configs/index.json')  # the indexes of our own studies
# scale -> the † row's config on SynthRS: the plain tiny model, and the best tiny recipe
TINY = {'tiny': 'configs/ablations/tiny.py', 'tiny_plus': 'configs/ablations/tiny_plus.py'}
TINY_TABLES = tuple(f'table{number:02}' for number in range(6, 16))  # XVI compares full-size towers
ABSENT = object()  # a key that the parent has and the row has not


class Row(NamedTuple):
    """One row of a table."""

    values: tuple[str, ...]  # by the table's columns, as printed
    config: str  # path from the repository's root; the † row's is the parent
    paper: dict[str, float | None] = {}  # by score, as printed; empty: not the paper's
    changes: Mapping[str, object] = {}  # what its config sets otherwise than the parent, by key
    forces: tuple[str, ...] = ()  # of these, keys outside of what the table varies
    tiny: dict[str, object] = {}  # values of its keys at tiny scale, where they are others

    @property
    def name(self) -> str:
        """The config's name, by which a row is chosen."""
        return Path(self.config).stem


class Table(NamedTuple):
    """A table of the paper: rows that differ from `parent` in the keys below `varies`."""

    key: str  # 'table06'
    number: str
    title: str
    columns: tuple[str, ...]
    parent: str
    varies: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]


class Index(NamedTuple):
    """All of it: the scores' names in order, what the data are, the tables in order."""

    source: str
    note: str
    scores: tuple[str, ...]
    tables: tuple[Table, ...]

    def table(self, key: str) -> Table:
        """By key: 'table06', 'table6' or '6'.

        Raises:
            UserError: no such table.
        """
        digits = key.removeprefix('table')
        wanted = f'table{int(digits):02}' if digits.isdigit() else key
        for table in self.tables:
            if table.key == wanted:
                return table
        keys = [table.key for table in self.tables]
        raise UserError(f'no table {key!r}{suggest(wanted, keys)}; there are {", ".join(keys)}')


class RowEntry(TypedDict):
    """A `Row` in the file."""

    values: list[str]
    config: str
    paper: NotRequired[dict[str, float | None]]
    changes: NotRequired[dict[str, object]]
    forces: NotRequired[list[str]]
    tiny: NotRequired[dict[str, object]]


class TableEntry(TypedDict):
    """A `Table` in the file."""

    table: str
    number: str
    title: str
    columns: list[str]
    parent: str
    varies: list[str]
    notes: list[str]
    rows: list[RowEntry]


class IndexFile(TypedDict):
    """An `Index` in its file."""

    source: str
    note: str
    scores: list[str]
    tables: list[TableEntry]


def read_index(root: str | Path = '.', index: str = INDEX) -> Index:
    """The index at path `index` of the repository at `root`.

    Raises:
        UserError: it is not there, or is no index.
    """
    path = Path(root) / index
    if not path.exists():
        raise UserError(f"{path} does not exist: run this in the repository's root")
    given = read_json(path, IndexFile, what='the index')
    tables = []
    for table in given['tables']:
        rows = tuple(map(_row, table['rows']))
        for row in rows:
            if len(row.values) != len(table['columns']):
                raise UserError(
                    f'{path}: {table["table"]}, row {row.config}: {len(row.values)} '
                    f'values for {len(table["columns"])} columns: give one for each'
                )
        tables.append(
            Table(
                table['table'],
                table['number'],
                table['title'],
                tuple(table['columns']),
                table['parent'],
                tuple(table['varies']),
                tuple(table['notes']),
                rows,
            )
        )
    return Index(given['source'], given['note'], tuple(given['scores']), tuple(tables))


def _row(entry: RowEntry) -> Row:
    return Row(
        tuple(entry['values']),
        entry['config'],
        entry.get('paper', {}),
        entry.get('changes', {}),
        tuple(entry.get('forces', ())),
        entry.get('tiny', {}),
    )


def differences(given: Mapping, parent: Mapping, where: str = '') -> dict[str, object]:
    """{dotted key: value in `given`, or ABSENT} of all that is not the same in `parent`."""
    found: dict[str, object] = {}
    for key in (*given, *(key for key in parent if key not in given)):
        value, old = given.get(key, ABSENT), parent.get(key, ABSENT)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found |= differences(value, old, f'{where}{key}.')
        elif value != old:
            found[where + key] = value
    return found


def row_differences(table: Table, row: Row, root: str | Path = '.') -> dict[str, object]:
    """What the row's config changes in its table's parent; the work dir apart."""
    config, parent = (load_config(str(Path(root) / path)) for path in (row.config, table.parent))
    found = differences(config.to_dict(), parent.to_dict())
    found.pop('work_dir', None)
    return found


def check_row(table: Table, row: Row, root: str | Path = '.', index: str = INDEX) -> None:
    """Hold a row of the index to its config.

    Raises:
        UserError: the config changes another key or value of the parent than the index says.
    """
    found = row_differences(table, row, root)
    for key in (*row.changes, *found):
        says, sets = row.changes.get(key, 'nothing'), found.get(key, "the parent's value")
        if says != sets:
            raise UserError(
                f'{index}: {table.key}, row {row.name}: by the index {key} becomes {says}, by '
                f'{row.config} {"a key that is not set" if sets is ABSENT else sets}: make them '
                'agree'
            )


def tiny_config(table: Table, row: Row, root: str | Path = '.', scale: str = 'tiny') -> Config:
    """The row's variant of a config of TINY: the same changes on the tiny towers.

    Without a dense prompt the tiny model's own L_dense goes, too.

    Raises:
        UserError: the table compares full-size towers, or sizes that other towers have.
    """
    if table.key not in TINY_TABLES:
        raise UserError(f'{table.key} compares full-size towers: there is no tiny scale of it')
    if row.tiny and scale != 'tiny':
        raise UserError(
            f"{table.key}, row {row.name}: its values are those of tiny's towers: --scale tiny"
        )
    config = load_config(str(Path(root) / TINY[scale])).to_dict()
    for key, value in row_differences(table, row, root).items():
        _assign(config, key.split('.'), row.tiny.get(key, value))
    if config['model']['prompter'].get('dense') is None:
        config['model']['losses']['dense'] = None
    return Config(config, filename=find_shipped(str(Path(root) / row.config)))


def _assign(config: dict, keys: list[str], value: object) -> None:
    *above, last = keys
    for key in above:
        config = config.setdefault(key, {})
    if value is ABSENT:
        config.pop(last, None)
    else:
        config[last] = copy.deepcopy(value)


def readme(index: Index) -> str:
    """configs/ablations/README.md: row -> config -> command -> the paper's numbers."""
    rows = sum(len(table.rows) for table in index.tables)
    lines = [
        '# Tables VI to XVI',
        '',
        f'{rows} rows; the † rows stand in every table. Of `{Path(INDEX).name}` by '
        '`python tools/ablate.py --list --markdown`; not to be edited.',
        '',
        f'Numbers of the paper: {index.source}.',
        '',
        'A whole table: `python tools/ablate.py table06`; with tiny towers on a CPU: '
        '`python tools/ablate.py table06 --scale tiny`. One row: '
        '`python tools/train.py CONFIG`.',
    ]
    for table in index.tables:
        lines += [
            '',
            f'## Table {table.number}: {text(table.title)}',
            '',
            f'{code(table.key)}, on {code(table.parent)}; varies '
            f'{", ".join(map(code, table.varies))}.',
            '',
        ]
        lines += [f'- {text(note)}' for note in table.notes] + [''] * bool(table.notes)
        lines += list(
            markdown(
                list(map(text, [*table.columns, 'config', *index.scores])),
                (
                    [
                        *map(text, row.values),
                        text(row.config) + ' †' * (row.config == table.parent),
                        *(number(row.paper.get(score)) for score in index.scores),
                    ]
                    for row in table.rows
                ),
            )
        )
    return '\n'.join(lines) + '\n'


def number(value: float | None) -> str:
    """Two digits, as the paper prints; - for none."""
    return '-' if value is None else f'{value:.2f}'
