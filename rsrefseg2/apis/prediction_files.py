"""The arguments of tools/predict.py, what it reads and the files that it writes.

Each file bears a mark: this tool, and a digest of the picture's file. A file with the mark is
replaced when the same picture is asked again; any other file stays.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..datasets import read_image
from ..errors import UserError, os_errors_explained
from ..files import open_regular, require_free, write_with
from ..rasters import Raster, Stretch, View, is_raster, write_mask, write_polygons
from ..visualization import panel
from .predictor import Prediction

OF_PICTURE = {'mask': '_mask.png', 'panel': '_panel.png'}  # the ends of an answer's files
MOST_BYTES = 200  # of a picture's stem in a file name, of which file systems allow 255


class Picture(NamedTuple):
    """A picture to ask about, and what its answers are written to."""

    path: str
    mark: str
    files: list[dict[str, Path]]  # for each sentence: 'mask', 'panel', of a map 'polygons', too


class Source(NamedTuple):
    """What is looked at: a picture, or a view of a raster."""

    image: np.ndarray  # (H, W, 3) uint8
    raster: Raster | None = None  # closed; None: of a picture
    view: View | None = None

    def names(self) -> dict[str, str]:
        """The files that an answer becomes, by the end of their names."""
        if self.raster is None:
            return dict(OF_PICTURE)
        polygons = {} if self.raster.crs is None else {'polygons': '_polygons.geojson'}
        return {'mask': '_mask.tif', **polygons, 'panel': '_panel.png'}


def read_source(
    path: str,
    *,
    bands: Sequence[int] | None = None,
    stretch: Stretch | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> Source:
    """A picture, upright; or a raster's view, where the file has coordinates or deep bands, or
    where one of the options is given. Without rasterio a raster is read as a picture, if it can be,
    and a line says so.

    Raises:
        UserError: it cannot be read.
    """
    asked = bands is not None or stretch is not None or window is not None
    installed = importlib.util.find_spec('rasterio') is not None
    if is_raster(path) and not installed and not asked:
        print(
            f'{path} is read as a picture, without coordinates: for these pip install '
            "'rsrefseg2[raster]'",
            file=sys.stderr,
        )
    if asked or (is_raster(path) and installed):
        with open_regular(path, what='the image'):  # one line for what is no file
            pass
        with Raster(path, bands=bands, stretch=stretch) as raster:
            if asked or not raster.plain:
                view = raster.view(window)
                return Source(view.image, raster, view)
    return Source(read_image(path, upright=True))


def split_arguments(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """(pictures, sentences): the first argument and those behind it that name pictures come first.

    An argument names a picture by a picture's ending, or by a path to what is there.

    Raises:
        UserError: a picture stands behind a sentence; an argument may be either.
    """
    pictures, sentences = list(given[:1]), list[str]()
    for number, argument in enumerate(given[1:], start=2):
        if _names_picture(argument):
            if sentences:
                raise UserError(
                    f'argument {number}, {argument!r}, is a picture behind the '
                    f'sentence {sentences[0]!r}: name all pictures first, then the '
                    'sentences'
                )
            pictures.append(argument)
        elif os.path.isfile(argument):
            raise UserError(
                f'argument {number}, {argument!r}, is the name of a file without a '
                f"picture's ending: drop it, write ./{argument} for the picture, or "
                'more words for the sentence'
            )
        else:
            sentences.append(argument)
    return pictures, sentences


def _names_picture(argument: str) -> bool:
    if Path(argument).suffix.lower() in Image.registered_extensions():
        return True
    return os.sep in argument and os.path.lexists(argument)


def free_pictures(
    paths: Sequence[str | Path],
    sentences: int,
    out: str | Path,
    *,
    names: Callable[[str], Mapping[str, str]] = lambda path: OF_PICTURE,
    overwrite: bool = False,
) -> list[Picture]:
    """The pictures with the files to write for so many sentences. Other files stay as they are.

    Args:
        names: path -> the files of an answer by the end of their names (`Source.names`).
    Raises:
        UserError: two pictures would write one file; a file to write is a given picture, or is
            there and not of this picture; a picture cannot be read.
    """
    asked: dict[Path, str] = {}
    given = {_place(path) for path in paths}
    pictures = []
    for path in map(str, paths):
        mark = _mark(path)
        stem = Path(out) / _stem(path)
        ends = names(path)
        files = [
            {name: Path(f'{stem}_{k}{end}') for name, end in ends.items()}
            for k in range(1, sentences + 1)
        ]
        for file in (file for by_name in files for file in by_name.values()):
            if file in asked:
                raise UserError(
                    f'{asked[file]} and {path} would both write {file}: ask about them '
                    'in two calls, each with its own --out'
                )
            asked[file] = path
            if _place(file) in given:
                raise UserError(
                    f'{file}, which {path} would write, is one of the pictures: leave '
                    'it out, or choose another --out'
                )
            require_free(file, mark=mark, overwrite=overwrite)
        pictures.append(Picture(path, mark, files))
    return pictures


def _place(path: str | Path) -> str:
    """The same text for the same entry of a folder; a link there is not followed."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _mark(path: str) -> str:
    """What a file written for this picture bears."""
    with open_regular(path, what='the image') as file, os_errors_explained(f'reading {path}'):
        return f'RSRefSeg2 predict {hashlib.file_digest(file, "sha256").hexdigest()}'


def _stem(path: str) -> str:
    """The picture's name without its ending; a very long one is cut and gets a hash."""
    stem = Path(path).stem
    raw = os.fsencode(stem)
    if len(raw) <= MOST_BYTES:
        return stem
    short = raw[: MOST_BYTES - 9].decode('utf-8', 'ignore')
    return f'{short}-{hashlib.sha256(raw).hexdigest()[:8]}'


def write_answer(picture: Picture, k: int, source: Source, answer: Prediction) -> str:
    """The files of the answer to sentence `k`, from 0; a mask is 0 and 255.

    Returns:
        What was found, in the raster's own pixels where it is one.
    Raises:
        UserError: a file cannot be written.
    """
    files = picture.files[k]
    mask, found, size = answer.mask, int(answer.mask.sum()), answer.mask.size
    parts = ''
    if source.raster is None or source.view is None:
        _write_png(files['mask'], Image.fromarray(mask).convert('L'), picture.mark)
    else:
        mask = mask & source.view.valid
        found = write_mask(
            files['mask'], source.raster, source.view, answer.logits, mark=picture.mark
        )
        size = source.view.window[2] * source.view.window[3]
        if 'polygons' in files:
            count = write_polygons(
                files['polygons'],
                source.raster,
                source.view,
                mask,
                1 / (1 + np.exp(-answer.logits)),
                text=answer.text,
                source=os.path.basename(picture.path),
                mark=picture.mark,
            )
            parts = f', {count} polygon{"s" * (count != 1)}'
    sheet = panel(
        source.image,
        answer.text,
        pred_mask=mask,
        note=Path(picture.path).name,
        dense_prompt=answer.dense_prompt,
    )
    _write_png(files['panel'], Image.fromarray(sheet), picture.mark)
    return f'{found} of {size} pixels{parts}'


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
