"""The lines of a dump, one JSON object a sample: what they hold, and how they are read.

A scorer needs `id`, `prediction` and `ground_truth` (COCO RLE) alone. `area` (pixels of the
annotated mask), `intersection`, `union` and `iou` are for people: they are counted again from the
masks. `iou` is null where it is undefined. Rates are shares from 0 to 1.
A zero-shot model adds its `score`, the `box` (x1, y1, x2, y2) or the `point` (x, y) that it drew the
mask from, in pixels of the image. A model with `sam.score_heads` adds `presence`, `predicted_iou`
and `mean_probability`, and `drawn`, the mask as drawn, where `presence_threshold` emptied the prediction.
"""

from __future__ import annotations

import glob
import os
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Required, TypedDict

import numpy as np
from msgspec import Meta

from ..errors import UserError
from ..records import read_json_lines
from ..rle import decode

Share = typing.Annotated[float, Meta(ge=0, le=1)]
Count = typing.Annotated[int, Meta(ge=0)]


class Annotated(TypedDict, total=False):
    """A line whose annotated mask alone is used. Other fields are left out."""

    id: Required[int | str]
    ground_truth: Required[Any]  # RLE; rle.py checks it
    prediction: Any
    file: str | None
    sentence: str | None
    category: str | None
    level: str | None
    rule: str | None
    area: Count | None
    intersection: Count | None
    union: Count | None
    iou: Share | None
    coarse_localisation: Share | None
    mask_agreement: Share | None
    object_hit: bool | Share | None
    object_hit_chance: Share | None
    score: Share | None
    box: tuple[float, float, float, float] | None
    point: tuple[float, float] | None
    presence: Share | None
    predicted_iou: Share | None
    mean_probability: Share | None
    drawn: Any


class Line(Annotated, total=False):
    """A line of a dump."""

    prediction: Required[Any]  # type: ignore[misc]


class Counted(Line, total=False):
    """A line that a test of ours wrote: its pixels are not counted again."""

    intersection: Required[Count]  # type: ignore[misc]
    union: Required[Count]  # type: ignore[misc]


def read_dump(path: str | Path, kind: Any = Line) -> Iterator[dict[str, Any]]:
    """The records of a dump, one after the other, with `location` (file and line) added; ids are text.

    Raises:
        UserError: the file is missing, a line is no JSON object of the `kind`, an id occurs twice.
    """
    if not os.path.exists(path):
        rest = ' (an interrupted test left parts of it: continue it with --resume)'
        raise UserError(
            f'dump {path} does not exist{rest if find_parts(path) else ""}: '
            'tools/test.py --dump writes one'
        )
    seen: dict[str, str] = {}
    for location, record in read_json_lines(path, kind, what='the dump'):
        name = str(record['id'])
        if name in seen:
            raise UserError(
                f'{location}: id {name!r} occurs twice, first in {seen[name]}: one line per sample'
            )
        seen[name] = location
        yield {**record, 'id': name, 'location': location}
    if not seen:
        raise UserError(f'dump {path} holds no sample')


def masks_of(record: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the annotated mask of a record of `read_dump`, each (H, W) bool.

    Raises:
        UserError: see `rle.runs_of`; one is the other's transpose by its size.
    """
    location = record['location']
    pred, gt = (
        decode(record[key], location=f'{location} {key}') for key in ('prediction', 'ground_truth')
    )
    if pred.shape != gt.shape and pred.shape == gt.shape[::-1]:
        raise UserError(
            f'{location}: the prediction is {pred.shape[0]} x {pred.shape[1]} (height x '
            f'width), the annotated mask {gt.shape[0]} x {gt.shape[1]}: one of the two '
            'is transposed: write both as [height, width]'
        )
    return pred, gt


def find_parts(path: str | Path) -> list[Path]:
    """What an interrupted test left of the dump `path`: the gathered part, then the ranks'."""
    escaped = glob.escape(str(path))
    return [
        Path(name)
        for name in (*glob.glob(f'{escaped}.part'), *sorted(glob.glob(f'{escaped}.rank*')))
    ]
