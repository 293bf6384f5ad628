"""Where each benchmark comes from, and how it gets into its folder."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from tqdm import tqdm

from ..errors import UserError, make_folder, os_errors_explained
from ..files import open_regular, replacing


class Source(NamedTuple):
    """hub: (data set, file) on the Hugging Face hub; None: by hand, as `by_hand` says."""

    title: str
    hub: tuple[str, str] | None
    by_hand: str


SOURCES = {
    'refsegrs': Source(
        'RefSegRS',
        ('JessicaYuan/RefSegRS', 'RefSegRS.zip'),
        'download RefSegRS.zip (2.97 GB) of the Hugging Face data set '
        'JessicaYuan/RefSegRS; not its loose files, which lack the text',
    ),
    'rrsisd': Source(
        'RRSIS-D',
        None,
        'download the folder of Google Drive or Baidu Netdisk (code sjoe) that the '
        'README of github.com/Lsan2401/RMSIN links. Google Drive cuts it into '
        'several archives and has dropped files: give all of them at once',
    ),
    'risbench': Source(
        'RISBench',
        None,
        'download the archive of Baidu Netdisk (code wnxg) that the README of '
        'github.com/HIT-SIRS/CroBIM links',
    ),
}


def download(source: Source, folder: str | os.PathLike, *, hub: Any = None) -> Path:
    """The source's file of the hub, in `folder`; goes on where an earlier download stopped.

    The hub's client resumes, and reads HF_ENDPOINT (a mirror), HF_TOKEN and HF_HUB_OFFLINE. The
    file is then compared with the sha256 that the hub states.

    Args:
        hub: huggingface_hub, or what stands for it.

    Raises:
        UserError: the hub is not reached, or the file is not the one that it states.
    """
    if hub is None:
        import huggingface_hub as hub
    if source.hub is None:
        raise UserError(f'{source.title} is not on the hub: {source.by_hand}')
    repository, name = source.hub
    try:
        path = Path(hub.hf_hub_download(repository, name, repo_type='dataset', local_dir=folder))
        (stated,) = hub.HfApi().get_paths_info(repository, [name], repo_type='dataset')
    except Exception as error:  # the client raises httpx, OS and its own errors
        first_line = (str(error).strip().splitlines() or [''])[0]
        raise UserError(
            f'{name} of {repository} is not fetched ({type(error).__name__}: {first_line}): run '
            'the same command again, it goes on where it stopped; HF_ENDPOINT names a mirror. By '
            f'hand: {source.by_hand}, and give the archive to this command'
        ) from error
    if stated.lfs is not None and sha256(path) != stated.lfs.sha256:
        raise UserError(
            f'{path}: its checksum is not the one that the hub states: remove the '
            'file and run the same command again'
        )
    return path


def sha256(path: str | os.PathLike) -> str:
    """A file's SHA-256, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def unpack(archives: Sequence[str | os.PathLike], folder: str | os.PathLike) -> int:
    """Unpack zip and tar archives into one folder, which joins the parts of a divided download.

    A file that is there already, of the same size, is left. Each file of a zip is compared with
    its checksum, and appears under its name only when it is complete.

    Returns:
        The number of files written.

    Raises:
        UserError: an archive is damaged, or no archive, or would write outside of `folder`.
    """
    folder = make_folder(folder)
    written = 0
    for archive in archives:
        with open_regular(archive, what='the archive') as file:
            try:
                entries, opened = _entries(file)
                if not entries:
                    raise UserError(
                        f'{archive}: no file in it, or no complete zip or tar archive: '
                        'fetch it again (unpack other kinds by hand)'
                    )
                written += _write_entries(entries, opened, folder, str(archive))
            except UserError:
                raise
            except (
                zipfile.BadZipFile,
                tarfile.TarError,
                zlib.error,
                lzma.LZMAError,
                EOFError,
                OSError,
                RuntimeError,
                NotImplementedError,
                ValueError,
            ) as error:
                raise UserError(
                    f'{archive}: the archive cannot be unpacked ({error}): fetch it again'
                ) from error
    return written


def _entries(file: BinaryIO) -> tuple[list[tuple[str, int, Any]], Callable[[Any], Any]]:
    """(name, size, entry) of the files in an archive, and what opens an entry."""
    if zipfile.is_zipfile(file):
        packed = zipfile.ZipFile(file)
        entries = [(e.filename, e.file_size, e) for e in packed.infolist() if not e.is_dir()]
        return entries, packed.open
    file.seek(0)
    with contextlib.suppress(tarfile.ReadError):
        found = tarfile.open(fileobj=file)
        return [(e.name, e.size, e) for e in found if e.isfile()], found.extractfile
    return [], file.read  # nothing to open


def _write_entries(
    entries: Sequence[tuple[str, int, Any]],
    opened: Callable[[Any], Any],
    folder: Path,
    archive: str,
) -> int:
    written = 0
    for name, size, entry in tqdm(
        entries, desc=os.path.basename(archive), leave=False, disable=None, dynamic_ncols=True
    ):
        parts = PurePosixPath(name.replace('\\', '/'))
        if parts.is_absolute() or '..' in parts.parts or ':' in name:
            raise UserError(
                f'{archive}: the entry {name!r} would be written outside of {folder}: '
                'do not trust this archive'
            )
        target = folder.joinpath(*parts.parts)
        if target.is_file() and target.stat().st_size == size:
            continue
        make_folder(target.parent)
        with opened(entry) as source, replacing(target) as partial:
            with open(partial, 'wb') as file, os_errors_explained(f'unpacking {target}'):
                while block := source.read(2**20):
                    file.write(block)
        written += 1
    return written
