"""Pictures from dumps: a few samples by their ids, and the images that they name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..datasets import read_image
from ..errors import UserError, suggest
from ..evaluation import Sample, read_dump, sample_of

GROUND = 90  # grey, where a dump names no image


def find_samples(path: str | Path, ids: Collection[str]) -> dict[str, Sample]:
    """id -> sample, for these ids; no other's masks are decoded. The records keep `where`.

    Raises:
        UserError: an id is not in the dump.
    """
    wanted, known, found = set(ids), [], {}
    for record in read_dump(path):
        name = record['id']
        known.append(name)
        if name in wanted:
            found[name] = sample_of(record)
    missing = [name for name in ids if name not in found]
    if missing:
        raise UserError(
            f'dump {path} has no sample {missing[0]!r}{suggest(missing[0], known)}: '
            f'its ids are like {", ".join(known[:3])}'
        )
    return found


def load_picture(sample: Sample, images: str | Path | None) -> np.ndarray:
    """(H, W, 3) uint8: the image that the record names, or plain grey where it names none.

    Args:
        images: the folder to look in for a file of that name; None: the path is taken as it is.
    Raises:
        UserError: the file is not there or cannot be read.
    """
    file = sample.record.get('file')
    if not file:
        return np.full((*sample.ground_truth.shape, 3), GROUND, np.uint8)
    path = Path(file) if images is None else Path(images) / Path(file).name
    if not path.is_file():
        raise UserError(
            f'{sample.record["location"]}: image {path} does not exist: run this where '
            'the test ran, or give the folder of the images with --images'
        )
    return read_image(str(path))
