"""What a download must hold before anything long starts: roots, files, folders, split names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import msgspec

from ..errors import UserError, os_errors_explained, suggest
from ..options import SPLITS as SPLITS
from ..records import convert

SEE_TREE = 'data/README.md shows the expected tree'


class Faults:
    """`with faults:` around the reading of one record says what becomes of its UserError.

    It is raised, which stops the reading; or, to list all of them (tools/data/verify.py), its
    message goes to `found` and the reading goes on with the next record.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self.collect = collect
        self.found: list[str] = []

    def __enter__(self) -> Faults:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.collect and isinstance(error, UserError):
            self.found.append(str(error))
            return True
        return False


def check_split(split: str, splits: Sequence[str] = SPLITS) -> None:
    """Raises a UserError, with the nearest name, where `split` is not one of `splits`."""
    if split not in splits:
        hint = suggest(split, splits) if isinstance(split, str) else ''
        raise UserError(f'split {split!r} is not one of {", ".join(splits)}{hint}')


def is_file(path: str) -> bool:
    """Whether a file is there, a FIFO or device included, which its reader refuses.

    Raises:
        UserError: the system does not let us see (os.path.isfile would say no).
    """
    mode = _mode(path)
    return mode is not None and not stat.S_ISDIR(mode)


def is_folder(path: str) -> bool:
    """Whether a folder is there.

    Raises:
        UserError: see `is_file`.
    """
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: str) -> int | None:
    with os_errors_explained(path):
        try:
            return os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:  # a NUL or half a surrogate pair in the name
            raise UserError(f'{path!r}: no name of a file ({error}): correct it') from None


def find_root(
    data_root: str,
    *,
    title: str,
    wrappers: Sequence[str],
    entries: Sequence[str],
    made_by: str | None = None,
) -> str:
    """The folder that holds `entries`: `data_root`, or a folder of a name in `wrappers` inside it.

    Archives unpack with or without a wrapping folder; both are accepted. Where nothing fits,
    `data_root` is returned, so that the next check names the first file that is missing. `made_by`:
    the command that writes the folder, for the message where there is none.
    """
    if not is_folder(data_root):
        todo = (
            f'run {made_by}'
            if made_by
            else f'put {title}, or data in its layout, there ({SEE_TREE})'
        )
        raise UserError(
            f'data root {data_root!r} does not exist: {todo}, or set data_root or the '
            'environment variable RSREFSEG2_DATA'
        )
    candidates = [data_root, *(os.path.join(data_root, name) for name in wrappers)]
    for candidate in candidates:
        if any(_mode(os.path.join(candidate, entry)) is not None for entry in entries):
            return candidate
    return data_root


def require_file(paths: Sequence[str], *, title: str) -> str:
    """The first of `paths` that is a file; where none is, the first one is asked for."""
    for path in paths:
        if is_file(path):
            return path
    raise UserError(f'{title}: file {paths[0]!r} is missing: {SEE_TREE}')


def require_folder(paths: Sequence[str], *, title: str) -> str:
    """The first of `paths` that is a folder."""
    for path in paths:
        if is_folder(path):
            return path
    raise UserError(f'{title}: folder {" or ".join(map(repr, paths))} is missing: {SEE_TREE}')


def missing_files(paths: Iterable[str]) -> dict[str, list[str]]:
    """folder -> names of `paths` that are not there. Each folder is listed once: faster than
    asking for 17,000 files."""
    wanted: dict[str, dict[str, None]] = {}
    for path in paths:
        folder, _, name = path.rpartition(os.sep)  # os.path.split takes five times as long
        wanted.setdefault(folder, {})[name] = None
    missing = {}
    for folder, names in wanted.items():
        with os_errors_explained(folder):
            present = set(os.listdir(folder or '.')) if is_folder(folder or '.') else set()
        missing[folder] = [name for name in names if name not in present]
    return {folder: names for folder, names in missing.items() if names}


def require_present(paths: Sequence[str], *, what: str) -> None:
    """Every path is a file."""
    for folder, missing in missing_files(paths).items():
        if not is_folder(folder):
            raise UserError(f'{folder!r}: the folder of the {what} is missing: {SEE_TREE}')
        total = len({path for path in paths if os.path.dirname(path) == folder})
        shown = ', '.join([f'{name:.80}' for name in missing[:3]] + ['...'] * (len(missing) > 3))
        raise UserError(
            f'{folder!r}: {len(missing)} of {total} {what} are missing '
            f'({shown}): complete the download, or correct the names'
        )


def field(record: Any, key: str, location: str, kind: type | tuple[type, ...] = object) -> Any:
    """`record[key]`, or one line that says which record lacks it or holds another kind of value."""
    if not isinstance(record, dict):
        raise UserError(f'{location}: expected a dict, got {type(record).__name__}')
    if key not in record:
        raise UserError(f'{location}: key {key!r} is missing{suggest(key, map(str, record))}')
    value = record[key]
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise UserError(
            f'{location}: {key!r} is {type(value).__name__}, expected '
            f'{" or ".join(k.__name__ for k in kinds)}: correct the record'
        )
    return value


class _OfSplit(msgspec.Struct):
    split: str


def split_of(record: Any, location: str) -> str:
    """`record['split']`, a known one: a record of no split would be lost without a word."""
    if type(record) is dict and record.get('split') in SPLITS:  # nearly all are
        return record['split']
    split = convert(record, _OfSplit, location=location).split
    try:
        check_split(split)
    except UserError as error:
        raise UserError(f'{location}: {error}') from None
    return split
