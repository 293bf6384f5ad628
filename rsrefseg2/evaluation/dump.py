"""Dumps written as a test goes: safe against a kill, continued afterwards. Their lines:
dump_records.py.

While a test runs, each rank appends to a file of its own, DUMP.rank0, DUMP.rank1 ...; at the end
they become DUMP in one step. A test that is continued first gathers what is whole of them in
DUMP.part.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypedDict

from mmengine.dist import broadcast_object_list, get_rank, get_world_size

from ..errors import UserError, make_folder, os_errors_explained
from ..files import (
    MARK_WITHIN,
    as_utf8,
    open_regular,
    read_bytes,
    replacing,
    require_free,
    require_writable,
    write_text,
)
from ..records import decode_json, to_json
from .dump_records import Counted, find_parts

CHUNK = 256  # lines that go from rank to rank at a time


def prepare_dump(
    path: str | Path, run: dict[str, Any], *, resume: bool, overwrite: bool
) -> list[str]:
    """Before a test that dumps to `path`; -> the ids that an interrupted one has done. A whole dump
    of the same test may be replaced: the new one has the same scores.

    Raises:
        UserError: the folder cannot be written; a dump or parts of one are there that are neither
            to be continued nor to be replaced; see also `gather_parts`.
    """
    path = Path(path)
    require_writable(make_folder(path.parent))
    parts = find_parts(path)
    if resume and parts:
        if path.is_dir():
            require_free(path, option='--dump')
        return gather_parts(path, run)
    if parts and not overwrite:
        raise UserError(
            f'{parts[0]} was left by an interrupted test: continue it with --resume, '
            f'or remove {path}.part and {path}.rank*, as --overwrite does'
        )
    require_free(path, option='--dump', overwrite=overwrite or is_dump_of(path, run))
    for part in parts:
        part.unlink()
    return []


def is_dump_of(path: Path, run: dict[str, Any]) -> bool:
    """Whether a whole dump of the test `run` is there: its first line says so."""
    if path.is_symlink() or not path.is_file():
        return False
    with open_regular(path) as file:
        first = file.readline(MARK_WITHIN)
    return first.startswith(mark_of(run).encode())


def mark_of(run: dict[str, Any]) -> str:
    """What a dump of the test `run` begins with."""
    return to_json({'test': run})[:-1]


def gather_parts(path: str | Path, run: dict[str, Any]) -> list[str]:
    """Puts the whole lines of an interrupted test into DUMP.part; -> the ids that are done.

    A line that a kill has torn is left out: its sample is predicted again.

    Raises:
        UserError: a part belongs to another checkpoint, config or split, or is no part of a dump.
    """
    parts = find_parts(path)
    start_anew = f'remove {path}.part and {path}.rank*, or write to another --dump'
    done: dict[str, str] = {}
    for part in parts:
        whole = read_bytes(part, what='the part of the dump').rpartition(b'\n')[0]
        if not whole:
            continue
        try:
            head, *lines = as_utf8(whole, str(part)).split('\n')
            found = decode_json(head, Head, location=f'{part}:1')['run']
            ids = [
                str(decode_json(line, Counted, location=f'{part}:{number}')['id'])
                for number, line in enumerate(lines, start=2)
            ]
        except UserError as error:
            fault = str(error).rpartition(': ')[0]  # without its own advice
            raise UserError(f'{fault}: no part of a dump: {start_anew}') from None
        differ = [key for key in run if found.get(key) != run[key]]
        if differ:
            changes = '; '.join(f'{key} {found.get(key)!r}, now {run[key]!r}' for key in differ)
            raise UserError(f'{part} belongs to another test ({changes}): {start_anew}')
        done.update(zip(ids, lines, strict=True))
    if parts:
        gathered = Path(f'{path}.part')
        write_text(gathered, '\n'.join([to_json({'run': run}), *done.values(), '']))
        for part in parts:
            if part != gathered:
                part.unlink()
    return list(done)


@contextlib.contextmanager
def replacing_dump(path: str | Path) -> Iterator[TextIO]:
    """The dump, open for writing; when the block ends it is there, and the parts are gone. When the
    block fails, they stay.

    Raises:
        UserError: see `files.replacing`.
    """
    with replacing(path) as temporary, open(temporary, 'w', encoding='utf-8') as file:
        yield file
        file.flush()
    for part in find_parts(path):
        part.unlink()


class Head(TypedDict):
    """The first line of a part."""

    run: dict[str, Any]


class Records:
    """The records of a running test, in memory: each rank keeps its own, and at the end every rank
    reads all."""

    def __init__(self) -> None:
        self._kept: list[dict[str, Any]] = []

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Adds the records."""
        self._kept += records

    def every(self) -> Iterator[dict[str, Any]]:
        """On every rank: rank by rank, which is the order of the split where each rank has a slice
        of it. To be read to its end on every rank."""
        for rank in range(get_world_size()):
            own = self._own() if rank == get_rank() else iter(())
            while True:
                chunk = [list(islice(own, CHUNK))]
                broadcast_object_list(chunk, src=rank)
                if not chunk[0]:
                    break
                yield from chunk[0]

    def _own(self) -> Iterator[dict[str, Any]]:
        return iter(self._kept)

    def close(self) -> None:
        """Forgets them."""
        self._kept.clear()


class Lines(Records):
    """The same as lines of files, which a kill does not lose. `every` begins with what DUMP.part
    holds.

    Args:
        path: the dump.
        run: what the lines belong to; the first line of each rank's file.
    """

    def __init__(self, path: str | Path, run: dict[str, Any]) -> None:
        self.path = path
        self._name = f'{path}.rank{get_rank()}'
        self._file = open(self._name, 'w+', encoding='utf-8')  # noqa: SIM115
        self.write([{'run': run}])

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Appends the records; after this a kill does not lose them."""
        with os_errors_explained(f'writing {self._name}'):
            self._file.writelines(to_json(record) + '\n' for record in records)
            self._file.flush()

    def _own(self) -> Iterator[dict[str, Any]]:
        part = f'{self.path}.part'
        if get_rank() == 0 and os.path.isfile(part):
            with open(part, encoding='utf-8') as file:
                next(file)  # the run
                yield from map(json.loads, file)
        self._file.seek(0)
        next(self._file)
        yield from map(json.loads, self._file)

    def close(self) -> None:
        """The file of a dump stays until the dump is whole."""
        self._file.close()
