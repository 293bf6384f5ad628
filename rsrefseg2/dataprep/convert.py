"""A data set of one layout as another layout, with nothing lost in silence.

Sentences, masks, pictures and splits come out as they went in. What the other layout cannot hold
is said at the end; `scenes/` beside the result names the source of every sample (file,
sample id, category).
"""

from __future__ import annotations

import collections
import functools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from ..datasets.base import RefSegDataset
from ..datasets.checks import SPLITS
from ..datasets.content import on_all_cores
from ..datasets.images import read_image
from ..datasets.masks import mask_of
from ..datasets.readers import FURTHER, open_split, splits_of
from ..datasets.rrsisd import CLASSES
from ..datasets.scene_files import SCENES
from ..files import write_text
from ..rle import checked, encode
from .layouts import LAYOUTS, UNKNOWN, Layout, Picture, running_totals
from .new_folder import complete_folder

SOURCES = ('refsegrs', 'rrsisd', 'risbench', *FURTHER, 'jsonl')
FROM_SENTENCE = ('refsegrs', 'risbench')  # their files name no category


def convert(
    source: str, data_root: str, *, to: str, out: str | Path, splits: Sequence[str] | None = None
) -> list[str]:
    """Write the data set at `data_root` to the new folder `out`, in the layout `to`.

    Args:
        source: of SOURCES.
        to: a key of layouts.LAYOUTS.
        splits: those to convert; each must be there. None: all of the source.
    Returns:
        What was written and what the layout could not hold, one line each.
    """
    splits = splits_of(source) if splits is None else splits
    with complete_folder(out) as root:
        records: list[dict[str, Any]] = []
        categories: tuple[str, ...] = ()
        for split in splits:
            options = dict(classes=None) if source == 'rrsisd' else {}
            dataset = open_split(
                source, data_root, split, equal_images='content', serialize_data=False, **options
            )
            records += _scenes(dataset, keep_category=source not in FROM_SENTENCE or to == 'rrsisd')
            categories = dataset.metainfo['classes'] or ()
        notes = _not_kept(source, LAYOUTS[to], records)
        layout = write_dataset(root, to, records, categories=_in_order(categories, records))
    written = collections.Counter(r['split'] for r in records for _ in r['sentences'])
    return [
        f'{sum(written.values())} triplets on {len(records)} pictures written in the layout '
        f'{layout.name}: {", ".join(f"{split} {written[split]}" for split in splits)}',
        *notes,
    ]


def box_and_area(rle: dict[str, Any]) -> dict[str, Any]:
    """`bbox` [x, y, w, h] (tight) and `area` in pixels of a mask."""
    return {'bbox': [int(v) for v in coco_mask.toBbox(rle)], 'area': int(coco_mask.area(rle))}


def text_rle(rle: dict[str, Any]) -> dict[str, Any]:
    """The mask as JSON can hold it."""
    counts = rle['counts']
    return {
        'size': [int(n) for n in rle['size']],
        'counts': counts.decode('ascii') if isinstance(counts, bytes) else counts,
    }


# ---------------------------------------------------------------- reading


def _in_order(categories: Sequence[str], records: Iterable[dict[str, Any]]) -> Sequence[str]:
    """The names in the order of their ids: the source's own, else RRSIS-D's, else the alphabet."""
    if categories:
        return categories
    found = {thing['category'] for record in records for thing in record['objects']} - {None}
    return CLASSES if found <= set(CLASSES) else sorted(found)


def _scenes(dataset: RefSegDataset, *, keep_category: bool) -> list[dict[str, Any]]:
    """One record per picture of the split; files of equal content are one picture."""
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    masks = on_all_cores(_rle, samples, title=f'{dataset.split} masks')
    scenes: dict[str, dict[str, Any]] = {}
    for index, (sample, rle) in enumerate(zip(samples, masks, strict=True)):
        path = sample['img_path']
        scene = scenes.setdefault(
            dataset.image_key(index),
            {
                'scene': len(scenes),
                'split': dataset.split,
                'source': path,
                'files': [],
                'objects': [],
                'sentences': [],
            },
        )
        name = os.path.relpath(path, dataset.data_root)
        if name not in scene['files']:
            scene['files'].append(name)
        thing = {'category': sample['category'] if keep_category else None, 'rle': rle}
        if thing not in scene['objects']:
            scene['objects'].append(thing)
        scene['sentences'].append(
            {
                'text': sample['text'],
                'from': sample['sample_id'],
                'target': scene['objects'].index(thing),
            }
        )
    for scene in scenes.values():
        scene['objects'] = [{**thing, **box_and_area(thing['rle'])} for thing in scene['objects']]
    return list(scenes.values())


def _rle(sample: dict[str, Any]) -> dict[str, Any]:
    if 'mask_rle' in sample:
        return text_rle(checked(sample['mask_rle'], location=sample['mask_location']))
    return encode(mask_of(sample)[0])


# ---------------------------------------------------------------- writing


def write_dataset(
    root: Path,
    to: str,
    records: Sequence[dict[str, Any]],
    *,
    categories: Sequence[str],
    summary: dict[str, Any] | None = None,
) -> Layout:
    """Write scene records (see layouts.py) with their pictures to the empty folder `root`.

    A record's `source` is its picture; where it is `turned`, the picture is written as viewers show
    it. Sample ids and the pictures' file formats are added to the records.

    Raises:
        UserError: a picture cannot be read to its end, or a file not be written.
    """
    if any(thing['category'] is None for r in records for thing in r['objects']):
        categories = [*categories, UNKNOWN]
    scenes = collections.Counter(record['split'] for record in records)
    sentences = collections.Counter(r['split'] for r in records for _ in r['sentences'])
    layout = LAYOUTS[to](
        root,
        scenes=running_totals(scenes),
        categories=categories,
        sentences=running_totals(sentences),
    )
    layout.prepare()
    _number(records, layout)
    work = functools.partial(_write_pictures, layout=layout)
    collections.deque(on_all_cores(work, records, title='writing pictures'), maxlen=0)
    layout.write_annotations(records)
    (root / SCENES).mkdir()
    for split in SPLITS:
        with open(root / SCENES / f'scenes_{split}.jsonl', 'w', encoding='utf-8') as file:
            file.writelines(_lines(record for record in records if record['split'] == split))
    if summary is not None:
        write_text(root / 'summary.json', json.dumps(summary, indent=1) + '\n')
    return layout


def _number(records: Sequence[dict[str, Any]], layout: Layout) -> None:
    number = dict(layout.sentences)
    for record in records:
        split, suffix = record['split'], Path(record['source']).suffix.lower()
        record['suffix'] = (
            '.png'
            if record.get('turned')
            # not JPEG: it would alter pixels
            else {'.jpeg': '.jpg', '.tiff': '.tif'}.get(suffix, suffix)
        )
        for position, sentence in enumerate(record['sentences']):
            sentence['keys'] = {
                layout.name: layout.key(split, record['scene'], number[split], position)
            }
            number[split] += 1


def _write_pictures(record: dict[str, Any], *, layout: Layout) -> None:
    source, turned = Path(record['source']), record.get('turned', False)
    pixels = read_image(source, upright=turned)  # copied as it is, but never a damaged one
    picture: Picture = pixels if turned else source
    layout.write_pictures(record, picture)


def _lines(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    for record in records:
        kept = {
            key: value for key, value in record.items() if key not in ('source', 'suffix', 'turned')
        }
        yield json.dumps(kept) + '\n'


# ---------------------------------------------------------------- what is not kept


def _not_kept(source: str, layout: type[Layout], records: list[dict[str, Any]]) -> list[str]:
    """What the layout cannot hold, with counts. Line breaks in sentences are replaced here."""
    return [
        'sample ids are new, and the order within a split is by picture: '
        'scenes/ names the source of each',
        *_about_categories(source, layout, records),
        *_about_pictures(layout, records),
        *_without_line_breaks(layout, records),
        *_without_target(records),
    ]


def _about_categories(
    source: str, layout: type[Layout], records: list[dict[str, Any]]
) -> Iterator[str]:
    categories = [
        record['objects'][sentence['target']]['category']
        for record in records
        for sentence in record['sentences']
    ]
    known = sum(category is not None for category in categories)
    if source in FROM_SENTENCE and known:
        yield (
            f'the source names no category: that of {known} triplets is the one that the '
            'sentence names'
        )
    elif known and not layout.holds_category:
        yield f'the layout has no place for the category of {known} triplets: scenes/ keeps it'
    if layout.name == 'rrsisd':
        if known < len(categories):
            yield (
                f'{len(categories) - known} triplets have no known category; the layout '
                f'demands one: it is {UNKNOWN!r} (read with classes=None)'
            )
        yield (
            'bbox and area are those of the mask, in the form of the release (corners, '
            '255 per pixel)'
        )
    elif source == 'rrsisd':
        yield "the source's own bbox, area, ref and annotation ids are not kept"


def _about_pictures(layout: type[Layout], records: list[dict[str, Any]]) -> Iterator[str]:
    files = sum(len(record['files']) for record in records)
    names = sum(len(record['sentences']) for record in records)
    if files > len(records) and layout.several_sentences:
        yield f'{files} pictures are {len(records)} of different content: each is stored once'
    if not layout.several_sentences and names > len(records):
        yield (
            f'the layout has a picture per sentence: {len(records)} pictures stand under '
            f'{names} names (hard links where the file system has them: edit none in '
            'place)'
        )
    formats = collections.Counter(Path(record['source']).suffix.lower() for record in records)
    for suffix, count in formats.items():
        if layout.suffix and suffix.replace('tiff', 'tif') != layout.suffix:
            yield (
                f'{count} {suffix[1:]} pictures are written as {layout.suffix[1:]}: the same '
                'pixels, another file; what else the file held (EXIF, geo-reference) is gone'
            )
    if layout.name == 'rrsisd' and set(formats) - {'.jpg', '.jpeg'}:
        kept = ', '.join(sorted(set(formats) - {'.jpg', '.jpeg'}))
        yield f'pictures stay {kept} files (file_name says so): JPEG would alter their pixels'


def _without_line_breaks(layout: type[Layout], records: list[dict[str, Any]]) -> Iterator[str]:
    if layout.suffix is None:  # the layout's sentences are JSON or a pickle
        return
    sentences = [sentence for record in records for sentence in record['sentences']]
    broken = [sentence for sentence in sentences if len(sentence['text'].splitlines()) > 1]
    for sentence in broken:
        sentence['text'] = ' '.join(sentence['text'].splitlines())
    if broken:
        yield (
            f'{len(broken)} sentences had line breaks, which the layout cannot hold: they '
            'are blanks now'
        )


def _without_target(records: list[dict[str, Any]]) -> Iterator[str]:
    empty = sum(
        not record['objects'][sentence['target']]['area']
        for record in records
        for sentence in record['sentences']
    )
    if empty:
        yield f'{empty} sentences have an empty mask: read the data with no_target=True'
