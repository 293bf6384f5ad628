"""Pictures from dumps: the samples by id, their masks, and the images that they name."""
from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import read_image
from ..errors import UserError, suggest
from ..evaluation import Protocol, decode, read_dump

MASKS = ('prediction', 'ground_truth')
GROUND = 90  # grey, where a dump names no image


def scored_records(path: str | Path, protocol: Protocol) -> Iterator[dict[str, Any]]:
    """The records of a dump without their masks, one after the other, with `area`, `intersection`,
    `union` and `iou` under the protocol, whatever they were scored under before."""
    for record in read_dump(path):
        pred, gt = decode_masks(record)
        intersection, union = protocol.overlap(pred, gt, where=record['where'])
        yield {**{key: value for key, value in record.items() if key not in MASKS},
               'area': int(np.count_nonzero(gt)), 'intersection': intersection, 'union': union,
               'iou': protocol.iou(intersection, union)}


def find_records(path: str | Path, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """id -> record, for these ids.

    Raises:
        UserError: an id is not in the dump.
    """
    wanted, known = set(ids), []
    found = {}
    for record in read_dump(path):
        known.append(record['id'])
        if record['id'] in wanted:
            found[record['id']] = record
    missing = [name for name in ids if name not in found]
    if missing:
        raise UserError(f'dump {path} has no sample {missing[0]!r}{suggest(missing[0], known)}: '
                        f'its ids are like {", ".join(known[:3])}')
    return found


def decode_masks(record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the annotated mask, each (H, W) bool."""
    pred, gt = (decode(record[key], where=f'{record["where"]} {key}') for key in MASKS)
    return pred, gt


def load_picture(record: dict[str, Any], images: str | Path | None) -> np.ndarray:
    """(H, W, 3) uint8: the image that the record names, or plain grey where it names none.

    Args:
        images: the folder to look in for a file of that name; None: the path is taken as it is.
    Raises:
        UserError: the file is not there or cannot be read.
    """
    if not record.get('file'):
        height, width = record['ground_truth']['size']
        return np.full((int(height), int(width), 3), GROUND, np.uint8)
    path = Path(record['file']) if images is None else Path(images) / Path(record['file']).name
    if not path.is_file():
        raise UserError(f'{record["where"]}: image {path} does not exist: run this where the test '
                        'ran, or give the folder of the images with --images')
    return read_image(str(path))
