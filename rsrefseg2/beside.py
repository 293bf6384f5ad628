"""What a thread does beside the model: the next picture is read, the last answers are scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

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


class WorkBehind:
    """A thread that does `work` of one call while the caller makes the next; calls are in order.

    What `work` raises is raised by the next call or by `wait`.
    """

    def __init__(self, work: Callable[..., object]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='work-behind')
        self._pending: Future[object] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Waits for the call before, and hands this one over."""
        self.wait()
        self._pending = self._thread.submit(self._work, *args, **kwargs)

    def wait(self) -> None:
        """Until nothing is left to do."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
