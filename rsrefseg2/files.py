"""Files of users: only regular ones are opened, names stay in their folder, writing is whole or not
at all, and nothing is replaced that this package did not write."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from .errors import UserError, os_errors_explained

_KINDS = {
    stat.S_IFDIR: 'a folder',
    stat.S_IFIFO: 'a FIFO',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
    stat.S_IFSOCK: 'a socket',
}
MARK_WITHIN = 2048  # bytes at either end of a file in which its mark is looked for


def cache_folder() -> Path:
    """Where what can be made again is kept: $RSREFSEG2_CACHE, else rsrefseg2 below $XDG_CACHE_HOME
    (~/.cache). It may not exist yet."""
    own = os.environ.get('RSREFSEG2_CACHE')
    shared = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return Path(own) if own else Path(shared, 'rsrefseg2')


def open_regular(path: str | os.PathLike, *, what: str = 'the file') -> BufferedReader:
    """The file, open for reading bytes. A FIFO or a device is refused: it may block for ever.

    Args:
        what: What it should hold, for messages: 'the image'.

    Raises:
        UserError: it does not exist, cannot be read, or is no regular file.
    """
    shown = os.fsdecode(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
    except FileNotFoundError:
        raise UserError(f'{shown!r}: {what} does not exist: check the path') from None
    except ValueError as error:  # a NUL in the name
        raise UserError(f'{shown!r}: no name of a file ({error})') from None
    except OSError as error:
        raise UserError(
            f'{shown!r}: {what} cannot be opened ({error.strerror}): check the path '
            'and its permissions'
        ) from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = _KINDS.get(stat.S_IFMT(mode), 'no regular file')
        raise UserError(f'{shown!r}: {what} is {kind}: give a regular file')
    return os.fdopen(handle, 'rb')


def read_bytes(path: str | os.PathLike, *, what: str = 'the file') -> bytes:
    """What the regular file holds.

    Raises:
        UserError: see `open_regular`; it cannot be read to its end.
    """
    with open_regular(path, what=what) as file, os_errors_explained(f'reading {os.fsdecode(path)}'):
        return file.read()


def read_text(path: str | os.PathLike, *, what: str = 'the file') -> str:
    """The text of a UTF-8 file, a byte order mark at its start left out.

    Raises:
        UserError: see `read_bytes`; it is not UTF-8.
    """
    return as_utf8(read_bytes(path, what=what), os.fsdecode(path))


def as_utf8(raw: bytes, location: str) -> str:
    """The text of UTF-8 bytes, a byte order mark at their start left out.

    Raises:
        UserError: they are not UTF-8.
    """
    raw = raw.removeprefix(b'\xef\xbb\xbf')
    try:
        return raw.decode('utf-8')  # utf-8-sig may have to be imported first
    except UnicodeDecodeError as error:
        found = error.object  # without the byte order mark, as error.start counts
        line = found.count(b'\n', 0, error.start) + 1
        raise UserError(
            f'{location}: not UTF-8 (byte 0x{found[error.start]:02x} in line {line}): '
            'save the file as UTF-8'
        ) from None


def confined(root: str | os.PathLike, name: str, *, location: str) -> str:
    """`root`/`name`, for a file name that came with data.

    Raises:
        UserError: the name is absolute, climbs out of `root` by '..', or is no name.
    """
    parts = name.replace(os.sep, '/').split('/')
    if parts[0] == '' or '..' in parts or not set(parts) - {'', '.'} or '\0' in name:
        raise UserError(
            f'{location}: the file name {name!r} leads out of its folder '
            f'{os.fspath(root)!r}: correct the record'
        )
    return os.path.join(root, name)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends, and goes
    when the block fails. A link at `path` is replaced, what it leads to is not touched.

    Raises:
        UserError: it cannot be written (a full or read-only disk, no such folder, a folder there).
    """
    path = Path(path)
    with os_errors_explained(f'writing {path}'):
        # Writers tell the format by the suffix; what follows the last dot of a long name is none.
        suffix = path.suffix if len(path.suffix) <= 16 else ''
        handle, name = tempfile.mkstemp(dir=path.parent, prefix='.', suffix=suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(_mode_of(path))  # mkstemp's own is for one user alone
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """The permissions of the file that is replaced, or of a new one."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode):
            return stat.S_IMODE(mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Raises:
        UserError: see `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def write_with(path: str | os.PathLike, write: Callable[[Path], Any]) -> None:
    """`write(temporary path)`, whole or not at all.

    Raises:
        UserError: see `replacing`.
    """
    with replacing(path) as temporary:
        write(temporary)


def bears(path: str | os.PathLike, mark: str) -> bool:
    """Whether a file holds the text within `MARK_WITHIN` bytes of an end."""
    with open_regular(path) as file:
        ends = [file.read(MARK_WITHIN)]
        file.seek(max(0, os.path.getsize(path) - MARK_WITHIN))
        ends.append(file.read(MARK_WITHIN))
    return any(mark.encode() in end for end in ends)


def require_free(
    path: str | os.PathLike,
    *,
    mark: str | None = None,
    option: str = '--out',
    overwrite: bool = False,
) -> None:
    """`path` may be written: nothing is there, or a file that bears our `mark`.

    Args:
        mark: Text that our own files of this kind hold within `MARK_WITHIN` bytes of an end; None:
            our files bear none, so any file there is refused.
        option: The option that names the place, for the message.
        overwrite: Replace whatever file is there; the user said so.

    Raises:
        UserError: a file, link or folder of somebody else's is there.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return
    if path.is_dir():
        raise UserError(f'{path} is a folder: choose another {option}')
    if overwrite:
        return
    if mark is not None and path.is_file() and not path.is_symlink():
        if bears(path, mark):
            return
    what = (
        'is a link'
        if path.is_symlink()
        else ('is there already' if mark is None else 'is there, and this command did not write it')
    )
    raise UserError(
        f'{path} {what}: move it, choose another {option}, or replace it with --overwrite'
    )


def require_writable(folder: str | os.PathLike) -> None:
    """Files can be made in `folder`: asked before work begins whose results go there.

    Raises:
        UserError: they cannot (a read-only disk, no permission).
    """
    with os_errors_explained(f'writing to {os.fspath(folder)}'):
        tempfile.TemporaryFile(dir=os.fspath(folder)).close()
