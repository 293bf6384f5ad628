"""What one visitor of the page has: a picture, encoded once, and the files of the last answer.

Knows nothing of gradio: `server.py` puts it on a page.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...errors import UserError, os_errors_explained
from ...rasters import is_raster
from ...rle import MOST_PIXELS
from ..prediction_files import Files, Outputs, as_text, names_of, write_answer
from ..predictor import Predictor
from ..sources import open_source
from ..viewer import Answer, Mode, Viewer
from .drawings import Drawing, draw_answer, draw_picture

MIB = 2**20
MOST_BYTES = 200 * MIB  # of an uploaded file
MOST_TILES = 1000  # of a sweep: on a page somebody waits
MOST_SESSIONS = 100  # with a picture each; of more the one that was idle longest ends
IDLE = 3600.0  # seconds, after which a session ends
MOST_STEM = 50  # characters of a picture's name in those of the files
LOGITS = 64 * MIB  # bytes of a sweep's logits in memory, of each session
PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.jp2')
# GDAL's drivers. Others, as VRT, read whatever file or address the content names.
DRIVERS = {'.tif': 'GTiff', '.tiff': 'GTiff', '.jp2': 'JP2OpenJPEG'}
MARK = 'RSRefSeg2 demo'


class Picture(NamedTuple):
    """The picture that was dropped."""

    name: str
    shape: tuple[int, int]  # (H, W)
    crs: str  # 'EPSG:32633'; '' without coordinates
    drawing: Drawing


class Reply(NamedTuple):
    """The answer to a sentence, ready to be shown."""

    answer: Answer
    mode: Mode
    drawings: list[Drawing]  # the mask, where it was looked for, and how it was drawn


class Written(NamedTuple):
    """The files of an answer, and what was found."""

    paths: dict[str, Path]  # 'mask', 'panel', of a raster with coordinates 'polygons', too
    pixels: int
    polygons: int | None  # None: without coordinates


class Session:
    """One visitor. Several threads may call it; one works at a time.

    Args:
        folder: of all sessions; the session's own folder is made there, and goes with `close`.
        model: by what polygons name it.
        most_bytes: of an uploaded file.

    Attributes:
        token: names the session in an address. Nobody can guess it.
    """

    def __init__(
        self, predictor: Predictor, folder: Path, *, model: str = '', most_bytes: int = MOST_BYTES
    ) -> None:
        self.predictor, self.model, self.most_bytes = predictor, model, most_bytes
        self.token = secrets.token_urlsafe(24)
        self.folder = folder / self.token
        self.folder.mkdir(mode=0o700)
        self.used = time.monotonic()
        self._lock = threading.Lock()
        self._closed = False
        self._asked = 0  # sentences of the picture
        self._viewer: Viewer | None = None
        self._answer: Answer | None = None  # until it is written
        self._written: Written | None = None
        self._path = Path()

    def set_picture(self, path: str | os.PathLike) -> Picture:
        """Copies the file into the session's folder, opens it and encodes it. The picture before
        is forgotten, also where this one is refused.

        Raises:
            UserError: the file is too large, of a kind that the page does not read, or damaged; it
                has too many pixels, or none that is valid.
        """
        with self._working():
            self._forget()
            check_upload(Path(path), self.most_bytes)
            self._path = self.folder / 'picture' / Path(path).name
            self._path.parent.mkdir()
            with os_errors_explained(f'writing {self._path}'):
                shutil.copyfile(path, self._path)
            check_kind(self._path)
            source = open_source(self._path)
            self._viewer = viewer = Viewer(self.predictor, source, memory=LOGITS)
            try:
                _ = viewer.encoded  # the first sentence then is as fast as the others
                crs = '' if source.raster is None else crs_name(source.raster.crs)
                return Picture(
                    self._path.name, source.shape, crs, draw_picture(source, viewer.window)
                )
            except BaseException:
                self._forget()
                raise

    def ask(
        self,
        sentence: str,
        mode: Mode | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Reply:
        """The answer; its files are written by `write`.

        Args:
            mode: None: the viewer's own rule.
            progress: is told of a sweep's tiles: how many are done, how many there are.
        Raises:
            UserError: there is no picture; see `Viewer.ask`; a sweep has too many tiles.
        """
        with self._working():
            viewer = self._require_viewer()
            self._forget_answer()
            mode = viewer.mode if mode is None else mode
            if mode == 'sweep':
                across, down = viewer.tiles()
                if len(down) * len(across) > MOST_TILES:
                    raise UserError(
                        f'this picture has {len(down) * len(across)} parts, at most {MOST_TILES} '
                        'are searched on this page: cut it into pieces, or use rsrefseg2 predict'
                    )
            viewer.progress = self._interrupted(progress)
            (answer,) = viewer.ask(sentence, mode)
            self._asked += 1
            self._answer = answer
            return Reply(answer, mode, draw_answer(viewer.source, viewer.window, answer))

    def write(self) -> Written | None:
        """Writes the last answer's files, as `predict` does: the mask as PNG or, of a raster, as
        GeoTIFF, the polygons of a raster with coordinates as GeoJSON, and the panel. None where
        nothing was asked.

        Raises:
            UserError: a file cannot be written.
        """
        with self._working():
            viewer, answer = self._viewer, self._answer
            if viewer is None or answer is None:
                return self._written
            source, stem = viewer.source, f'{self._path.stem[:MOST_STEM]}_{self._asked}'
            paths = {
                kind: self.folder / 'answer' / f'{stem}{end}'
                for kind, end in names_of(source, Outputs()).items()
            }
            facts = dict(sentence=answer.text, source=as_text(self._path.name), model=self.model)
            found = write_answer(Files(MARK, [paths]), 0, source, viewer.window, answer, facts)
            self._answer = None  # of a large picture it is large
            named = {kind.removesuffix('.geojson'): path for kind, path in paths.items()}
            self._written = Written(named, found['pixels'], found.get('polygons'))
            return self._written

    @property
    def paths(self) -> dict[str, Path]:
        """The files that may be downloaded, by kind."""
        written = self._written
        return {} if written is None else written.paths

    def close(self) -> None:
        """Forgets the picture and removes the folder; where a thread works, when it has ended."""
        self._closed = True
        self._clean_up()

    # ------------------------------------------------------------------ one at a time

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """One thread at a time; errors name the visitor's file, not its path on this machine."""
        try:
            with self._lock:
                if self._closed:
                    raise UserError('this page was closed: reload it')
                self.used = time.monotonic()
                try:
                    yield
                finally:
                    self.used = time.monotonic()
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise UserError(
                'the memory of this machine does not suffice: try a smaller picture, or again later'
            ) from error
        except UserError as error:
            line = str(error)
            for folder in ('picture', 'answer'):
                line = line.replace(f'{self.folder / folder}{os.sep}', '')
            raise UserError(line) from error
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        if self._closed and self._lock.acquire(blocking=False):
            try:
                self._forget()
                shutil.rmtree(self.folder, ignore_errors=True)
            finally:
                self._lock.release()

    def _interrupted(
        self, progress: Callable[[int, int], None] | None
    ) -> Callable[[int, int], None]:
        """`progress`, which also ends the work of a page that was closed."""

        def tell(done: int, total: int) -> None:
            if self._closed:
                raise UserError('this page was closed: reload it')
            if progress is not None:
                progress(done, total)

        return tell

    def _require_viewer(self) -> Viewer:
        if self._viewer is None:
            raise UserError(
                'there is no picture: drop one first (a page that is idle for an hour forgets it)'
            )
        return self._viewer

    def _forget(self) -> None:
        self._forget_answer()
        if self._viewer is not None:
            self._viewer.source.close()
        self._viewer, self._asked = None, 0
        shutil.rmtree(self.folder / 'picture', ignore_errors=True)

    def _forget_answer(self) -> None:
        self._answer = self._written = None
        shutil.rmtree(self.folder / 'answer', ignore_errors=True)


class Sessions:
    """All visitors, by a name that each page has for itself.

    Args:
        folder: where their folders are made; for this process alone.
        model: by what polygons name it.
        most: sessions at once.
        idle: seconds after which an unused session ends.
    """

    def __init__(
        self,
        predictor: Predictor,
        folder: Path,
        *,
        model: str = '',
        most: int = MOST_SESSIONS,
        idle: float = IDLE,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.predictor, self.folder = predictor, folder
        self.model, self.most_bytes = model, most_bytes
        self._most, self._idle = most, idle
        self._lock = threading.Lock()
        self._by_name: OrderedDict[str, Session] = OrderedDict()

    def of(self, name: str | None) -> Session:
        """The session of this name, made where there is none.

        Raises:
            UserError: no name.
        """
        if not name:
            raise UserError('this page has no session: reload it')
        with self._lock:
            session = self._by_name.get(name)
            if session is None:
                session = Session(
                    self.predictor, self.folder, model=self.model, most_bytes=self.most_bytes
                )
            session.used = time.monotonic()
            self._by_name[name] = session
            self._by_name.move_to_end(name)
            ended = [
                other
                for other, one in self._by_name.items()
                if one.used < time.monotonic() - self._idle
            ]
            alive = [other for other in self._by_name if other not in ended]
            closing = [
                self._by_name.pop(other)
                for other in ended + alive[: max(0, len(alive) - self._most)]
            ]
        for one in closing:
            one.close()
        return session

    def end(self, name: str | None) -> None:
        """Closes the session, if there is one."""
        with self._lock:
            session = self._by_name.pop(name or '', None)
        if session is not None:
            session.close()

    def close(self) -> None:
        """Closes all."""
        for name in list(self._by_name):
            self.end(name)

    def file(self, token: str, kind: str) -> Path | None:
        """The file of a kind, of the session with this token; None where there is none."""
        with self._lock:
            found = [one for one in self._by_name.values() if one.token == token]
        return found[0].paths.get(kind) if found else None

    def __len__(self) -> int:
        return len(self._by_name)


# ------------------------------------------------------------------ files


def check_upload(path: Path, most_bytes: int) -> None:
    """Nothing.

    Raises:
        UserError: the file is too large, or its ending is not of `PICTURES`.
    """
    if path.suffix.lower() not in PICTURES:
        raise UserError(
            f'{path.name!r} is of a kind that this page does not read: '
            'save it as PNG, JPEG, WebP, GeoTIFF or JPEG 2000'
        )
    with os_errors_explained(f'reading {path.name}'):
        size = path.stat().st_size
    if size > most_bytes:
        raise UserError(
            f'{path.name!r} has {size / MIB:,.1f} MB, at most {most_bytes // MIB} MB are '
            'read: cut it into pieces, or compress it'
        )


def check_kind(path: Path) -> None:
    """Of a file that GDAL is to read: GDAL goes by the content, and what is a list of addresses and
    other files inside must not be opened for a stranger.

    Raises:
        UserError: it is of another kind than its ending says, damaged, or has too many pixels.
    """
    if not is_raster(path) or importlib.util.find_spec('rasterio') is None:
        return
    import rasterio

    try:
        file: Any = rasterio.open(path, driver=DRIVERS[path.suffix.lower()])
    except rasterio.errors.RasterioError as error:
        raise UserError(
            f'{path.name!r} cannot be read as GeoTIFF or JPEG 2000: see what gdalinfo says of it, '
            'or fetch it again'
        ) from error
    with file:
        if file.width * file.height > MOST_PIXELS:
            raise UserError(
                f'{path.name!r} has {file.width} x {file.height} pixels, at most {MOST_PIXELS} are '
                'read on this page: cut it into pieces (gdal_translate -srcwin 0 0 8192 8192 IN OUT.tif)'
            )


def crs_name(crs: Any) -> str:
    """'EPSG:32633', or 'own coordinates' of a CRS without a number; '' of none."""
    if crs is None:
        return ''
    number = crs.to_epsg()
    return f'EPSG:{number}' if number else 'own coordinates'
