"""Which images are equal, whatever their names: by a hash of the files' bytes, kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from ..errors import UserError, make_folder, os_errors_explained
from ..files import cache_folder, read_bytes, write_text
from ..records import read_json, to_json

# A file's size, mtime_ns, ctime_ns and inode: a hash of another stamp is out of date. Who writes a
# file may choose the first two, not the others.
Stamp = tuple[int, int, int, int]


def first_of_equal(paths: Sequence[str], *, title: str) -> dict[str, str]:
    """path -> the first of `paths` with the same bytes, for those that are not the first.

    Only files that agree in size with another one are read, with all cores; their hashes are
    cached (`HashCache`), so the second time costs one look at each file's size and time.
    """
    paths = list(dict.fromkeys(paths))
    stamps = {path: _stamp(path) for path in paths}
    of_size: dict[int, int] = {}
    for size, *_ in stamps.values():
        of_size[size] = of_size.get(size, 0) + 1
    hashes = _cached_hashes(
        {path: stamp for path, stamp in stamps.items() if of_size[stamp[0]] > 1}, title=title
    )
    first: dict[str, str] = {}
    return {
        path: first[hashes[path]]
        for path in paths
        if path in hashes and first.setdefault(hashes[path], path) != path
    }


def remember(hashes: Mapping[str, str]) -> None:
    """Keep hashes that are known already: path -> `file_hash` of it."""
    for folder in {os.path.dirname(path) for path in hashes}:
        with HashCache(folder) as cache:
            for path, found in hashes.items():
                if os.path.dirname(path) == folder:
                    cache.put(path, _stamp(path), found)


def file_hash(path: str) -> str:
    """Of the bytes of a regular file.

    Raises:
        UserError: see `files.read_bytes`.
    """
    return hashlib.blake2b(read_bytes(path, what='the image'), digest_size=16).hexdigest()


def on_all_cores(
    work: Callable[[Any], Any], items: Sequence[Any], *, title: str, chunk: int = 16
) -> Iterator[Any]:
    """work(item) for each item, in order, with a progress bar on a terminal.

    In processes, as Python code does not share a core; in this one where there is little to do.

    Raises:
        UserError: see `in_processes`.
    """
    bar = tqdm(
        total=len(items),
        desc=title,
        leave=False,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
    cores = os.cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    with bar:
        for result in in_processes(
            work, items, title=title, chunk=chunk, workers=1 if len(items) < 2 * chunk else cores
        ):
            bar.update()
            yield result


def in_processes(
    work: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    title: str,
    workers: int,
    chunk: int = 16,
    before: Callable[[], Any] | None = None,
) -> Iterator[Any]:
    """work(item) for each item, in order, in `workers` processes; in this one where it is one.

    Args:
        title: What is done, for messages.
        before: Called first in every process.

    Raises:
        UserError: the memory does not suffice, or the system ends a process (which it does then).
    """
    with contextlib.ExitStack() as stack:
        if workers <= 1:
            results: Iterator[Any] = map(work, items)
        else:
            # A forked process has everything imported; others import torch first.
            kind = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
            pool = ProcessPoolExecutor(workers, multiprocessing.get_context(kind), before)
            stack.callback(pool.shutdown, cancel_futures=True)
            results = pool.map(work, items, chunksize=chunk)
        while True:
            try:
                result = next(results)
            except StopIteration:
                return
            except (BrokenProcessPool, MemoryError):
                raise UserError(
                    f'{title}: the system ended a process, as it does when the memory '
                    'does not suffice: free some, or use fewer cores (taskset -c 0 '
                    'COMMAND)'
                ) from None
            yield result


def _stamp(path: str) -> Stamp:
    with os_errors_explained(path):
        status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _cached_hashes(stamps: dict[str, Stamp], *, title: str) -> dict[str, str]:
    folders = {os.path.dirname(path) for path in stamps}
    hashes: dict[str, str] = {}
    new = []
    with contextlib.ExitStack() as stack:
        caches = {folder: stack.enter_context(HashCache(folder)) for folder in sorted(folders)}
        for path, stamp in stamps.items():
            known = caches[os.path.dirname(path)].get(path, stamp)
            if known is None:
                new.append(path)
            else:
                hashes[path] = known
        for path, found in zip(
            new, on_all_cores(file_hash, new, title=f'{title}: equal images'), strict=True
        ):
            hashes[path] = found
            caches[os.path.dirname(path)].put(path, stamps[path], found)
    return {path: hashes[path] for path in stamps}


class HashCache:
    """The hashes of a folder's files by name and `Stamp`, to be used in a `with` block.

    Kept in `cache_folder`, never beside the data: a cache that came with them would decide which
    pictures are equal. Where that cannot be written, nothing is kept.
    """

    def __init__(self, folder: str) -> None:
        name = hashlib.blake2b(os.fsencode(os.path.realpath(folder)), digest_size=8).hexdigest()
        self.path = os.path.join(cache_folder(), f'content_hashes_{name}.json')
        self._known: dict[str, list] = {}
        self._changed = False

    def get(self, path: str, stamp: Stamp) -> str | None:
        """The hash of a file, if it is known and the file unchanged since."""
        known = self._known.get(os.path.basename(path))
        return known[-1] if known is not None and tuple(known[:-1]) == stamp else None

    def put(self, path: str, stamp: Stamp, found: str) -> None:
        """Remember the hash that was found for a file."""
        self._known[os.path.basename(path)] = [*stamp, found]
        self._changed = True

    def __enter__(self) -> HashCache:
        self._known = _read(self.path)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._changed:
            with contextlib.suppress(UserError):
                folder = make_folder(os.path.dirname(self.path))
                if folder.stat().st_mode & 0o222:  # else meant to be read-only, for root too
                    write_text(self.path, to_json(self._known))


def _read(path: str) -> dict[str, list]:
    """What a cache file holds; nothing where there is none, or it is damaged."""
    try:
        known: Any = read_json(path)
    except UserError:
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {
        name: entry
        for name, entry in entries
        if isinstance(entry, list) and [type(value) for value in entry] == [int, int, int, int, str]
    }
