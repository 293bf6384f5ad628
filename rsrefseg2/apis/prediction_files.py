"""The files that `predict` writes, and the record of what is done, by which it goes on.

Each file bears a mark: this tool, and a digest of the picture's file. A file with the mark is
replaced when the same picture is asked again; any other file stays. `answers.jsonl` in the folder
has a line for each answer; what it names, asked in the same way, is not asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import UserError, make_folder, os_errors_explained
from ..files import open_regular, read_bytes, require_free, write_with
from ..rasters import (
    MOST_SIDE,
    View,
    Window,
    polygons_of,
    probability,
    write_mask,
    write_polygons,
    write_probability,
)
from ..records import decode_json, to_json
from ..rle import encode
from ..visualization import panel
from .asked import MARK, Asked
from .sources import Source
from .viewer import Answer

MOST_BYTES = 200  # of a picture's stem in a file name, of which file systems allow 255
DONE = 'answers.jsonl'


class Files(NamedTuple):
    """What the answers of one picture are written to."""

    mark: str
    of_sentence: list[dict[str, Path]]  # 'mask', 'panel', 'polygons.gpkg', ...


class Outputs(NamedTuple):
    """What is written beside mask and panel."""

    polygons: Sequence[str] = ('.geojson',)  # of a raster with coordinates, by their endings
    probability: bool = False


def names_of(source: Source, outputs: Outputs) -> dict[str, str]:
    """The files that an answer becomes, by the end of their names."""
    raster = source.raster is not None
    names = {'mask': '_mask.tif' if raster else '_mask.png'}
    if outputs.probability:
        names['probability'] = f'_probability.{"tif" if raster else "png"}'
    if source.raster is not None and source.raster.crs is not None:
        names |= {f'polygons{ending}': f'_polygons{ending}' for ending in outputs.polygons}
    return {**names, 'panel': '_panel.png'}


def free_files(
    asked: Sequence[Asked],
    names: Sequence[Mapping[str, str]],
    made_of: Sequence[Sequence[str]],
    out: str | Path,
    *,
    overwrite: bool = False,
) -> list[Files]:
    """The files to write for each picture. Other files stay as they are.

    Args:
        names: of each picture, see `names_of`.  made_of: the files that it lies in.
    Raises:
        UserError: two pictures would write one file; a file to write is a given picture, or is
            there and not of this picture; a picture cannot be read.
    """
    taken: dict[Path, str] = {}
    given = {_place(one.picture.path) for one in asked}
    found = []
    for one, ends, parts in zip(asked, names, made_of, strict=True):
        path, mark = one.picture.path, _mark(parts)
        stem = Path(out) / _shortened(one.picture.name)
        of_sentence = [
            {name: Path(f'{stem}_{k}{end}') for name, end in ends.items()}
            for k in range(1, len(one.sentences) + 1)
        ]
        for file in (file for by_name in of_sentence for file in by_name.values()):
            if file in taken:
                raise UserError(
                    f'{taken[file]} and {path} would both write {file}: ask about them '
                    'in two calls, each with its own --out'
                )
            taken[file] = path
            if _place(file) in given:
                raise UserError(
                    f'{file}, which {path} would write, is one of the pictures: leave '
                    'it out, or choose another --out'
                )
            require_free(file, mark=mark, overwrite=overwrite or _is_ours(file, mark))
        found.append(Files(mark, of_sentence))
    return found


def _is_ours(file: Path, mark: str) -> bool:
    """Whether a GeoPackage bears the mark, which lies where its database keeps it."""
    if file.suffix != '.gpkg' or not file.is_file() or file.is_symlink():
        return False
    try:
        address = f'{file.resolve().as_uri()}?mode=ro'
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            return (mark,) in database.execute('select description from gpkg_contents').fetchall()
    except sqlite3.Error:
        return False


def _place(path: str | Path) -> str:
    """The same text for the same entry of a folder; a link there is not followed."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _mark(parts: Sequence[str]) -> str:
    """What a file written for a picture bears: the digest of its file, or of its files' digests."""
    digests = []
    for path in parts:
        with open_regular(path, what='the image') as file, os_errors_explained(f'reading {path}'):
            digests.append(hashlib.file_digest(file, 'sha256').hexdigest())
    whole = digests[0] if len(digests) == 1 else hashlib.sha256(repr(digests).encode()).hexdigest()
    return f'{MARK}{whole}'


def as_text(path: str | os.PathLike) -> str:
    """A path as text that every reader takes: bytes that are no UTF-8 as escapes."""
    return os.fsencode(path).decode('utf-8', 'backslashreplace')


def _shortened(name: str) -> Path:
    """The picture's name; a very long one is cut and gets a hash."""
    folder, stem = os.path.split(name)
    raw = os.fsencode(stem)
    if len(raw) > MOST_BYTES:
        short = raw[: MOST_BYTES - 9].decode('utf-8', 'ignore')
        stem = f'{short}-{hashlib.sha256(raw).hexdigest()[:8]}'
    return Path(folder, stem)


# ------------------------------------------------------------------ what is done


class Done:
    """The lines of `answers.jsonl`: what was asked how, what was found, where it lies. The last
    line of a mask's file counts.

    Args:
        out: the folder.  how: what an answer depends on beside picture and sentence.
        anew: nothing that is there counts.
    Raises:
        UserError: the file is there and not of this tool.
    """

    def __init__(self, out: Path, how: Mapping[str, Any], *, anew: bool = False) -> None:
        self.out, self.path, self.how = out, out / DONE, dict(how)
        self._lines: dict[str, dict[str, Any]] = {}
        if os.path.lexists(self.path):
            lines = self._read()
            if not anew:
                self._lines = {line['files']['mask']: line for line in lines}

    def _read(self) -> list[dict[str, Any]]:
        """The whole lines. What an interrupted writing left behind the last of them is cut: it is
        asked again. Nothing is cut of a file that is not ours."""
        stranger = UserError(
            f'{self.path} is there, and this command did not write it: move it, or choose another '
            '--out'
        )
        if self.path.is_symlink():
            raise stranger
        raw = read_bytes(self.path, what='the answers')
        whole = raw.rfind(b'\n') + 1
        lines = []
        for number, text in enumerate(raw[:whole].splitlines(), start=1):
            line = decode_json(text, dict[str, Any], location=f'{self.path}:{number}')
            files = line.get('files')
            if not isinstance(files, dict) or 'mask' not in files or 'mark' not in line:
                raise stranger
            lines.append(line)
        if whole < len(raw):
            if not lines and not raw.startswith(b'{"sentence": '):
                raise stranger
            with os_errors_explained(f'writing {self.path}'):
                os.truncate(self.path, whole)
        return lines

    def find(self, files: Files, k: int, sentence: str) -> dict[str, Any] | None:
        """The line of an answer that is there, files and all."""
        names = self._names(files, k)
        line = self._lines.get(names['mask'])
        same = line is not None and (
            line['mark'] == files.mark
            and line.get('sentence') == sentence
            and line.get('how') == self.how
            and line['files'] == names
            and all(path.exists() for path in files.of_sentence[k].values())
        )
        return line if same else None

    def begin(self, files: Files, k: int) -> None:
        """An answer's files are about to be written: what a line says of them holds no more."""
        if self._lines.pop(self._names(files, k)['mask'], None) is not None:
            self._append({'sentence': None, 'files': self._names(files, k), 'mark': files.mark})

    def add(self, files: Files, k: int, sentence: str, facts: Mapping[str, Any]) -> None:
        """Writes the line of an answer whose files are there."""
        line = {
            'sentence': sentence,
            **facts,
            'files': self._names(files, k),
            'mark': files.mark,
            'how': self.how,
        }
        self._append(line)
        self._lines[line['files']['mask']] = line

    def _append(self, line: dict[str, Any]) -> None:
        with (
            os_errors_explained(f'writing {self.path}'),
            self.path.open('a', encoding='utf-8') as file,
        ):
            file.write(to_json(line, ascii_only=False) + '\n')

    def _names(self, files: Files, k: int) -> dict[str, str]:
        """The files' names within the folder, as text that every reader takes."""
        return {
            name: as_text(path.relative_to(self.out)) for name, path in files.of_sentence[k].items()
        }


# ------------------------------------------------------------------ writing


def write_answer(
    files: Files, k: int, source: Source, window: Window, answer: Answer, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The files of the answer to sentence `k`, from 0; a mask is 0 and 255.

    Args:
        window: what was asked.  facts: what polygons say beside their own.
    Returns:
        What was found: pixels, of how many, polygons (of a raster with coordinates).
    Raises:
        UserError: a file cannot be written.
    """
    paths = files.of_sentence[k]
    for path in paths.values():
        make_folder(path.parent)
    view = source.view(window, most_side=MOST_SIDE)
    found: dict[str, Any] = {'of': window.width * window.height}
    if source.raster is None:
        logits = answer.surface.at(
            slice(window.row, window.row + window.height),
            slice(window.column, window.column + window.width),
        )
        mask = logits > 0
        found['pixels'] = int(mask.sum())
        _write_png(paths['mask'], Image.fromarray(mask).convert('L'), files.mark)
        if 'probability' in paths:
            grey = np.round(255 * probability(logits)).astype(np.uint8)
            _write_png(paths['probability'], Image.fromarray(grey), files.mark)
    else:
        raster = source.raster
        found['pixels'] = write_mask(paths['mask'], raster, window, answer.surface, mark=files.mark)
        if 'probability' in paths:
            write_probability(paths['probability'], raster, window, answer.surface, mark=files.mark)
        written = [path for name, path in paths.items() if name.startswith('polygons')]
        if written:
            features = list(polygons_of(raster, window, paths['mask'], answer.surface, facts))
            found['polygons'] = len(features)
            for path in written:
                write_polygons(path, raster, features, mark=files.mark)
    _write_png(
        paths['panel'],
        Image.fromarray(_sheet(source, view, answer, str(facts['source']))),
        files.mark,
    )
    return found


def _sheet(source: Source, view: View, answer: Answer, note: str) -> np.ndarray:
    """The panel, with the last look beside the view where there is more than one."""
    closer = None
    if len(answer.looks) > 1:
        look = source.view(answer.looks[-1], most_side=MOST_SIDE)
        closer = look.image, answer.surface.mask_on(look.window, look.valid.shape) & look.valid
    return panel(
        view.image,
        answer.text,
        pred_mask=answer.surface.mask_on(view.window, view.valid.shape) & view.valid,
        note=note,
        dense_prompt=answer.dense_prompt,
        closer=closer,
    )


def dump_lines(asked: Iterable[tuple[Asked, Files]]) -> Iterable[str]:
    """A line for each answer as the scorer reads them: id, file, sentence, prediction (RLE of the
    written mask). Masks of rasters are left out."""
    for one, files in asked:
        for name, sentence, paths in zip(one.ids, one.sentences, files.of_sentence, strict=True):
            if paths['mask'].suffix != '.png':
                continue
            with Image.open(paths['mask']) as image:
                mask = np.asarray(image) > 0
            yield json.dumps(
                {
                    'id': name,
                    'file': one.picture.path,
                    'sentence': sentence,
                    'prediction': encode(mask),
                },
                ensure_ascii=False,
            )


def write_scene(path: Path, image: np.ndarray, *, overwrite: bool = False) -> None:
    """The demo's scene; an older one is replaced.

    Raises:
        UserError: another file is there; it cannot be written.
    """
    mark = 'RSRefSeg2 demo scene'
    require_free(path, mark=mark, overwrite=overwrite)
    _write_png(path, Image.fromarray(image), mark)


def _write_png(path: Path, image: Image.Image, mark: str) -> None:
    info = PngInfo()
    info.add_text('Source', mark)
    write_with(path, lambda temporary: image.save(temporary, pnginfo=info))
