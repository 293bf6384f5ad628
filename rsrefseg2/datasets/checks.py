"""What a download must hold before anything long starts: roots, files, folders, split names."""
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from rsrefseg2.errors import UserError, suggest

SPLITS = ('train', 'val', 'test')
SEE_TREE = 'data/README.md shows the expected tree'


def check_split(split: str) -> None:
    if split not in SPLITS:
        hint = suggest(split, SPLITS) if isinstance(split, str) else ''
        raise UserError(f'split {split!r} is not one of {", ".join(SPLITS)}{hint}')


def find_root(data_root: str, *, title: str, wrappers: Sequence[str],
              entries: Sequence[str]) -> str:
    """The folder that holds `entries`: `data_root`, or a folder of a name in `wrappers` inside it.

    Archives unpack with or without a wrapping folder; both are accepted. Where nothing fits,
    `data_root` is returned, so that the next check names the first file that is missing.
    """
    if not os.path.isdir(data_root):
        raise UserError(f'data root {data_root!r} does not exist: put {title} there ({SEE_TREE}), '
                        'or set data_root or the environment variable RSREFSEG2_DATA')
    candidates = [data_root, *(os.path.join(data_root, name) for name in wrappers)]
    for candidate in candidates:
        if any(os.path.exists(os.path.join(candidate, entry)) for entry in entries):
            return candidate
    return data_root


def require_file(path: str, *, title: str) -> str:
    if not os.path.isfile(path):
        raise UserError(f'{title}: file {path!r} is missing: {SEE_TREE}')
    return path


def require_folder(paths: Sequence[str], *, title: str) -> str:
    """The first of `paths` that is a folder."""
    for path in paths:
        if os.path.isdir(path):
            return path
    raise UserError(f'{title}: folder {" or ".join(map(repr, paths))} is missing: {SEE_TREE}')


def require_present(paths: Iterable[str], *, what: str) -> None:
    """Every path is a file. Each folder is listed once: faster than asking for 17,000 files."""
    wanted: dict[str, dict[str, None]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        wanted.setdefault(folder, {})[name] = None
    for folder, names in wanted.items():
        if not os.path.isdir(folder):
            raise UserError(f'{folder!r}: the folder of the {what} is missing: {SEE_TREE}')
        with os.scandir(folder) as entries:
            present = {entry.name for entry in entries}
        missing = [name for name in names if name not in present]
        if missing:
            shown = ', '.join(missing[:3]) + (', ...' if len(missing) > 3 else '')
            raise UserError(f'{folder!r}: {len(missing)} of {len(names)} {what} are missing '
                            f'({shown}): fetch the download again, it is incomplete')


def field(record: Any, key: str, where: str) -> Any:
    """`record[key]`, or one line that says which record lacks it."""
    if not isinstance(record, dict):
        raise UserError(f'{where}: expected a dict, got {type(record).__name__}')
    if key not in record:
        raise UserError(f'{where}: key {key!r} is missing{suggest(key, map(str, record))}')
    return record[key]
