"""A data loader's workers: a batch that shared memory does not take goes through a pipe; a worker
that ends becomes one line.

torch's worker sends a batch through shared memory, from a thread of its own. What fails in that
thread is printed and the batch is lost; the main process would wait for it for ever.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import logging
import multiprocessing
import os
import pickle
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader, get_worker_info

from ..errors import UserError

NEEDS_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context')
# What torch or the system says, or a worker's exit status, which is an errno -> what it means.
NO_FILES, NO_ROOM, ENDED = (
    re.compile(rf'Too many open files|worker.*exit code {errno.EMFILE}\b'),
    re.compile(rf'\(shm\)|signal: Bus error|worker.*exit code {errno.ENOSPC}\b'),
    re.compile(r'DataLoader worker.*(exited unexpectedly|killed by signal)'),
)

SPARE_FILES = 64  # open files for all else than the batches: logs, pipes, checkpoints


def loader_options(options: dict[str, Any]) -> dict[str, Any]:
    """A loader's config without what torch refuses where there are no workers."""
    if options.get('num_workers', 0):
        return options
    return {key: value for key, value in options.items() if key not in NEEDS_WORKERS}


def watch_workers(loader: DataLoader) -> DataLoader:
    """The loader, whose workers send their batches through a `BatchQueue`, and end where nobody
    would be answered."""
    if loader.num_workers > 0:
        context = copy.copy(loader.multiprocessing_context or multiprocessing.get_context())
        queue = functools.partial(BatchQueue, ctx=context, reason=lack_of_files(loader))
        context.Queue = queue  # type: ignore[method-assign]
        loader.multiprocessing_context = context
        loader.worker_init_fn = functools.partial(_start, before=loader.worker_init_fn)
    return loader


def _start(worker: int, *, before: Callable[[int], None] | None) -> None:
    """In the worker, before its first batch."""
    # The thread that hands out what is in shared memory goes on after an error, without an answer.
    sys.excepthook = _not_handed_out
    if before is not None:
        before(worker)


def _not_handed_out(kind: type, error: BaseException, trace: TracebackType | None) -> None:
    """A connection that a stopping main process has closed is no reason to end: torch would raise
    that in whatever the main process does next."""
    _end_for_lack(error)
    sys.__excepthook__(kind, error, trace)


def _end_for_lack(error: BaseException) -> None:
    """End this worker where the system has no room; its exit status says of what."""
    for pattern, status in ((NO_FILES, errno.EMFILE), (NO_ROOM, errno.ENOSPC)):
        if pattern.search(str(error)):
            os._exit(status)


def _end(error: BaseException) -> None:
    """End this worker; its exit status says why."""
    _end_for_lack(error)
    traceback.print_exception(error)
    os._exit(1)


class Parcel(NamedTuple):
    """What goes through the pipe itself, and why."""

    content: bytes
    reason: str


class BatchQueue(Queue):
    """From the workers to the main process, by shared memory while that suffices.

    torch moves tensors into shared memory, one open file each, when a thread of the worker sends
    them. What fails there Python prints and forgets, and the main process would wait for ever.
    Here the batch is sent once more as bytes, as are all that follow it, and the main process warns
    once. A worker whose batch cannot be sent at all ends.

    Args:
        reason: why shared memory is not to be tried; None: try it.
    """

    _warned = False

    def __init__(self, maxsize: int = 0, *, ctx: Any, reason: str | None = None) -> None:
        self._reason = reason
        super().__init__(maxsize, ctx=ctx)

    def __getstate__(self) -> Any:
        return super().__getstate__(), self._reason

    def __setstate__(self, state: Any) -> None:
        base, self._reason = state
        super().__setstate__(base)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As the base's; of a worker that has a reason to, as bytes."""
        if self._reason is not None and get_worker_info() is not None:
            item = Parcel(pickle.dumps(item), self._reason)
        super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As the base's."""
        item = super().get(block, timeout)
        if not isinstance(item, Parcel):
            return item
        if not self._warned and get_worker_info() is None:
            self._warned = True
            print_log(
                f'batches do not go through shared memory ({item.reason}) but through a '
                f'pipe, which is slower; faster: more shared memory (docker '
                'run --shm-size=8g), more open files (ulimit -n 4096), or num_workers=0 in '
                'the dataloader',
                'current',
                logging.WARNING,
            )
        return pickle.loads(item.content)

    def _on_queue_feeder_error(self, error: Exception, item: Any) -> None:
        """In the thread that sends, of which Python offers no other sign."""
        if get_worker_info() is None or not isinstance(item, tuple) or isinstance(item, Parcel):
            super()._on_queue_feeder_error(error, item)  # type: ignore[misc]
            return
        self._reason = self._reason or ' '.join(str(error).split())
        try:
            self.put(item)
        except Exception as still:
            _end(still)


def lack_of_files(loader: DataLoader) -> str | None:
    """Why so many files as the loader's batches need cannot be open at once; None: they can.

    A tensor in shared memory is an open file, of the worker and then of the main process. The
    process's own limit is raised as far as they need and the system lets it.
    """
    if torch.multiprocessing.get_sharing_strategy() != 'file_descriptor':
        return None
    import resource  # there is none on Windows, which shares otherwise

    batches = loader.num_workers * (loader.prefetch_factor or 2) + 2
    tensors = 2 * (getattr(loader.batch_sampler, 'batch_size', None) or 1) + 2
    needed = batches * tensors + len(os.listdir('/proc/self/fd')) + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return None
    return f'at most {hard} files can be open, {needed} are needed'


@contextlib.contextmanager
def explain_lost_workers() -> Iterator[None]:
    """A data loader's worker that ended becomes one line: why, and what to set.

    One that the system killed is left to `explain_out_of_memory`.

    Raises:
        UserError: in place of torch's RuntimeError.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        said = messages(error)
        if NO_FILES.search(said):
            raise UserError(
                'too many open files for the workers of the data loaders: raise the limit (ulimit '
                '-n 4096), or set train_dataloader.num_workers=0 (and that of val_dataloader, '
                'test_dataloader)'
            ) from error
        if NO_ROOM.search(said) or _in_shared_memory(error):
            raise UserError(
                f'shared memory (/dev/shm{_room()}) is full: the workers of the data loaders send '
                'their batches through it: give it more (docker run --shm-size=8g, or mount -o '
                'remount,size=8g /dev/shm), or set train_dataloader.num_workers=0 (and that of '
                'val_dataloader, test_dataloader)'
            ) from error
        if ENDED.search(said) and 'killed by signal: Killed' not in said:
            raise UserError(
                f'a worker of the data loader ended ({said.splitlines()[0][:200]}): go on from the '
                'newest checkpoint with --resume; where it happens again, num_workers=0 shows the '
                'cause'
            ) from error
        raise


def _in_shared_memory(error: BaseException) -> bool:
    """Whether the system refused a lock or a queue that processes share."""
    frames = traceback.extract_tb(error.__traceback__)
    return (
        isinstance(error, OSError)
        and error.errno == errno.ENOSPC
        and any(
            os.path.basename(os.path.dirname(frame.filename)) == 'multiprocessing'
            for frame in frames
        )
    )


def messages(error: BaseException | None) -> str:
    """What the error and those that led to it say, a line each."""
    said = []
    while error is not None:
        said.append(str(error))
        error = error.__cause__ or error.__context__
    return '\n'.join(said)


def _room() -> str:
    """The size of the shared memory, as a clause."""
    try:
        state = os.statvfs('/dev/shm')
    except OSError:  # a system without it
        return ''
    return f', {state.f_blocks * state.f_frsize / 2**20:.3g} MiB'
