"""Dumps written as a test goes: safe against a kill, continued afterwards. Their lines:
dump_records.py.

While a test runs, each rank appends to a file of its own, DUMP.rank0, DUMP.rank1 ...; at the end
they become DUMP in one step. A test that is continued first gathers what is whole of them in
DUMP.part.
"""
from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, get_rank, get_world_size

from ..errors import UserError
from ..records import decode_json, to_json
from .dump_records import Line, find_parts

CHUNK = 256  # lines that go from rank to rank at a time


def gather_parts(path: str | Path, run: dict[str, Any]) -> list[str]:
    """Puts the whole lines of an interrupted test into DUMP.part; -> the ids that are done.

    A line that a kill has torn is left out: its sample is predicted again.

    Raises:
        UserError: a part belongs to another checkpoint, config or split.
    """
    parts = find_parts(path)
    done: dict[str, str] = {}
    for part in parts:
        whole = part.read_bytes().rpartition(b'\n')[0].decode('utf-8').split('\n')
        if not whole[0]:
            continue
        found = json.loads(whole[0])['run']
        differ = [key for key in run if found.get(key) != run[key]]
        if differ:
            told = '; '.join(f'{key} {found.get(key)!r}, now {run[key]!r}' for key in differ)
            raise UserError(f'{part} belongs to another test ({told}): remove {path}.part and '
                            f'{path}.rank*, or write to another --dump')
        done.update((str(decode_json(line, Line, where=str(part))['id']), line)
                    for line in whole[1:])
    if parts:
        gathered = Path(f'{path}.part')
        temporary = Path(f'{path}.part.tmp')
        temporary.write_text('\n'.join([json.dumps({'run': run}), *done.values(), '']),
                             encoding='utf-8')
        os.replace(temporary, gathered)
        for part in parts:
            if part != gathered:
                part.unlink()
    return list(done)


class Lines:
    """The lines of a running test: each rank writes its own, and at the end every rank reads all.

    Args:
        path: the dump; None: temporary files.
        run: what the lines belong to; the first line of each rank's file.
    """

    def __init__(self, path: str | Path | None, run: dict[str, Any]) -> None:
        self.path = path
        if path is None:
            self._file = tempfile.TemporaryFile('w+', encoding='utf-8')
        else:
            self._file = open(f'{path}.rank{get_rank()}', 'w+', encoding='utf-8')  # noqa: SIM115
        self.write([{'run': run}])

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Appends the records; after this a kill does not lose them."""
        self._file.writelines(to_json(record) + '\n' for record in records)
        self._file.flush()

    def every(self) -> Iterator[str]:
        """On every rank: what DUMP.part holds, then rank by rank, which is the order of the split
        where each rank has a slice of it. To be read to its end on every rank."""
        for rank in range(get_world_size()):
            lines = self._own() if rank == get_rank() else iter(())
            while True:
                chunk = [list(islice(lines, CHUNK))]
                broadcast_object_list(chunk, src=rank)
                if not chunk[0]:
                    break
                yield from chunk[0]

    def _own(self) -> Iterator[str]:
        part = f'{self.path}.part'
        if get_rank() == 0 and self.path is not None and os.path.isfile(part):
            with open(part, encoding='utf-8') as file:
                next(file)  # the run
                yield from file
        self._file.seek(0)
        next(self._file)
        yield from self._file

    def close(self) -> None:
        """The file of a dump stays until the dump is whole."""
        self._file.close()
