"""Reading and decoding beside the model's work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Read = TypeVar('Read')


def read_ahead(read: Callable[[Item], Read], items: Iterable[Item]) -> Iterator[Read]:
    """`read` of each item, in order. A thread reads the next one while the caller works on one; one
    is read at a time. What `read` raises is raised at its item's turn."""
    with ThreadPoolExecutor(1, thread_name_prefix='read-ahead') as thread:
        waiting: deque[Future[Read]] = deque()
        for item in items:
            waiting.append(thread.submit(read, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        if waiting:
            yield waiting.popleft().result()
