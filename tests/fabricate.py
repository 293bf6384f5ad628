"""A tiny copy of RefSegRS, RRSIS-D or RISBench in the true on-disk format, whole or with a fault.

    python tests/fabricate.py rrsisd /tmp/rrsisd
    python tests/fabricate.py risbench /tmp/broken --fault "missing image"
    python tests/fabricate.py --list

Each image is grey with one bright rectangle; its mask is the rectangle. Every copy has 4 train,
2 val and 2 test triplets (RRSIS-D: in 3, 2 and 1 images). Nothing is random.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

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


# ---------------------------------------------------------------- faults


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
}
WRITERS = {
    'refsegrs': fabricate_refsegrs,
    'rrsisd': fabricate_rrsisd,
    'risbench': fabricate_risbench,
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
