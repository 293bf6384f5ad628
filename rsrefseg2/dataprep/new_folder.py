"""A folder of output: it appears complete or not at all, and nothing of others goes for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import UserError, make_folder, os_errors_explained


@contextlib.contextmanager
def complete_folder(out: str | Path, *, own: Collection[str] = ()) -> Iterator[Path]:
    """A folder to write to, beside `out`, which becomes `out` at the end and is removed where
    anything fails: `out` appears complete or not at all. `out` is claimed from the start: a second
    command that wants it is refused.

    Args:
        own: The files that may be in `out`, as names from there; they go. Nothing else that is in
            `out`, or gets there meanwhile, is removed.

    Raises:
        UserError: `out` holds other files, is claimed, or cannot be written.
    """
    out = Path(os.path.realpath(out))
    with _claimed(out):
        _require_nothing_but(own, out)
        with os_errors_explained(f'writing beside {out}'):
            root = Path(tempfile.mkdtemp(prefix=f'.{out.name}-', dir=out.parent))
            root.chmod(0o755)
        try:
            yield root
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise
        _put(root, out, own)


@contextlib.contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """The folder `out`, made where it is missing, is locked; where the block fails, it goes again.
    The lock ends with the process, however that ends."""
    missing = not os.path.lexists(out)
    if not missing and not out.is_dir():
        raise UserError(f'{out} is there and no folder: choose another --out')
    with os_errors_explained(f'opening {make_folder(out)}'):
        handle = os.open(out, os.O_RDONLY)
    try:
        if not _lock(handle, out):
            raise UserError(f'{out} is being written by another command: choose another --out')
        try:
            yield
        except BaseException:
            if missing:
                with contextlib.suppress(OSError):  # it is not empty any more
                    out.rmdir()
            raise
    finally:
        os.close(handle)


def _lock(handle: int, out: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: renaming still refuses a folder that is not empty
    try:
        return os.path.samestat(os.fstat(handle), os.stat(out))  # else it was replaced just now
    except FileNotFoundError:
        return False


def _require_nothing_but(own: Collection[str], out: Path) -> None:
    if not own:
        if any(out.iterdir()):
            raise UserError(f'{out} is there and not empty: choose another --out, or remove it')
        return
    others = sorted(
        os.path.relpath(os.path.join(folder, name), out)
        for folder, _, names in os.walk(out)
        for name in names
    )
    others = [name for name in others if name not in own]
    if others:
        raise UserError(
            f'{out} holds {len(others)} files that this command did not write '
            f'({others[0]!r}): move them, or choose another --out'
        )


def _put(root: Path, out: Path, own: Collection[str]) -> None:
    """Rename `root` to `out`, which the system refuses where something is in `out`; what `out` held
    goes before into a folder of its own."""
    kept = f'the finished data are in {root}: move them'
    try:
        old = None
        if own:
            old = Path(tempfile.mkdtemp(prefix=f'.{out.name}-', dir=out.parent))
            os.rename(out, old)
            kept += f', and what was there before is in {old}'
        os.rename(root, out)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise UserError(f'{out} got files of others meanwhile, which stay; {kept}') from None
        raise UserError(f'{out} cannot be replaced ({error.strerror}); {kept}') from None
    if old is not None:
        for name in own:
            (old / name).unlink(missing_ok=True)
        for folder, _, _ in os.walk(old, topdown=False):
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(folder)
        if old.exists():
            raise UserError(f'{out} is written; files that it got meanwhile are in {old}')
