"""Work on many files: in processes, with progress that reads well on a terminal and in a log."""
from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import cv2
from tqdm import tqdm

Item, Result = TypeVar('Item'), TypeVar('Result')


def in_processes(work: Callable[[Item], Result], items: Sequence[Item], *,
                 workers: int) -> Iterator[Result]:
    """work(item) for every item, in order; `work` must be picklable where workers > 1."""
    if workers <= 1:
        yield from map(work, items)
        return
    with multiprocessing.get_context().Pool(workers, cv2.setNumThreads, (0,)) as pool:
        yield from pool.imap(work, items, chunksize=16)


def progress(results: Iterable[Result], *, total: int, what: str) -> Iterator[Result]:
    """A live bar on a terminal, a plain line at every quarter elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(results, total=total, desc=what)
        return
    quarters = {total * part // 4 for part in range(1, 5)}
    for done, result in enumerate(results, 1):
        yield result
        if done in quarters:
            print(f'{what}: {done} of {total}', flush=True)
