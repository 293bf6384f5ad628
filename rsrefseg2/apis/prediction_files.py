"""The arguments of tools/predict.py and the files that it writes: masks and panels.

Each file is a PNG with a mark in a text chunk: this tool, and a digest of the picture's file. A
file with the mark is replaced when the same picture is asked again; any other file stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import UserError, os_errors_explained
from ..files import open_regular, require_free, write_with
from ..visualization import panel
from .predictor import Prediction

MOST_BYTES = 200  # of a picture's stem in a file name, of which file systems allow 255


class Picture(NamedTuple):
    """A picture to ask about, and what its answers are written to."""

    path: str
    mark: str
    files: list[tuple[Path, Path]]  # mask and panel, for each sentence


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
    paths: Sequence[str | Path], sentences: int, out: str | Path, *, overwrite: bool = False
) -> list[Picture]:
    """The pictures with the files to write for so many sentences. Other files stay as they are.

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
        files = [
            (Path(f'{stem}_{k}_mask.png'), Path(f'{stem}_{k}_panel.png'))
            for k in range(1, sentences + 1)
        ]
        for file in (file for pair in files for file in pair):
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


def write_answer(picture: Picture, k: int, image: np.ndarray, answer: Prediction) -> None:
    """Mask (0 and 255) and panel of the answer to sentence `k`, from 0.

    Args:
        image: (H, W, 3) uint8, the picture.
    Raises:
        UserError: a file cannot be written.
    """
    mask_file, panel_file = picture.files[k]
    _write_png(mask_file, Image.fromarray(answer.mask).convert('L'), picture.mark)
    sheet = panel(
        image,
        answer.text,
        pred_mask=answer.mask,
        note=Path(picture.path).name,
        dense_prompt=answer.dense_prompt,
    )
    _write_png(panel_file, Image.fromarray(sheet), picture.mark)


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
