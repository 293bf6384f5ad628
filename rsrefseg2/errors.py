"""What a user can mend: one clear line that says what, where, and what to do."""
from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


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
    near = (difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            or [longer for longer in known if len(name) > 2 and longer.startswith(name)][:3])
    return f' (did you mean {", ".join(near)}?)' if near else ''


@contextlib.contextmanager
def report_user_errors(*, exit_code: int = 1) -> Iterator[None]:
    """For tools, as a decorator or a `with` block: a UserError becomes `error: ...` on stderr, in
    one line without a traceback, and the exit code. Any other exception is ours and keeps its
    own."""
    try:
        yield
    except UserError as error:
        from tqdm import tqdm  # a plain print would stand behind an open progress bar
        tqdm.write(f'error: {" ".join(str(error).splitlines())}', file=sys.stderr)
        raise SystemExit(exit_code) from None


def make_folder(path: str | os.PathLike) -> Path:
    """The folder, made where it is missing; a UserError where it cannot be."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make the folder {path} ({error.strerror}); choose another one '
                        'to write to') from None
    return Path(path)
