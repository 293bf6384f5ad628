"""What the pixels of a copy on disk say: each image and its masks, read once, with all cores."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..datasets.content import file_hash, on_all_cores
from ..datasets.images import read_image
from ..datasets.masks import mask_of
from ..errors import UserError


class MaskLook(NamedTuple):
    """What a mask is. `fault`: why it cannot be read."""

    area: int  # pixels, at the image's size
    stored: tuple[int, int]  # (H, W), before it followed the image
    content: bytes  # hash of the mask
    fault: str | None = None


class ImageLook(NamedTuple):
    """What an image is, and its masks. `fault`: why it cannot be read."""

    content: str  # hash of the file
    size: tuple[int, int] | None  # (H, W)
    fault: str | None
    masks: list[MaskLook]


Looks = dict[int, tuple[ImageLook, MaskLook]]


def look(job: tuple[str, list[dict]]) -> ImageLook:
    """Read an image and the masks of its records."""
    path, records = job
    try:
        size, fault = read_image(path).shape[:2], None
    except UserError as error:
        size, fault = None, str(error)
    try:
        content = file_hash(path)
    except UserError:
        content = path
    return ImageLook(content, size, fault, [_look_at_mask(r, size) for r in records])


def _look_at_mask(record: dict, size: tuple[int, int] | None) -> MaskLook:
    try:
        mask, stored = mask_of(record, size)
    except UserError as error:
        return MaskLook(0, (0, 0), b'', str(error))
    digest = hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).digest()
    return MaskLook(int(mask.sum()), stored, digest)


def look_at_all(records: Iterable[dict], missing: set[str], *, title: str) -> Looks:
    """id(record) -> what its files hold, for the records none of whose files is missing."""
    jobs: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        if not missing & {record['img_path'], record.get('mask_path')}:
            jobs[record['img_path']].append(record)
    found: Looks = {}
    for of_image, seen in zip(
        jobs.values(), on_all_cores(look, list(jobs.items()), title=title), strict=True
    ):
        found.update(
            (id(record), (seen, mask)) for record, mask in zip(of_image, seen.masks, strict=True)
        )
    return found
