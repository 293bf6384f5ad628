"""One JSON line per scored sample: written as it goes, safe against a kill, continued afterwards.

A line holds `id`, `file`, `sentence`, `category`, `area` (pixels of the annotated mask),
`intersection`, `union`, `iou`, `prediction` and `ground_truth` (COCO RLE), and
`coarse_localisation` and `mask_agreement` where the model has a dense prompt. A scorer needs `id`,
`prediction` and `ground_truth` alone.

While a test runs, each rank appends to a file of its own, DUMP.rank0, DUMP.rank1 ...; at the end
they become DUMP in one step. A test that is continued first gathers what is whole of them in
DUMP.part.
"""
from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import broadcast_object_list, get_rank, get_world_size
from pycocotools import mask as coco_mask

from ..errors import UserError

CHUNK = 256  # lines that go from rank to rank at a time
REQUIRED = ('id', 'prediction', 'ground_truth')


def encode(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> COCO RLE that JSON can hold: `size` [H, W], `counts` str."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')}


def decode(rle: Any, *, where: str) -> np.ndarray:
    """COCO RLE (counts as str, bytes or a list) -> (H, W) bool.

    Raises:
        UserError: it is no RLE, or does not fill its size.
    """
    try:
        size = [int(n) for n in rle['size']]
        counts = rle['counts']
        if isinstance(counts, list):
            if sum(counts) != size[0] * size[1] or min(counts, default=0) < 0:
                raise ValueError(f'the run lengths sum to {sum(counts)}, not {size[0]} x {size[1]}')
            rle = coco_mask.frPyObjects({'size': size, 'counts': counts}, *size)
        counts = rle['counts']
        codes = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8)
        # COCO's C code reads past the end of a string whose last number goes on (bit 6)
        if not len(codes) or codes.min() < 48 or codes.max() > 111 or codes[-1] > 79:
            raise ValueError('the counts are cut off or no run lengths')
        return coco_mask.decode({'size': size, 'counts': counts}).astype(bool)
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f'{where}: no mask in COCO RLE ({error}): expected '
                        '{"size": [H, W], "counts": "..."}') from None


def read_dump(path: str | Path, required: Sequence[str] = REQUIRED) -> Iterator[dict[str, Any]]:
    """The records of a dump, one after the other, with `where` (file and line) added.

    Raises:
        UserError: the file is missing, a line is no JSON object or lacks a required key, an id
            occurs twice.
    """
    if not os.path.isfile(path):
        rest = ' (an interrupted test left parts of it: continue it with --resume)'
        raise UserError(f'dump {path} does not exist{rest if find_parts(path) else ""}: '
                        'tools/test.py --dump writes one')
    seen: dict[str, str] = {}
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, start=1):
            where = f'{path}:{number}'
            if not line.strip():
                continue
            record = parse(line, where, required)
            if record['id'] in seen:
                raise UserError(f'{where}: id {record["id"]!r} occurs twice, first in '
                                f'{seen[record["id"]]}: one line per sample')
            seen[record['id']] = where
            yield {**record, 'where': where}
    if not seen:
        raise UserError(f'dump {path} holds no sample')


def parse(line: str, where: str, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """One line of a dump; its id becomes a string."""
    try:
        record = json.loads(line)
        missing = [key for key in required if key not in record]
    except (ValueError, TypeError) as error:
        raise UserError(f'{where}: no JSON object ({error}): the dump is damaged') from None
    if missing:
        raise UserError(f'{where}: {", ".join(missing)} missing: a line needs '
                        f'{", ".join(required)}')
    return {**record, 'id': str(record['id'])}


# ---------------------------------------------------------------------- while a test runs

def find_parts(path: str | Path) -> list[Path]:
    """What an interrupted test left of the dump `path`: the gathered part, then the ranks'."""
    escaped = glob.escape(str(path))
    return [Path(name) for name in (*glob.glob(f'{escaped}.part'),
                                    *sorted(glob.glob(f'{escaped}.rank*')))]


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
        done.update((parse(line, str(part))['id'], line) for line in whole[1:])
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
        self._file.writelines(json.dumps(record) + '\n' for record in records)
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
