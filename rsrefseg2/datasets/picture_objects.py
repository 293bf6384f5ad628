"""The masks of all objects of a picture, from where they are written (`other_objects=True`)."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ..errors import UserError
from .scene_files import folder_of_scenes, read_scenes

# The path of an image, and masks of its objects as `mask_of` reads them.
ImageObjects = tuple[str, list[dict[str, Any]]]


def objects_by_image(
    records: list[dict],
    image_key: Callable[[dict], str],
    *,
    listed: Iterator[ImageObjects] | None,
    scenes: tuple[str, str, str | None],
    title: str,
) -> dict[str, bytes]:
    """Image key -> the masks of all objects of the image, pickled, which takes a small part of the
    memory. The source is logged: the scene file, else `listed`, else the masks of the records.

    Args:
        image_key: of a record; equal for equal images.
        listed: what the benchmark's own files list; None: nothing.
        scenes: data_root, split and layout to look for a scene file with.
    Raises:
        UserError: the source has no object of an image.
    """
    data_root, split, layout = scenes
    folder = folder_of_scenes(data_root, split) if layout else None
    if folder is not None:
        source, found = f"'{folder}/scenes_{split}.jsonl'", _in_scenes(records, folder, *scenes[1:])
    elif listed is not None:
        source, found = "the data's own list", listed
    else:
        source, found = 'the targets of all its sentences', _in_records(records)
    objects: dict[str, list[dict]] = {image_key(record): [] for record in records}
    for path, masks in found:
        known = objects.get(image_key({'img_path': path}))
        if known is not None:  # an image of this split
            known += [mask for mask in masks if mask not in known]
    for record in records:
        if not objects[image_key(record)]:
            raise UserError(
                f'{title}: no object of {record["img_path"]!r} in {source}: it belongs to other '
                'data; write both again, or leave out other_objects'
            )
    mean = sum(map(len, objects.values())) / len(objects)
    print_log(
        f'{title}: the objects of each image ({mean:.1f} in the mean) are those of {source}',
        logger='current',
        level=logging.INFO,
    )
    return {key: pickle.dumps(masks) for key, masks in objects.items()}


def _in_scenes(
    records: list[dict], folder: Path, split: str, layout: str | None
) -> Iterator[ImageObjects]:
    """Those of a scene file; its sentences name the records by their sample ids in `layout`."""
    path_of = {record['sample_id']: record['img_path'] for record in records}
    for scene in read_scenes(folder, split):
        location = f'scene {scene["scene"]} of {str(folder)!r}, {split}'
        masks = [dict(mask_rle=thing['rle'], mask_location=location) for thing in scene['objects']]
        ids = (sentence['keys'].get(layout) for sentence in scene['sentences'])
        for path in {path_of[sample_id] for sample_id in ids if sample_id in path_of}:
            yield path, masks


def _in_records(records: list[dict]) -> Iterator[ImageObjects]:
    """The target of each record."""
    keys = ('mask_rle', 'mask_path', 'any_value', 'mask_location')
    for record in records:
        yield record['img_path'], [{key: record[key] for key in keys if key in record}]
