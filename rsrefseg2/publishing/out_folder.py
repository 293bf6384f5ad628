"""The folder of a publication: it appears when it is whole, and replaces nothing."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from ..errors import UserError, make_folder, os_errors_explained


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A new folder beside `out` to write into; it becomes `out` when the block ends without an
    error, else it is removed.

    Raises:
        UserError: the disk is full or cannot be written; see also `put_in_place`.
    """
    with os_errors_explained(f'writing to {out.parent}'):
        stage = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        yield stage
        put_in_place(stage, out)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f'{out} cannot be written ({error}): free space, or choose another folder'
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_free(out: Path) -> None:
    """Asked before any work.

    Raises:
        UserError: `out` is a file, or holds something that is no publication.
    """
    make_folder(out.parent)
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file: give a folder that is new or empty')
    if (
        out.is_dir()
        and any(out.iterdir())
        and not ((out / 'README.md').is_file() and list(out.glob('*-????????.pth')))
    ):
        raise UserError(f'{out} is not empty: give a folder that is new or empty')


def put_in_place(stage: Path, out: Path) -> None:
    """`stage` becomes `out`, unless `out` holds the very same already.

    Raises:
        UserError: `out` holds another publication.
    """
    if out.is_dir() and any(out.iterdir()):
        if not same_files(stage, out):
            held = ', '.join(sorted(path.name for path in out.glob('*.pth')))
            raise UserError(
                f'{out} holds another publication ({held}): choose another --out, or '
                'remove that one'
            )
        return
    for file in stage.rglob('*'):
        if file.is_file():  # safetensors writes for its owner alone
            shutil.copymode(stage / 'README.md', file)
    mask = os.umask(0)
    os.umask(mask)
    stage.chmod(0o777 & ~mask)  # mkdtemp's own is for one user alone
    os.replace(stage, out)


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte for byte."""
    files = [
        {path.relative_to(folder): path for path in folder.rglob('*') if path.is_file()}
        for folder in (one, other)
    ]
    return files[0].keys() == files[1].keys() and all(
        filecmp.cmp(files[0][name], files[1][name], shallow=False) for name in files[0]
    )
