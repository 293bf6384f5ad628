"""A data loader's workers: one that cannot send its batch ends, and the run says why.

torch's worker sends a batch through shared memory, from a thread of its own. What fails in that
thread is printed and the batch is lost; the main process would wait for it for ever.
"""
from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

from torch.utils.data import DataLoader

from ..errors import UserError

NEEDS_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context')
# What torch or the system says, or a worker's exit status, which is an errno -> what it means.
NO_FILES, NO_ROOM, ENDED = (
    re.compile(rf'Too many open files|worker.*exit code {errno.EMFILE}\b'),
    re.compile(rf'\(shm\)|signal: Bus error|worker.*exit code {errno.ENOSPC}\b'),
    re.compile(r'DataLoader worker.*(exited unexpectedly|killed by signal)'))


def loader_options(options: dict[str, Any]) -> dict[str, Any]:
    """A loader's config without what torch refuses where there are no workers."""
    if options.get('num_workers', 0):
        return options
    return {key: value for key, value in options.items() if key not in NEEDS_WORKERS}


def watch_workers(loader: DataLoader) -> DataLoader:
    """The loader, whose workers end when they cannot send."""
    loader.worker_init_fn = partial(_start, before=loader.worker_init_fn)
    return loader


def _start(worker: int, *, before: Callable[[int], None] | None) -> None:
    """In the worker, before its first batch."""
    Queue._on_queue_feeder_error = staticmethod(lambda error, _: _end(error))
    # The thread that hands out what is in shared memory goes on after an error, without an answer.
    sys.excepthook = lambda kind, error, trace: _end(error)
    if before is not None:
        before(worker)


def _end(error: BaseException) -> None:
    """End this worker; its exit status says why."""
    for pattern, status in ((NO_FILES, errno.EMFILE), (NO_ROOM, errno.ENOSPC)):
        if pattern.search(str(error)):
            os._exit(status)
    traceback.print_exception(error)
    os._exit(1)


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
                'test_dataloader)') from error
        if NO_ROOM.search(said):
            raise UserError(
                f'shared memory (/dev/shm{_room()}) is full: the workers of the data loaders send '
                'their batches through it: give it more (docker run --shm-size=8g, or mount -o '
                'remount,size=8g /dev/shm), or set train_dataloader.num_workers=0 (and that of '
                'val_dataloader, test_dataloader)') from error
        if ENDED.search(said) and 'killed by signal: Killed' not in said:
            raise UserError(
                f'a worker of the data loader ended ({said.splitlines()[0][:200]}): go on from the '
                'newest checkpoint with --resume; where it happens again, num_workers=0 shows the '
                'cause') from error
        raise


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
