"""A tiny copy of a benchmark in its on-disk format, whole or with a fault.

    python tests/fabricate.py rrsisd /tmp/rrsisd
    python tests/fabricate.py risbench /tmp/broken --fault "missing image"
    python tests/fabricate.py --list

Each image is grey with one bright rectangle; its mask is the rectangle. Every copy has 4 train,
2 val and 2 test triplets (RRSIS-D: in 3, 2 and 1 images; LaSeRS: 4 train and 4 test). Nothing is
random.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 48, 64  # unequal, so that a swap of the two shows


def target(number: int) -> np.ndarray:
    """(H, W) bool: rectangle `number`."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    top, left = 3 * (number % 8), 5 * (number % 6)
    mask[top : top + 10 + number % 3, left : left + 14] = True
    return mask


def picture(mask: np.ndarray) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[mask] = (220, 180, 40)
    return image


def rle_of(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(rle['size']), 'counts': rle['counts'].decode()}


# ---------------------------------------------------------------- RefSegRS and RISBench

PHRASE_LAYOUTS = {
    'refsegrs': dict(
        images='images',
        masks='masks',
        extension='.tif',
        in_line='',
        names={'train': ['12', '3', '471', '20'], 'val': ['4497', '387'], 'test': ['8', '1489']},
    ),
    'risbench': dict(
        images='img_rgb',
        masks='mask',
        extension='.png',
        in_line='.png',
        names={
            'train': ['train_0_0', 'train_0_2', 'train_1_0', 'train_7_1'],
            'val': ['train_14700_0', 'train_14701_0'],
            'test': ['test_0_0', 'test_1_0'],
        },
    ),
}


def fabricate_phrase_files(root: Path, dataset: str) -> None:
    layout = PHRASE_LAYOUTS[dataset]
    for folder in (layout['images'], layout['masks']):
        (root / folder).mkdir(parents=True, exist_ok=True)
    number = 0
    for split, names in layout['names'].items():
        lines = []
        for name in names:
            mask = target(number)
            file = name + layout['extension']
            Image.fromarray(picture(mask)).save(root / layout['images'] / file)
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / layout['masks'] / file)
            lines.append(f'{name}{layout["in_line"]} the  bright rectangle number {number} .')
            number += 1
        (root / f'output_phrase_{split}.txt').write_text('\n'.join(lines) + '\n')


def fabricate_refsegrs(root: Path) -> None:
    fabricate_phrase_files(root, 'refsegrs')


def fabricate_risbench(root: Path) -> None:
    fabricate_phrase_files(root, 'risbench')


# ---------------------------------------------------------------- RRSIS-D

CATEGORIES = (
    'Expressway-Service-area',
    'Expressway-toll-station',
    'airplane',
    'airport',
    'baseballfield',
    'basketballcourt',
    'bridge',
    'chimney',
    'dam',
    'golffield',
    'groundtrackfield',
    'harbor',
    'overpass',
    'ship',
    'stadium',
    'storagetank',
    'tenniscourt',
    'trainstation',
    'vehicle',
    'windmill',
)
# (split, image, annotation, category, sentence ids): ids differ from each other and from the order
REFS = (
    ('train', 40, 140, 18, (1040,)),
    ('val', 7, 107, 13, (1007,)),
    ('train', 3, 103, 0, (1003, 1004)),
    ('test', 21, 121, 7, (1021,)),
    ('train', 11, 111, 2, (1011,)),
    ('val', 9, 109, 6, (1009,)),
    ('test', 21, 122, 18, (1022,)),
)


def fabricate_rrsisd(root: Path, *, image_folder: str = 'images/rrsisd/JPEGImages') -> None:
    """As released, and more than the release uses: an image with two refs, a ref with two
    sentences, keys that join only by themselves."""
    (root / image_folder).mkdir(parents=True, exist_ok=True)
    (root / 'rrsisd').mkdir(exist_ok=True)
    refs, images, annotations = [], {}, []
    for number, (split, image, ann, category, sentence_ids) in enumerate(REFS):
        file, mask = f'{image:05d}.jpg', target(number)
        previous = images.get(image, {}).get('mask', np.zeros_like(mask))
        images[image] = {'file_name': file, 'mask': mask | previous}
        # bbox is xyxy and area a sum of grey values, as in the release
        annotations.append(
            {
                'id': ann,
                'image_id': image,
                'categories_id': category,
                'bbox': [5, 3, 19, 13],
                'segmentation': [rle_of(mask)],
                'area': int(mask.sum()) * 255,
            }
        )
        text = f'the {CATEGORIES[category]} number {number}'
        refs.append(
            {
                'image_id': image,
                'ref_id': 500 + number,
                'ann_id': ann,
                'sent_ids': list(sentence_ids),
                'category_id': category,
                'split': split,
                'file_name': file,
                'sentences': [
                    {
                        'tokens': text.split(),
                        'raw': None,
                        'sent': text + ' again' * i,
                        'sent_id': sent_id,
                    }
                    for i, sent_id in enumerate(sentence_ids)
                ],
            }
        )
    for image in images.values():
        Image.fromarray(picture(image['mask'])).save(
            root / image_folder / image['file_name'], quality=95
        )
    write_refs(root, refs)
    (root / 'rrsisd/instances.json').write_text(
        json.dumps(
            {
                'images': [
                    {'file_name': v['file_name'], 'height': HEIGHT, 'width': WIDTH, 'id': k}
                    for k, v in images.items()
                ],
                'annotations': annotations[::-1],
                'categories': [{'name': name, 'id': i} for i, name in enumerate(CATEGORIES)],
            }
        )
    )


def write_refs(root: Path, refs: object) -> None:
    (root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs, protocol=2))


def change_refs(change: Callable[[list], object]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        refs = pickle.loads((root / 'rrsisd/refs(unc).p').read_bytes())
        change(refs)
        write_refs(root, refs)

    return apply


def change_instances(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = root / 'rrsisd/instances.json'
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


# ---------------------------------------------------------------- NWPU-Refer and RemoteSAM-270K

# (split, image, annotation, {sentence id: sentence}); the targets are numbered by the order. The
# first and the third are one expression of two targets.
NWPU_REFS = (
    ('train', 40, 140, {1: 'the two storage tanks'}),
    ('val', 7, 107, {2: 'the ship'}),
    ('train', 40, 141, {3: 'the two storage tanks'}),
    ('train', 41, 142, {4: 'the dam'}),
    ('train', 11, 111, {5: 'the large airplane', 6: '大飞机'}),
    ('val', 9, 109, {7: 'the ship'}),
    ('test', 21, 121, {8: 'the dam'}),
    ('test', 21, 122, {9: 'the ship'}),
)
REMOTE_REFS = tuple(
    (split, image, ann, {i: f'the {CATEGORIES[category]} {i}' for i in ids})
    for split, image, ann, category, ids in REFS
)


def polygon_of(mask: np.ndarray) -> list[int]:
    """The outline of a rectangle."""
    (top, left), (bottom, right) = np.argwhere(mask)[[0, -1]]
    bottom, right = bottom + 1, right + 1
    return [int(n) for n in (left, top, right, top, right, bottom, left, bottom)]


def halves(mask: np.ndarray) -> list[np.ndarray]:
    """The left and the right part of a mask."""
    left = mask.copy()
    left[:, np.argwhere(mask)[:, 1].min() + 5 :] = False
    return [left, mask & ~left]


def write_refer(
    root: Path, rows: tuple, *, refs: str, instances: str, images: str, segmentations: list
) -> None:
    """REFER's files of `rows`; the category of each is its place among ten."""
    for folder in (images, Path(refs).parent):
        (root / folder).mkdir(parents=True, exist_ok=True)
    masks: dict[int, np.ndarray] = {}
    for number, (_, image, _, _) in enumerate(rows):
        masks[image] = masks.get(image, False) | target(number)
    for image, mask in masks.items():
        Image.fromarray(picture(mask)).save(root / images / f'{image}.jpg', quality=95)
    found = [
        {
            'image_id': image,
            'ref_id': 500 + number,
            'ann_id': ann,
            'split': split,
            'sentences': [{'sent_id': i, 'sent': s, 'raw': s} for i, s in sentences.items()],
        }
        for number, (split, image, ann, sentences) in enumerate(rows)
    ]
    (root / refs).write_bytes(pickle.dumps(found, protocol=2))
    content = {
        'images': [
            {'id': image, 'file_name': f'{image}.jpg', 'height': HEIGHT, 'width': WIDTH}
            for image in masks
        ],
        'annotations': [
            {'id': ann, 'image_id': image, 'category_id': number, 'segmentation': segmentation}
            for number, ((_, image, ann, _), segmentation) in enumerate(
                zip(rows, segmentations, strict=True)
            )
        ],
        'categories': [{'id': i, 'name': f'class {i}'} for i in range(10)],
    }
    (root / instances).write_text(json.dumps(content))


def fabricate_nwpu_refer(root: Path) -> None:
    """Polygons; that of the fourth target are two."""
    polygons = [[polygon_of(target(number))] for number in range(8)]
    polygons[3] = [polygon_of(half) for half in halves(target(3))]
    write_refer(
        root,
        NWPU_REFS,
        refs='new_refs(unc).p',
        instances='new_instances.json',
        images='image',
        segmentations=polygons,
    )


def refer_masks() -> list:
    """Run-length masks, bare and in a list; two for the fifth target, a polygon for the last."""
    masks: list = [rle_of(target(number)) for number in range(7)]
    masks[2] = [masks[2]]
    masks[4] = [rle_of(half) for half in halves(target(4))]
    masks[6] = [polygon_of(target(6))]
    return masks


def fabricate_remotesam(root: Path) -> None:
    write_refer(
        root,
        REMOTE_REFS,
        refs='refs(unc).p',
        instances='instances.json',
        images='JPEGImages',
        segmentations=refer_masks(),
    )


# ---------------------------------------------------------------- EarthReason, RIS-LAD, LaSeRS

# (split, name of the picture, questions, whether there is a target)
QUESTIONS = (
    ('train', 'farm_1.jpg', ['Where is grain kept?', 'Where do tractors stand?'], True),
    ('train', 'farm_2.png', ['Where could one swim?'], False),
    ('train', 'farm_3.jpg', ['Which way leads to the town?'], True),
    ('val', 'farm_4.jpg', ['Where do ships land?', 'Where is the shore?'], True),
    ('val', 'farm_5.jpg', ['Where is oil kept?'], False),
    ('test', 'farm_6.jpg', ['Where do planes land?', 'What is long?', 'What is grey?'], True),
    ('test', 'farm_7.jpg', ['Where is power made?'], True),
)
LAD_COUNTS = {'train': 4, 'val': 2, 'test': 2}


def fabricate_earthreason(root: Path) -> None:
    """Labels hold the number of a class."""
    for number, (split, file, questions, there) in enumerate(QUESTIONS):
        for folder in ('images', 'labels', 'QAs'):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        stem, mask = file.partition('.')[0], target(number) & there
        Image.fromarray(picture(mask)).save(root / split / 'images' / file)
        Image.fromarray(mask.astype(np.uint8) * 7).save(root / split / f'labels/{stem}.png')
        (root / split / f'QAs/{stem}.json').write_text(
            json.dumps({'questions': questions, 'answer': ['There.'] * there})
        )


def fabricate_ris_lad(root: Path) -> None:
    """The first record of a split names its files with their folders."""
    for folder in ('images', 'masks', 'ann'):
        (root / folder).mkdir(exist_ok=True)
    number = 0
    for split, count in LAD_COUNTS.items():
        records = []
        for place in range(count):
            mask = target(number)
            Image.fromarray(picture(mask)).save(root / f'images/{number:04d}.jpg', quality=95)
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / f'masks/{number:04d}.png')
            records.append(
                {
                    'image': 'images/' * (place == 0) + f'{number:04d}.jpg',
                    'mask': 'masks/' * (place == 0) + f'{number:04d}.png',
                    'expression': f'the white car {number} ',
                }
            )
            number += 1
        (root / f'ann/{split}.json').write_text(json.dumps(records))


def fabricate_lasers(root: Path) -> None:
    """The third record of a split has two targets."""
    for offset, split in ((0, 'train'), (4, 'test')):
        for folder in ('images', 'annotations'):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        records = []
        for place in range(4):
            mask = target(offset + place)
            Image.fromarray(picture(mask)).save(root / split / f'images/P{place}.jpg', quality=95)
            masks = halves(mask) if place == 2 else [mask]
            records.append(
                {
                    'id': 70 + place,
                    'image_name': f'P{place}.jpg',
                    'description': f'Segment the wing {place}.',
                    'answer': 'Sure, it is ' + ' and '.join(['[SEG]'] * len(masks)),
                    'mask': [rle_of(m) for m in masks],
                }
            )
        (root / split / f'annotations/{split}_ann.json').write_text(json.dumps(records))


# ---------------------------------------------------------------- faults


def change_json(path: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        content = json.loads((root / path).read_text())
        change(content)
        (root / path).write_text(json.dumps(content))

    return apply


def change_pickle(path: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        content = pickle.loads((root / path).read_bytes())
        change(content)
        (root / path).write_bytes(pickle.dumps(content, protocol=2))

    return apply


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        for change in changes:
            change(root)

    return apply


def remove(*paths: str) -> Callable[[Path], None]:
    return both(*(lambda root, path=path: os.remove(root / path) for path in paths))


def cut(path: str, keep: int = 60) -> Callable[[Path], None]:
    """Keep the first `keep` percent of the file's bytes."""

    def apply(root: Path) -> None:
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: len(content) * keep // 100])

    return apply


def save(path: str, array: np.ndarray) -> Callable[[Path], None]:
    return lambda root: Image.fromarray(array).save(root / path)


def set_line(path: str, number: int, line: bytes) -> Callable[[Path], None]:
    """Replace line `number` (from 1) of a text file."""

    def apply(root: Path) -> None:
        lines = (root / path).read_bytes().split(b'\n')
        lines[number - 1] = line
        (root / path).write_bytes(b'\n'.join(lines))

    return apply


class _Malicious:
    """Unpickled by pickle itself, this creates a file named by the environment."""

    def __reduce__(self) -> tuple:
        return os.system, ('touch "$FABRICATED_CANARY"',)


def _annotation(content: dict, ann_id: int) -> dict:
    return next(a for a in content['annotations'] if a['id'] == ann_id)


_TXT = 'output_phrase_train.txt'
_GREY = np.full((HEIGHT, WIDTH), 7, np.uint8)
_COLOURED = np.stack([_GREY * 0, _GREY * 0 + 255, _GREY * 0], axis=-1)
_JPG = 'images/rrsisd/JPEGImages/00040.jpg'  # train record 0
_NO_RECTANGLE = np.zeros((HEIGHT // 2, WIDTH // 2), bool)
_NWPU, _NWPU_REFS = 'new_instances.json', 'new_refs(unc).p'
_FARM, _LAD = 'train/QAs/farm_1.json', 'ann/train.json'
_LASERS = 'train/annotations/train_ann.json'


def _first(path: str, change: dict) -> Callable[[Path], None]:
    """Change the first record of a JSON list."""
    return change_json(path, lambda records: records[0].update(change))


def _nwpu(segmentation: object) -> Callable[[Path], None]:
    return change_json(_NWPU, lambda c: _annotation(c, 140).update(segmentation=segmentation))


def _remote(segmentation: object) -> Callable[[Path], None]:
    return change_json(
        'instances.json', lambda c: _annotation(c, 140).update(segmentation=segmentation)
    )


FAULTS: dict[str, dict[str, Callable[[Path], None]]] = {
    'refsegrs': {
        'missing text': remove(_TXT),
        'missing image': remove('images/3.tif'),
        'missing masks': remove('masks/3.tif', 'masks/20.tif'),
        'no id': set_line(_TXT, 2, b'vehicle on the road'),
        'empty sentence': set_line(_TXT, 2, b'3  '),
        'not utf-8': set_line(_TXT, 2, b'3 caf\xe9 beside the road'),
        'duplicate id': set_line(_TXT, 4, b'3 a second time'),
        'truncated image': cut('images/12.tif'),
        'no image': set_line('images/12.tif', 1, b'<html>'),
        '16-bit image': save('images/12.tif', _GREY.astype(np.uint16) * 100),
        'mask of another size': save('masks/12.tif', _NO_RECTANGLE),
        'grey mask': save('masks/12.tif', _GREY),
        'truncated mask': cut('masks/12.tif'),
        'no images folder': lambda root: shutil.rmtree(root / 'images'),
        'negative id': set_line(_TXT, 2, b'-3 a car'),
    },
    'risbench': {
        'missing text': remove(_TXT),
        'empty text': lambda root: (root / _TXT).write_text('\n\n') and None,
        'missing image': remove('img_rgb/train_0_2.png'),
        'missing mask': remove('mask/train_7_1.png'),
        'path as name': set_line(_TXT, 1, b'../train_0_0.png the rectangle'),
        'empty sentence': set_line(_TXT, 1, b'train_0_0.png'),
        'duplicate id': set_line(_TXT, 2, b'train_0_0.png the other rectangle'),
        'truncated image': cut('img_rgb/train_0_0.png'),
        'mask of another size': save('mask/train_0_0.png', _NO_RECTANGLE),
        'coloured mask': save('mask/train_0_0.png', _COLOURED),
    },
    'rrsisd': {
        'missing refs': remove('rrsisd/refs(unc).p'),
        'missing instances': remove('rrsisd/instances.json'),
        'missing image': remove(_JPG),
        'malicious refs': lambda root: write_refs(root, [_Malicious()]),
        'truncated refs': cut('rrsisd/refs(unc).p'),
        'refs no list': lambda root: write_refs(root, {'refs': []}),
        'truncated instances': cut('rrsisd/instances.json'),
        'no category list': change_instances(lambda c: c.pop('categories')),
        'ref without annotation': change_refs(lambda refs: refs[0].update(ann_id=999)),
        'ref without image': change_refs(lambda refs: refs[0].update(image_id=999)),
        'ref of another image': change_refs(lambda refs: refs[0].update(image_id=3)),
        'ref without key': change_refs(lambda refs: refs[0].pop('ann_id')),
        'ref without sentences': change_refs(lambda refs: refs[0].update(sentences=[])),
        'no val': change_refs(lambda refs: [ref.update(split='train') for ref in refs]),
        'empty sentence': change_refs(lambda refs: refs[2]['sentences'][1].update(sent=' ')),
        'sentence None': change_refs(lambda refs: refs[0]['sentences'][0].update(sent=None)),
        'duplicate sentence id': change_refs(
            lambda refs: refs[2]['sentences'][1].update(sent_id=1003)
        ),
        'duplicate annotation': change_instances(
            lambda c: c['annotations'].append(dict(c['annotations'][0]))
        ),
        'category outside the list': both(
            change_refs(lambda refs: refs[0].update(category_id=20)),
            change_instances(lambda c: _annotation(c, 140).update(categories_id=20)),
        ),
        'categories disagree': change_refs(lambda refs: refs[0].update(category_id=17)),
        'category of another name': change_instances(
            lambda c: c['categories'][18].update(name='vehicles')
        ),
        'polygon': change_instances(
            lambda c: _annotation(c, 140).update(segmentation=[[1, 2, 3, 4, 5, 6], [0, 0, 9, 9]])
        ),
        'damaged run lengths': change_instances(
            lambda c: _annotation(c, 140).update(
                segmentation=[{'size': [HEIGHT, WIDTH], 'counts': 'abc'}]
            )
        ),
        'unknown split': change_refs(lambda refs: refs[0].update(split='trian')),
        'sentences no list': change_refs(lambda refs: refs[0].update(sentences='the ship')),
        'ref no dict': change_refs(lambda refs: refs.__setitem__(0, ['train'])),
        'images no list': change_instances(lambda c: c.update(images={'40': '00040.jpg'})),
        'id no number': change_instances(lambda c: c['images'][0].update(id=[40])),
        'size no numbers': change_instances(
            lambda c: _annotation(c, 140)['segmentation'][0].update(size=['48', '64'])
        ),
        'counts no text': change_instances(
            lambda c: _annotation(c, 140)['segmentation'][0].update(counts=None)
        ),
        'run lengths too few': change_instances(
            lambda c: _annotation(c, 140)['segmentation'][0].update(counts=[5, 6, 7])
        ),
        'run lengths cut off': change_instances(
            lambda c: _annotation(c, 140)['segmentation'][0].update(counts='0o')
        ),
        'truncated image': cut(_JPG),
        'mask of another size': change_instances(
            lambda c: _annotation(c, 140).update(segmentation=[rle_of(_NO_RECTANGLE)])
        ),
    },
    'nwpu_refer': {
        'missing refs': remove(_NWPU_REFS),
        'missing instances': remove(_NWPU),
        'missing image': remove('image/11.jpg'),
        'no images folder': lambda root: shutil.rmtree(root / 'image'),
        'truncated refs': cut(_NWPU_REFS),
        'unknown split': change_pickle(_NWPU_REFS, lambda refs: refs[0].update(split='dev')),
        'ref without annotation': change_pickle(_NWPU_REFS, lambda r: r[0].update(ann_id=999)),
        'annotation without mask': _nwpu([]),
        'mask null': _nwpu(None),
        'polygon of 2 points': _nwpu([[1, 2, 3, 4]]),
        'polygon outside': _nwpu([[1, 2, 3, 4, 5000, 6]]),
        'image without size': change_json(_NWPU, lambda c: c['images'][0].pop('height')),
        'targets of two sizes': _nwpu([rle_of(_NO_RECTANGLE)]),
        'image of another size': save('image/40.jpg', np.zeros((30, 30, 3), np.uint8)),
    },
    'earthreason': {
        'missing split': lambda root: shutil.rmtree(root / 'train'),
        'missing image': remove('train/images/farm_1.jpg'),
        'missing label': remove('train/labels/farm_2.png'),
        'missing questions': remove(_FARM),
        'two images of a name': save('train/images/farm_1.png', _GREY),
        'no JSON': lambda root: (root / _FARM).write_text('{"questions": [') and None,
        'no question': change_json(_FARM, lambda c: c.update(questions=[])),
        'empty question': change_json(_FARM, lambda c: c.update(questions=[' '])),
        'questions no list': change_json(_FARM, lambda c: c.update(questions='Where?')),
        'no answer': change_json(_FARM, lambda c: c.pop('answer')),
        'coloured label': save('train/labels/farm_1.png', _COLOURED),
        'label of another size': save('train/labels/farm_1.png', _NO_RECTANGLE),
    },
    'ris_lad': {
        'missing list': remove(_LAD),
        'missing image': remove('images/0001.jpg'),
        'missing mask': remove('masks/0001.png'),
        'no list': lambda root: (root / _LAD).write_text('{}') and None,
        'record without mask': change_json(_LAD, lambda records: records[0].pop('mask')),
        'empty sentence': _first(_LAD, {'expression': ''}),
        'path out of the folder': _first(_LAD, {'image': '../0000.jpg'}),
        'no record': lambda root: (root / _LAD).write_text('[]') and None,
        'grey mask': save('masks/0000.png', _GREY),
        'truncated image': cut('images/0000.jpg'),
    },
    'remotesam': {
        'missing refs': remove('refs(unc).p'),
        'missing instances': remove('instances.json'),
        'missing image': remove('JPEGImages/11.jpg'),
        'ref without annotation': change_pickle(
            'refs(unc).p', lambda refs: refs[0].update(ann_id=999)
        ),
        'mask a file name': _remote('Annotations/40.png'),
        'masks of two sizes': _remote([rle_of(_NO_RECTANGLE), rle_of(target(0))]),
        'annotation without mask': _remote([]),
        'mask of another size': _remote(rle_of(_NO_RECTANGLE)),
    },
    'lasers': {
        'missing list': remove(_LASERS),
        'two lists': lambda root: shutil.copy(root / _LASERS, root / 'train/annotations/b.json'),
        'missing image': remove('train/images/P1.jpg'),
        'no mask': change_json(_LASERS, lambda records: records[0].pop('mask')),
        'no target': _first(_LASERS, {'answer': 'There is none.', 'mask': []}),
        'masks and answer disagree': _first(_LASERS, {'answer': '[SEG] and [SEG]'}),
        'no run lengths': _first(_LASERS, {'mask': ['mask.png']}),
        'run lengths cut off': _first(
            _LASERS, {'mask': [{'size': [HEIGHT, WIDTH], 'counts': '0o'}]}
        ),
        'record without sentence': change_json(_LASERS, lambda r: r[0].pop('description')),
        'duplicate id': _first(_LASERS, {'id': 71}),
        'mask of another size': _first(_LASERS, {'mask': [rle_of(_NO_RECTANGLE)]}),
    },
}
WRITERS = {
    'refsegrs': fabricate_refsegrs,
    'rrsisd': fabricate_rrsisd,
    'risbench': fabricate_risbench,
    'nwpu_refer': fabricate_nwpu_refer,
    'earthreason': fabricate_earthreason,
    'ris_lad': fabricate_ris_lad,
    'remotesam': fabricate_remotesam,
    'lasers': fabricate_lasers,
}


def fabricate(dataset: str, root: str | Path, *, fault: str | None = None) -> Path:
    """Write the copy of `dataset` to `root`, then apply `fault`."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    WRITERS[dataset](root)
    if fault is not None:
        FAULTS[dataset][fault](root)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dataset', choices=WRITERS, nargs='?')
    parser.add_argument('root', nargs='?')
    parser.add_argument('--fault')
    parser.add_argument('--list', action='store_true', help='name the faults and stop')
    args = parser.parse_args()
    if args.list or args.root is None:
        for dataset, faults in FAULTS.items():
            print(f'{dataset}: {", ".join(faults)}')
        return
    if args.fault is not None and args.fault not in FAULTS[args.dataset]:
        parser.error(
            f'{args.dataset} has no fault {args.fault!r}; it has {", ".join(FAULTS[args.dataset])}'
        )
    print(fabricate(args.dataset, args.root, fault=args.fault))


if __name__ == '__main__':
    main()
