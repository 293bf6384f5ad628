"""A run's own folder: one training at a time, and no file outside of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UserError, os_errors_explained

LOCK = '.training.lock'
CHECKPOINT = re.compile(r'(best_[^/]+_)?(epoch|iter)_\d+\.pth')  # as CheckpointHook names them
_held: dict[str, FileLock] = {}  # by the work dir; its file stays, its lock ends with the process


def lock_work_dir(folder: str | os.PathLike) -> None:
    """This process alone trains in `folder`, until `release_work_dir` or its own end.

    Raises:
        UserError: another training does, or no lock can be had.
    """
    lock = FileLock(os.path.join(folder, LOCK))
    with os_errors_explained(f'locking {lock.lock_file}'):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise UserError(
                f'another training runs in the work dir {folder}: wait until it ends, '
                'or choose another --work-dir'
            ) from None
    _held[os.path.realpath(folder)] = lock


def release_work_dir(folder: str | os.PathLike) -> None:
    """The reverse, where this process holds it."""
    lock = _held.pop(os.path.realpath(folder), None)
    if lock is not None:
        lock.release(force=True)


def own_file(folder: str | os.PathLike, name: str) -> Path | None:
    """The checkpoint in `folder` that another checkpoint names; None, if it names something else.
    Older ones name absolute paths."""
    path = Path(name)
    inside = (
        os.path.realpath(path.parent) == os.path.realpath(folder)
        if path.is_absolute()
        else path.name == name
    )
    return Path(folder) / path.name if inside and CHECKPOINT.fullmatch(path.name) else None
