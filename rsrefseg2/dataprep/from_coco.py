"""From a COCO instance file to referring triplets: the expressions are made by rule.

See expressions/__init__.py for the rules and how they guard against missed instances.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from ..datasets.checks import SPLITS, is_file
from ..datasets.content import on_all_cores
from ..datasets.images import read_image
from ..datasets.pictures import is_turned
from ..errors import UserError
from ..files import confined
from ..options import SHARES
from ..rle import checked, from_polygons, require_within
from .coco_files import Annotation, Id, ImageRecord, Instances, load_instances
from .convert import box_and_area, text_rle, write_dataset
from .expressions import Limits, NotUnderstood, expressions_of, solve, spoken_names
from .expressions.relations import Picture, Thing
from .new_folder import complete_folder

CROWDS = 'crowds: their category is left out of the picture'
MIN_AREA, MIN_SIDE = 64, 8  # pixels: below, an instance is doubtful
MAX_OVERLAP = 0.3  # IoU of two instances of a category: above, both are doubtful
MIN_AGREEMENT = 0.5  # IoU of an annotation's box and its mask's box: below, doubtful


class Job(NamedTuple):
    """One picture with its annotations."""

    number: int
    path: str
    split: str
    image: ImageRecord
    annotations: list[Annotation]


def convert_coco(
    path: str,
    images: str,
    *,
    to: str,
    out: str | Path,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    limits: Limits = Limits(),
    names: Mapping[str, Sequence[str]] | None = None,
    exclude: Iterable[str] = (),
    boxes_as_masks: bool = False,
) -> dict[str, Any]:
    """Write triplets of the instances in `path` to the new folder `out`; -> the counts.

    Beside the layout's files stand `scenes/` with all instances of every picture (the baselines
    read them) and `summary.json`. The same files and arguments give the same triplets.

    Args:
        images: the folder of the pictures.
        to: a key of layouts.LAYOUTS.
        seed: of the choice of sentences and of the split, which hashes the picture's file name.
        shares: of the pictures in train, val and test.
        names: category -> its names in sentences; known ones need none.
        exclude: categories that no sentence speaks of.
        boxes_as_masks: fill the box of an annotation that has no segmentation.
    """
    _check_shares(shares)
    with complete_folder(out) as root:
        file = load_instances(path)
        categories = file.categories
        _check_excluded(exclude, categories)
        spoken = spoken_names(categories.values(), given=names)
        jobs = _jobs(path, file, images, seed, shares)
        rules: dict[str, Any] = dict(names=spoken, limits=limits, exclude=frozenset(exclude))
        source: dict[str, Any] = dict(file=repr(path), categories=categories, seed=seed)
        work = functools.partial(_scene, boxes_as_masks=boxes_as_masks, **rules, **source)
        records, counts = _described(work, jobs, path)
        summary = {
            **dict(source=os.path.basename(path), seed=seed, shares=list(shares)),
            'limits': dataclasses.asdict(limits),
            'names': spoken,
            'exclude': sorted(exclude),
            'pictures': {'annotated': len(jobs), 'with sentences': len(records)},
            'instances': dict(sorted(counts.items())),
            'splits': _summary(records),
        }
        write_dataset(root, to, records, categories=tuple(categories.values()), summary=summary)
    return summary


def _check_shares(shares: Sequence[float]) -> None:
    if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise UserError(
            f'the shares of train, val and test must be three numbers from 0 that add '
            f'up to 1, got {" ".join(map(str, shares))}'
        )


def _check_excluded(exclude: Iterable[str], categories: Mapping[Id, str]) -> None:
    unknown = sorted(set(exclude) - set(categories.values()))
    if unknown:
        raise UserError(
            f'--exclude names {", ".join(unknown)}; the categories are '
            f'{", ".join(categories.values())}'
        )


def _described(
    work: Callable[[Job], tuple[dict[str, Any], collections.Counter]],
    jobs: Sequence[Job],
    path: str,
) -> tuple[list[dict[str, Any]], collections.Counter]:
    """The records that have sentences, numbered within their splits, and what was counted."""
    counts: collections.Counter[str] = collections.Counter()
    scenes: collections.Counter[str] = collections.Counter()
    records = []
    for record, seen in on_all_cores(work, jobs, title='describing pictures'):
        counts.update(seen)
        if record['sentences']:
            record['scene'] = scenes[record['split']]
            scenes[record['split']] += 1
            records.append(record)
    if not records:
        why = ', '.join(f'{what}: {count}' for what, count in sorted(counts.items()) if count)
        advice = (
            'set iscrowd to 0 where each is one instance (CVAT writes 1 for every brush mask)'
            if counts[CROWDS]
            else 'rsrefseg2/dataprep/expressions/__init__.py says which instances the rules name'
        )
        raise UserError(
            f'{path!r}: no instance of {len(jobs)} pictures can be named by the rules '
            f'({why or "none is annotated"}): {advice}'
        )
    return records, counts


# ---------------------------------------------------------------- reading


def _jobs(path: str, file: Instances, images: str, seed: int, shares: Sequence[float]) -> list[Job]:
    """The pictures that have annotations, in the order of the file."""
    of_image: dict[Id, list[Annotation]] = {}
    for annotation in file.annotations:
        of_image.setdefault(annotation.image_id, []).append(annotation)
    jobs, ids = [], set()
    for number, image in enumerate(file.images):
        location = f'{path!r}, image {number}'
        if image.id in ids:
            raise UserError(f'{location}: id {image.id} occurs twice')
        ids.add(image.id)
        picture = confined(images, image.file_name, location=location)
        if image.id not in of_image:
            continue
        if not is_file(picture):
            raise UserError(
                f'{location}: the picture {picture!r} is missing: is {images!r} the '
                'folder that the file names start from?'
            )
        jobs.append(
            Job(number, picture, split_of(image.file_name, seed, shares), image, of_image[image.id])
        )
    lost = set(of_image) - ids
    if lost:
        raise UserError(
            f'{path!r}: {len(lost)} annotated pictures (id {min(lost, key=str)}) are '
            'not among its images'
        )
    return jobs


def split_of(name: str, seed: int, shares: Sequence[float]) -> str:
    """The split of a picture, from a hash of seed and file name: adding pictures moves none."""
    digest = hashlib.blake2b(f'{seed}:{name}'.encode(), digest_size=8).digest()
    place = int.from_bytes(digest, 'big') / 2**64
    return next((split for split, end in zip(SPLITS, np.cumsum(shares)) if place < end), 'test')


def _mask(
    annotation: Annotation, size: tuple[int, int], location: str, boxes_as_masks: bool
) -> tuple[dict[str, Any], str]:
    """The instance's mask as RLE, and what it was made of."""
    segmentation = annotation.segmentation
    if isinstance(segmentation, dict):
        rle, kind = checked(segmentation, location=location), 'run lengths'
    elif segmentation:
        rle, kind = from_polygons(segmentation, size, location=location), 'polygons'
    elif boxes_as_masks:
        x0, y0, x1, y1 = _corners(_box(annotation, size, location))
        rle = from_polygons([[x0, y0, x1, y0, x1, y1, x0, y1]], size, location=location)
        kind = 'filled boxes'
    else:
        raise UserError(
            f'{location}: no segmentation, only a box: give --boxes-as-masks to fill '
            'the box, or an instance file with masks'
        )
    if tuple(rle['size']) != size:
        raise UserError(
            f'{location}: the mask is {rle["size"][0]} x {rle["size"][1]}, its picture '
            f'{size[0]} x {size[1]} (height x width)'
        )
    return text_rle(rle), kind


# ---------------------------------------------------------------- one picture


def _scene(
    job: Job,
    *,
    categories: Mapping[Id, str],
    names: Mapping[str, Sequence[str]],
    seed: int,
    limits: Limits,
    exclude: frozenset[str],
    boxes_as_masks: bool,
    file: str,
) -> tuple[dict[str, Any], collections.Counter]:
    """The picture's scene record with its sentences, and what was counted on the way."""
    counts: collections.Counter[str] = collections.Counter()
    size, turned = _size(job, file)
    if turned:
        counts['pictures turned as their EXIF orientation says'] += 1
    objects, crowds = _instances(job, size, counts, categories, boxes_as_masks, file)
    doubtful = doubtful_of(objects)
    counts['doubtful'] += len(doubtful)
    sentences = _sentences(
        objects,
        size,
        counts,
        doubtful=doubtful,
        crowds=crowds | exclude,
        names=names,
        rng=np.random.default_rng([seed, job.number]),
        limits=limits,
    )
    counts['named by a sentence'] += len({sentence['target'] for sentence in sentences})
    record = {
        'scene': 0,
        'split': job.split,
        'source': job.path,
        'files': [job.image.file_name],
        'objects': objects,
        'crowds': sorted(crowds),  # categories that may also stand where no object does
        'sentences': sentences,
    }
    if turned:
        record['turned'] = True
    return record, counts


def _instances(
    job: Job,
    size: tuple[int, int],
    counts: collections.Counter,
    categories: Mapping[Id, str],
    boxes_as_masks: bool,
    file: str,
) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """The picture's instances, and the categories of which a crowd is annotated; both counted."""
    objects: list[dict[str, Any]] = []
    crowds = set()
    for annotation in job.annotations:
        here, number = f'{file}, annotation {annotation.id}', annotation.category_id
        if number not in categories:
            raise UserError(
                f'{here}: category {number!r} is not among the categories (ids '
                f'{", ".join(map(repr, categories)):.80}): correct the record'
            )
        if annotation.iscrowd:
            crowds.add(categories[number])
            counts[CROWDS] += 1
            continue
        rle, kind = _mask(annotation, size, here, boxes_as_masks)
        counts[f'masks from {kind}'] += 1
        objects.append(
            {
                'category': categories[number],
                'rle': rle,
                **box_and_area(rle),
                'annotation': annotation.id,
                'annotated_box': _box(annotation, size, here),
            }
        )
    return objects, frozenset(crowds)


def _sentences(
    objects: Sequence[dict[str, Any]],
    size: tuple[int, int],
    counts: collections.Counter,
    *,
    doubtful: set[int],
    crowds: frozenset[str],
    names: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    limits: Limits,
) -> list[dict[str, Any]]:
    """The picture's sentences; the solver has to read each as it is meant, the others are counted."""
    things = [
        Thing(thing['category'], _corners(thing['bbox']), thing['area'], i in doubtful)
        for i, thing in enumerate(objects)
    ]
    seen = [
        {'category': thing['category'], 'bbox': thing['annotated_box'], 'area': thing['area']}
        for thing in objects
    ]

    def check(text: str, target: int) -> bool:
        try:
            agreed = solve(text, seen, height=size[0], width=size[1], names=names) == {target}
        except NotUnderstood:
            agreed = False
        counts['sentences that the solver read otherwise: left out'] += not agreed
        return agreed

    picture = Picture(things, height=size[0], width=size[1], crowds=crowds)
    return [
        {
            'text': e.text,
            'level': e.level,
            'kind': e.kind,
            'target': e.target,
            'from': objects[e.target]['annotation'],
        }
        for e in expressions_of(picture, names, rng, limits=limits, check=check)
    ]


def _size(job: Job, file: str) -> tuple[tuple[int, int], bool]:
    """(H, W) that the file states, if it is the picture's as viewers and labelling tools show it;
    whether they turn the picture for that. It is read to its end: what is damaged is not copied."""
    stated = job.image.height, job.image.width
    found: tuple[int, int] = read_image(job.path, upright=True).shape[:2]
    turned = is_turned(job.path)
    if stated != found:
        shown = ' as viewers turn it (EXIF orientation)' if turned else ''
        why = (
            'it was annotated as it is stored: remove the tag (exiftool -Orientation= IN)'
            if turned and stated == found[::-1]
            else 'the two are of different versions'
        )
        raise UserError(
            f'{job.path!r} is {found[0]} x {found[1]} (height x width){shown}, '
            f'{file}, image {job.number} says {stated[0]:g} x {stated[1]:g}: {why}'
        )
    return (found[0], found[1]), turned


def _box(annotation: Annotation, size: tuple[int, int], location: str) -> list[float]:
    if annotation.bbox is None:
        raise UserError(f'{location}: bbox is missing: give [x, y, width, height]')
    require_within(_corners(annotation.bbox), size, location=location, what='bbox')
    return list(annotation.bbox)


def _corners(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, w, h = bbox
    return x, y, x + w, y + h


def doubtful_of(objects: Sequence[dict[str, Any]]) -> set[int]:
    """The instances that no sentence may rest on, of a picture's objects as its scene record has
    them."""
    found = {
        i
        for i, thing in enumerate(objects)
        if thing['area'] < MIN_AREA
        or min(thing['bbox'][2:]) < MIN_SIDE
        or coco_mask.iou([thing['bbox']], [thing['annotated_box']], [0])[0, 0] < MIN_AGREEMENT
    }
    for category in {thing['category'] for thing in objects}:
        members = [i for i, thing in enumerate(objects) if thing['category'] == category]
        rles = [objects[i]['rle'] for i in members]
        overlap = coco_mask.iou(rles, rles, [0] * len(rles))
        np.fill_diagonal(overlap, 0)
        found |= {i for i, row in zip(members, overlap) if row.max() > MAX_OVERLAP}
    return found


def _summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Per split: pictures, sentences, and these by level, kind and category."""
    splits = {}
    for split in SPLITS:
        own = [record for record in records if record['split'] == split]
        pairs = [
            (sentence, record['objects'][sentence['target']]['category'])
            for record in own
            for sentence in record['sentences']
        ]
        count = {
            key: dict(collections.Counter(values).most_common())
            for key, values in (
                ('levels', (s['level'] for s, _ in pairs)),
                ('kinds', (s['kind'] for s, _ in pairs)),
                ('categories', (category for _, category in pairs)),
            )
        }
        splits[split] = {'pictures': len(own), 'sentences': len(pairs), **count}
    return splits
