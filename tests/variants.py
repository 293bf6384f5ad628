"""Copies that differ from the release as real ones do, and are read all the same; and the small
copies of the forms that no benchmark was released in: JSON lines, and RefCOCO's.

A variant changes a copy of tests/fabricate.py in place, without changing a triplet.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fabricate import (
    CATEGORIES,
    HEIGHT,
    PHRASE_LAYOUTS,
    REFS,
    WIDTH,
    both,
    change_instances,
    fabricate,
    picture,
    rle_of,
    target,
    write_refs,
)

Change = Callable[[Path], None]


def move(old: str, new: str) -> Change:
    def apply(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root / old, root / new)

    return apply


def wrap(folder: str) -> Change:
    def apply(root: Path) -> None:
        entries = list(root.iterdir())
        (root / folder).mkdir()
        for entry in entries:
            shutil.move(entry, root / folder / entry.name)

    return apply


def texts(change: Callable[[bytes], bytes]) -> Change:
    def apply(root: Path) -> None:
        for path in root.glob('output_phrase_*.txt'):
            path.write_bytes(change(path.read_bytes()))

    return apply


def masks(folder: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Each mask file, (H, W) of 0 and 255, anew."""

    def apply(root: Path) -> None:
        for path in (root / folder).iterdir():
            values = np.array(Image.open(path))
            Image.fromarray(change(values)).save(path)

    return apply


def images(folder: str, mode: str) -> Change:
    def apply(root: Path) -> None:
        for path in (root / folder).iterdir():
            Image.open(path).convert(mode).save(path)

    return apply


def segmentations(change: Callable[[dict], object]) -> Change:
    def each(content: dict) -> None:
        for annotation in content['annotations']:
            annotation['segmentation'] = change(annotation['segmentation'][0])

    return change_instances(each)


def run_lengths(rle: dict) -> dict:
    from pycocotools import mask as coco_mask

    flat = coco_mask.decode({**rle, 'counts': rle['counts'].encode()}).flatten(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return {'size': rle['size'], 'counts': np.diff([0, *edges, flat.size]).tolist()}


def three_channels(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def as_refer(root: Path) -> None:
    """RISBench's text files as REFER's two files beside the folder of the images."""
    refs, image_records, annotations = [], [], []
    for split in ('train', 'val', 'test'):
        path = root / f'output_phrase_{split}.txt'
        for line in path.read_text().splitlines():
            file, text = line.split(' ', 1)
            number = len(refs)
            mask = np.array(Image.open(root / 'mask' / file)) > 0
            image_records.append(
                {'file_name': file, 'height': HEIGHT, 'width': WIDTH, 'id': number}
            )
            annotations.append(
                {'id': number, 'image_id': number, 'category_id': 1, 'segmentation': [rle_of(mask)]}
            )
            refs.append(
                {
                    'image_id': number,
                    'ref_id': number,
                    'ann_id': number,
                    'split': split,
                    'category_id': 1,
                    'file_name': file,
                    'sent_ids': [number],
                    'sentences': [{'raw': text, 'sent': text, 'sent_id': number}],
                }
            )
        path.unlink()
    (root / 'risbench').mkdir()
    (root / 'risbench/refs(unc).p').write_bytes(pickle.dumps(refs))
    (root / 'risbench/instances.json').write_text(
        json.dumps(
            {
                'images': image_records,
                'annotations': annotations,
                'categories': [{'id': 1, 'name': 'object'}],
            }
        )
    )
    shutil.rmtree(root / 'mask')
    wrap('RISBench_dataset')(root)
    move('RISBench_dataset/risbench', 'risbench')(root)


_PHRASES: dict[str, Change] = {
    'crlf': texts(lambda t: t.replace(b'\n', b'\r\n')),
    'byte-order mark': texts(lambda t: b'\xef\xbb\xbf' + t),
    'blank lines': texts(lambda t: b'\n \n' + t.replace(b'\n', b'\n\n\t\n')),
    'no newline at the end': texts(bytes.rstrip),
    'blanks at the ends': texts(lambda t: t.replace(b'\n', b'  \t\n  ')),
    'tab after the name': texts(lambda t: t.replace(b' the', b'\tthe')),
    'phrase_txts': both(
        *(
            move(f'output_phrase_{s}.txt', f'phrase_txts/output_phrase_{s}.txt')
            for s in ('train', 'val', 'test')
        )
    ),
}
VARIANTS: dict[str, dict[str, Change]] = {
    'refsegrs': {
        **_PHRASES,
        'wrapping folder': wrap('RefSegRS'),
        'names with extension': texts(lambda t: t.replace(b' the', b'.tif the')),
        'masks of 0 and 1': masks('masks', lambda values: values // 255),
        'masks of 3 channels': masks('masks', three_channels),
        'masks of 3 channels, 0 and 1': masks('masks', lambda v: three_channels(v // 255)),
        'images with alpha': images('images', 'RGBA'),
    },
    'risbench': {
        **_PHRASES,
        'wrapping folder': wrap('RISBench_dataset'),
        'names without extension': texts(lambda t: t.replace(b'.png ', b' ')),
        'images, masks': both(move('img_rgb', 'images'), move('mask', 'masks')),
        'masks of 3 channels': masks('mask', three_channels),
        'refer': as_refer,
    },
    'rrsisd': {
        'wrapping folder': wrap('RRSIS-D'),
        'no middle folder': move('images/rrsisd/JPEGImages', 'images/JPEGImages'),
        'rrssid': move('rrsisd', 'rrssid'),
        'rrsis_d': both(move('rrsisd', 'rrsis_d'), move('images/rrsisd', 'images/rrsis_d')),
        'flat': both(
            move('rrsisd/refs(unc).p', 'refs(unc).p'),
            move('rrsisd/instances.json', 'instances.json'),
            move('images/rrsisd/JPEGImages', 'JPEGImages'),
        ),
        'category_id': change_instances(
            lambda c: [a.update(category_id=a.pop('categories_id')) for a in c['annotations']]
        ),
        'bare RLE': segmentations(lambda rle: rle),
        'list of run lengths': segmentations(run_lengths),
        'byte-order mark': lambda root: (
            (root / 'rrsisd/instances.json').write_bytes(
                b'\xef\xbb\xbf' + (root / 'rrsisd/instances.json').read_bytes()
            )
            and None
        ),
        'string ids': lambda root: _string_ids(root),
    },
}


def _string_ids(root: Path) -> None:
    def each(content: dict) -> None:
        for image in content['images']:
            image['id'] = str(image['id'])
        for annotation in content['annotations']:
            annotation['image_id'] = str(annotation['image_id'])

    change_instances(each)(root)
    refs = pickle.loads((root / 'rrsisd/refs(unc).p').read_bytes())
    for ref in refs:
        ref['image_id'] = str(ref['image_id'])
    write_refs(root, refs)


# ---------------------------------------------------------------- JSON lines


def fabricate_jsonl(root: Path, benchmark: str) -> Path:
    """The triplets of `fabricate(benchmark)` as `<benchmark>_<split>.jsonl` beside its images."""
    fabricate(benchmark, root)
    lines: dict[str, list[dict]] = {'train': [], 'val': [], 'test': []}
    if benchmark == 'rrsisd':
        for number, (split, image, ann, category, sentence_ids) in enumerate(REFS):
            text = f'the {CATEGORIES[category]} number {number}'
            lines[split] += [
                {
                    'split': split,
                    'image_id': image,
                    'sent': text + ' again' * i,
                    'file_name': f'{image:05d}.jpg',
                    'category_id': category,
                    'category_name': CATEGORIES[category],
                    'ann_id': ann,
                    'bbox': [5, 3, 19, 13],
                    'segmentation': [rle_of(target(number))],
                    'area': 9,
                }
                for i, _ in enumerate(sentence_ids)
            ]
        shutil.rmtree(root / 'rrsisd')
    else:
        layout = PHRASE_LAYOUTS[benchmark]
        number = 0
        for split, names in layout['names'].items():
            for name in names:
                lines[split].append(
                    {
                        'split': split,
                        'image_id': name + layout['in_line'],
                        'sent': f'the  bright rectangle number {number} .',
                        'file_name': name + layout['extension'],
                        'segmentation': rle_of(target(number)),
                    }
                )
                number += 1
            (root / f'output_phrase_{split}.txt').unlink()
        shutil.rmtree(root / layout['masks'])
    for split, of_split in lines.items():
        (root / f'{benchmark}_{split}.jsonl').write_text(
            ''.join(json.dumps(line) + '\n' for line in of_split)
        )
    return root


# ---------------------------------------------------------------- RefCOCO


def fabricate_refcoco(root: Path) -> Path:
    """RefCOCO as mmdet's documentation lays it out: 2 train images (3 refs, 5 sentences), one each
    of val, testA and testB. Masks are polygons, one is a crowd's list of run lengths."""
    (root / 'refcoco').mkdir(parents=True)
    (root / 'train2014').mkdir()
    refs, image_records, annotations = [], [], []
    places = (
        ('train', 11, 2),
        ('train', 11, 1),
        ('train', 12, 2),
        ('val', 13, 1),
        ('testA', 14, 1),
        ('testB', 15, 1),
    )
    for number, (split, image, sentences) in enumerate(places):
        name = f'COCO_train2014_{image:012d}.jpg'
        x, y = 5 + 4 * number, 3 + 2 * number
        if all(record['id'] != image for record in image_records):
            image_records.append({'file_name': name, 'height': HEIGHT, 'width': WIDTH, 'id': image})
            Image.fromarray(picture(target(number))).save(root / 'train2014' / name)
        polygon = [[x, y, x + 10, y, x + 10, y + 8, x, y + 8]]
        annotations.append(
            {
                'id': 700 + number,
                'image_id': image,
                'category_id': 1 + number % 2,
                'area': 80,
                'bbox': [x, y, 10, 8],
                'iscrowd': int(number == 2),
                'segmentation': polygon if number != 2 else run_lengths(rle_of(target(2))),
            }
        )
        refs.append(
            {
                'image_id': image,
                'ref_id': number,
                'ann_id': 700 + number,
                'split': split,
                'category_id': 1 + number % 2,
                'file_name': f'{name[:-4]}_{number}.jpg',
                'sent_ids': [10 * number + i for i in range(sentences)],
                'sentences': [
                    {
                        'raw': f'The Man {number} {i}',
                        'sent': f'the man {number} {i}',
                        'sent_id': 10 * number + i,
                        'tokens': [],
                    }
                    for i in range(sentences)
                ],
            }
        )
    (root / 'refcoco/refs(unc).p').write_bytes(pickle.dumps(refs))
    (root / 'refcoco/instances.json').write_text(
        json.dumps(
            {
                'images': image_records,
                'annotations': annotations,
                'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'tie'}],
            }
        )
    )
    return root
