"""The three benchmarks' released layouts.

A layout writes a scene's pictures where the scene was drawn (possibly in another process), and the
annotation files at the end, from the scene files alone.
"""
from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .catalogue import CATEGORIES
from .generate import SPLITS


def read_scenes(root: Path, split: str) -> Iterator[dict[str, Any]]:
    """The scenes of a split, one at a time, as written."""
    with open(Path(root) / f'scenes_{split}.jsonl', encoding='utf-8') as lines:
        for line in lines:
            yield json.loads(line)


def _encode(suffix: str, image: np.ndarray, *options: int) -> bytes:
    if image.ndim == 3:
        image = image[..., ::-1]                     # cv2 writes BGR
    return cv2.imencode(suffix, np.ascontiguousarray(image), list(options))[1].tobytes()


class Layout:
    """What the layouts share.

    Args:
        root: the layout's own folder.
        scenes, sentences: {split: how many before it, in the order train, val, test}; 'all' is
            the total. They number pictures and sentences through all splits.
    """
    name: str
    folders: tuple[str, ...]

    def __init__(self, root: Path, *, scenes: dict[str, int], sentences: dict[str, int]) -> None:
        self.root = root
        self.scenes = scenes
        self.sentences = sentences

    def prepare(self) -> None:
        for folder in self.folders:
            (self.root / folder).mkdir(parents=True)

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        """The sample's id as the reader forms it. number: of the sentence through all splits,
        from 0; position: within its scene."""
        raise NotImplementedError

    def write_pictures(self, record: dict[str, Any], image: np.ndarray) -> None:
        raise NotImplementedError

    def write_annotations(self, dataset: Path) -> None:
        raise NotImplementedError


class RRSISD(Layout):
    """One jpg per scene; the sentences in a pickle, the masks as RLE in instances.json.

    As in the release an annotation calls its category `categories_id`, its bbox is
    [x1, y1, x2, y2] and its area a sum of grey values. Unlike there, a picture has several refs
    and no two kinds of id agree, so that only a join by the proper keys gives the right masks.
    """
    name = 'rrsisd'
    folders = ('rrsisd', 'images/rrsisd/JPEGImages')

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        return str(number + 1)

    def _image_id(self, record: dict[str, Any]) -> int:
        return self.scenes[record['split']] + record['scene'] + 1

    def write_pictures(self, record: dict[str, Any], image: np.ndarray) -> None:
        path = self.root / self.folders[1] / f'{self._image_id(record):05d}.jpg'
        path.write_bytes(_encode('.jpg', image, cv2.IMWRITE_JPEG_QUALITY, 95))

    def write_annotations(self, dataset: Path) -> None:
        ids = {name: index for index, name in enumerate(CATEGORIES)}
        refs, images, annotations = [], [], []
        for split in SPLITS:
            for record in read_scenes(dataset, split):
                number = self._image_id(record)
                images.append({'file_name': f'{number:05d}.jpg', 'height': record['size'],
                               'width': record['size'], 'id': number})
                ann_ids = {}
                for sentence in record['sentences']:
                    thing = record['objects'][sentence['target']]
                    if sentence['target'] not in ann_ids:
                        ann_ids[sentence['target']] = len(annotations) + 1
                        annotations.append(self._annotation(
                            thing, len(annotations) + 1, number, ids[thing['category']]))
                    refs.append(self._ref(record, sentence, number, ann_ids[sentence['target']],
                                          ids[thing['category']]))
        categories = [{'name': name, 'id': index} for name, index in ids.items()]
        text = json.dumps({'images': images, 'annotations': annotations, 'categories': categories})
        (self.root / 'rrsisd/instances.json').write_text(text, encoding='utf-8')
        (self.root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs, protocol=4))

    @staticmethod
    def _annotation(thing: dict[str, Any], ann_id: int, image_id: int,
                    category_id: int) -> dict[str, Any]:
        x, y, width, height = thing['bbox']
        return {'id': ann_id, 'image_id': image_id, 'categories_id': category_id,
                'bbox': [x, y, x + width, y + height], 'segmentation': [thing['rle']],
                'area': 255 * thing['area']}

    @staticmethod
    def _ref(record: dict[str, Any], sentence: dict[str, Any], image_id: int, ann_id: int,
             category_id: int) -> dict[str, Any]:
        sent_id, text = int(sentence['keys']['rrsisd']), sentence['text']
        return {'image_id': image_id, 'ref_id': 500000 + sent_id, 'ann_id': ann_id,
                'sent_ids': [sent_id], 'category_id': category_id, 'split': record['split'],
                'file_name': f'{image_id:05d}.jpg',
                'sentences': [{'tokens': text.split(), 'raw': text, 'sent': text,
                               'sent_id': sent_id}]}


class _PhraseFiles(Layout):
    """RefSegRS and RISBench: a picture and a mask per sentence, sentences in text files."""
    suffix: str
    options: tuple[int, ...] = ()
    line: str

    def write_pictures(self, record: dict[str, Any], image: np.ndarray) -> None:
        picture = _encode(self.suffix, image, *self.options)
        for sentence in record['sentences']:
            stem = sentence['keys'][self.name]
            mask = coco_mask.decode(record['objects'][sentence['target']]['rle']) * 255
            (self.root / self.folders[0] / f'{stem}{self.suffix}').write_bytes(picture)
            (self.root / self.folders[1] / f'{stem}{self.suffix}').write_bytes(
                _encode(self.suffix, mask, *self.options))

    def write_annotations(self, dataset: Path) -> None:
        for split in SPLITS:
            lines = [self.line.format(stem=sentence['keys'][self.name], text=sentence['text'])
                     for record in read_scenes(dataset, split) for sentence in record['sentences']]
            (self.root / f'output_phrase_{split}.txt').write_text(''.join(lines), encoding='utf-8')


class RefSegRS(_PhraseFiles):
    """Plain integers that follow no order as names; a scene is stored again for each sentence."""
    name = 'refsegrs'
    folders = ('images', 'masks')
    suffix = '.tif'
    options = (cv2.IMWRITE_TIFF_COMPRESSION, 1)      # none, as in the release
    line = '{stem} {text}\n'

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        total = self.sentences['all']
        step = next(s for s in range(max(1, int(0.618 * total)), 2 * total + 2)
                    if math.gcd(s, total) == 1)
        return str(number * step % total)            # a permutation, since gcd(step, total) = 1


class RISBench(_PhraseFiles):
    """<train|test>_<scene>_<number>.png. As in the release, val continues train's numbering."""
    name = 'risbench'
    folders = ('img_rgb', 'mask')
    suffix = '.png'
    line = '{stem}.png {text}\n'

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        if split == 'test':
            return f'test_{scene}_{position}'
        return f'train_{self.scenes[split] + scene}_{position}'


LAYOUTS: dict[str, type[Layout]] = {layout.name: layout for layout in (RRSISD, RefSegRS, RISBench)}
