"""Errors that a user can fix: one clear line that says what, where, and what to do."""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from .terminal import plain_terminal, visible

INTERRUPTED = 130  # the exit status of a process that SIGINT ended
BROKEN_PIPE = 141  # ... and SIGPIPE
# What the system refuses to a user, and a way out. Other errors of the system are faults of ours.
ADVICE = {
    errno.ENOSPC: 'free some space or choose another folder',
    errno.EDQUOT: 'free some of your quota or choose another folder',
    errno.EFBIG: 'choose a folder on another file system',
    errno.EROFS: 'choose a folder that can be written',
    errno.EACCES: 'change its permissions or choose another path',
    errno.EPERM: 'change its permissions or choose another path',
    errno.ENOENT: 'check the path; a folder may have been moved or unmounted',
    errno.ENOTDIR: 'a part of the path is a file: choose another path',
    errno.EISDIR: 'it is a folder: name a file',
    errno.EEXIST: 'it is there already: choose another path',
    errno.ENOTEMPTY: 'the folder is not empty: choose another path',
    errno.ENAMETOOLONG: 'choose a shorter name',
    errno.ELOOP: 'its links form a circle: choose another path',
    errno.EMFILE: 'allow more open files (ulimit -n 4096), or set num_workers to 0',
    errno.ENFILE: 'the machine has too many open files: close other programs',
    errno.EIO: 'the disk or the network does not answer: check it, then run the command again',
    errno.ESTALE: 'the network folder was replaced: mount it again',
}
# A file that is open already may meet these; then the error does not name it.
WHILE_OPEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)


class UserError(ValueError):
    """Wrong input. The message is one line for the user; tools print it without a traceback."""

    def __init__(self, message: str) -> None:
        # A loader worker's error comes back with its whole traceback for a message: keep the line.
        if message.startswith('Caught UserError in'):
            message = message.rstrip().rpartition('UserError: ')[2]
        super().__init__(message)


def suggest(name: str, known: Iterable[str]) -> str:
    """' (did you mean a, b?)' for the near matches of `name` among `known`, or else the names that
    it begins; else ''."""
    known = list(known)
    near = (
        difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        or [longer for longer in known if len(name) > 2 and longer.startswith(name)][:3]
    )
    return f' (did you mean {", ".join(near)}?)' if near else ''


def explain_os_error(error: OSError, *, doing: str = '') -> str | None:
    """One line for what the system refused, with a way out; None where it is no user's matter.

    Args:
        doing: What was being done, where the error names no file: 'writing out/scores.json'.
    """
    if error.errno not in ADVICE:
        return None
    named = error.filename2 or error.filename or _open_file(error)
    what = doing or (str(named) if named else 'a file')
    return f'{what}: {os.strerror(error.errno)}: {ADVICE[error.errno]}'


def _open_file(error: OSError) -> str | None:
    """The open file that was being written or read, of the innermost function that has one."""
    if error.errno not in WHILE_OPEN:
        return None
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in frame.f_locals.values():
            if isinstance(value, logging.StreamHandler):
                value = value.stream
            name = getattr(value, 'name', None)
            if isinstance(value, io.IOBase) and isinstance(name, str):
                return name
    return None


@contextlib.contextmanager
def os_errors_explained(doing: str) -> Iterator[None]:
    """Within the block, what the system refuses is a UserError that says what was being done:
    `with os_errors_explained(f'writing {path}'):`."""
    try:
        yield
    except OSError as error:
        line = explain_os_error(error, doing=doing)
        if line is None:
            raise
        raise UserError(line) from error


@contextlib.contextmanager
def os_errors_located(path: str | os.PathLike) -> Iterator[None]:
    """Within the block, an error of the system that names no file names the open one that it met,
    or else `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = _open_file(error) or os.fspath(path)
        raise


@contextlib.contextmanager
def report_user_errors(*, exit_code: int = 1) -> Iterator[None]:
    """The frame of every tool, as a decorator or a `with` block.

    A UserError, and what the system refuses (`ADVICE`), becomes `error: ...` on stderr, in one line
    without a traceback, and the exit code; Ctrl-C becomes `interrupted` and 130. Any other
    exception is ours and keeps its traceback. Text from data cannot control the terminal
    (`terminal.py`).
    """
    with plain_terminal():
        try:
            try:
                yield
            except SystemExit:  # argparse's, which has printed its help
                sys.stdout.flush()
                raise
            sys.stdout.flush()
        except UserError as error:
            _tell(f'error: {error}')
            raise SystemExit(exit_code) from None
        except BrokenPipeError:  # the reader of a pipe has enough: `tool | head`
            _drop_stdout()
            raise SystemExit(BROKEN_PIPE) from None
        except OSError as error:
            line = explain_os_error(error)
            if line is None:
                raise
            _tell(f'error: {line}')
            try:
                sys.stdout.flush()
            except OSError:  # stdout is the file on the full disk
                _drop_stdout()
            raise SystemExit(exit_code) from None
        except KeyboardInterrupt:
            _tell('interrupted')
            raise SystemExit(INTERRUPTED) from None


def _drop_stdout() -> None:
    """What is left to write goes nowhere; or the interpreter would try again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(line: str) -> None:
    from tqdm import tqdm  # a plain print would stand behind an open progress bar

    with contextlib.suppress(OSError):  # stderr may be gone, too
        tqdm.write(visible(' '.join(line.splitlines())), file=sys.stderr)


def make_folder(path: str | os.PathLike) -> Path:
    """The folder, made where it is missing; a UserError where it cannot be."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(
            f'cannot make the folder {path} ({getattr(error, "strerror", error)}); '
            'choose another one to write to'
        ) from None
    return Path(path)
