"""Write triplets in a benchmark's released layout.

What is written stands in scene records, one per picture, as SynthRS and tools/data/convert.py make
them (JSON lines, `scenes_{split}.jsonl`)::

    {'scene': number in the split from 0, 'split': ...,
     'objects': [{'category': name or None, 'bbox': [x, y, w, h], 'area': pixels, 'rle': RLE}],
     'sentences': [{'text': ..., 'target': index of an object, 'keys': {layout: sample id}}]}

A sentence that names several objects or none has `targets`, their indices, instead of `target`. Its
mask is their union; its category is theirs where they share one.

A layout writes a record's pictures one at a time (possibly in several processes), and the
annotation files at the end, from the records alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ..datasets.checks import SPLITS
from ..datasets.images import read_image
from ..datasets.scene_files import targets_of
from ..rle import encode

Picture = np.ndarray | Path  # (H, W, 3) uint8 RGB, or the file that shows it
UNKNOWN = 'unknown'  # the category's name where a layout needs one and none is known
_SPELLINGS = {'.jpeg': '.jpg', '.tiff': '.tif'}


def running_totals(counts: Mapping[str, int]) -> dict[str, int]:
    """{split: how many before it, in the order train, val, test}; 'all' is the total."""
    before, total = {}, 0
    for split in SPLITS:
        before[split] = total
        total += counts.get(split, 0)
    return {**before, 'all': total}


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return _SPELLINGS.get(suffix, suffix)


def _encode(suffix: str, image: np.ndarray, *options: int) -> bytes:
    if image.ndim == 3:
        image = image[..., ::-1]  # cv2 writes BGR
    return cv2.imencode(suffix, np.ascontiguousarray(image), list(options))[1].tobytes()


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def named_by(record: dict[str, Any], sentence: dict[str, Any]) -> dict[str, Any]:
    """What a sentence of a scene record names, as one object: category (None: several, or nothing),
    bbox [x, y, w, h] (zeros: nothing), area in pixels and rle."""
    things = [record['objects'][target] for target in targets_of(sentence)]
    if len(things) == 1:
        return things[0]
    categories = {thing['category'] for thing in things}
    mask = np.zeros(record['objects'][0]['rle']['size'], bool)
    for thing in things:
        mask |= coco_mask.decode(thing['rle']) > 0
    rle = encode(mask)
    return {
        'category': categories.pop() if len(categories) == 1 else None,
        'bbox': [int(v) for v in coco_mask.toBbox(rle)],
        'area': int(mask.sum()),
        'rle': rle,
    }


class Layout:
    """What the layouts share.

    A picture given as a file keeps its pixels: its bytes are copied where the layout allows the
    format, and the pixels written without loss where it demands another one.

    Args:
        root: the layout's own folder.
        scenes, sentences: `running_totals`, which number pictures and sentences through all
            splits.
        categories: names in the order of their ids, for the layouts that hold a category.
    """

    name: str
    folders: tuple[str, ...]
    annotation_files: tuple[str, ...]
    several_sentences = False  # whether one picture may have several sentences
    holds_category = False
    suffix: str | None = None  # the one picture format of the layout; None: any

    def __init__(
        self,
        root: Path,
        *,
        scenes: Mapping[str, int],
        sentences: Mapping[str, int],
        categories: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.scenes = scenes
        self.sentences = sentences
        self.categories = {name: index for index, name in enumerate(categories)}

    def prepare(self) -> None:
        """Make the folders."""
        for folder in self.folders:
            (self.root / folder).mkdir(parents=True)

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        """The sample's id as the reader forms it. number: of the sentence through all splits,
        from 0; position: within its scene."""
        raise NotImplementedError

    def files(self, record: dict[str, Any]) -> list[str]:
        """The pictures and masks of a record, from `root`, in the order of its sentences."""
        raise NotImplementedError

    def write_pictures(self, record: dict[str, Any], image: Picture) -> None:
        """Write `files(record)`."""
        raise NotImplementedError

    def write_annotations(self, records: Iterable[dict[str, Any]]) -> None:
        """records: of all splits, in order."""
        raise NotImplementedError


class _OneFile(Layout):
    """A picture per scene, in a format of its own; one that was drawn as JPEG of quality 95."""

    several_sentences = True
    holds_category = True

    def files(self, record: dict[str, Any]) -> list[str]:
        return [f'{self.folders[-1]}/{self._file(record)}']

    def write_pictures(self, record: dict[str, Any], image: Picture) -> None:
        path = self.root / self.files(record)[0]
        if isinstance(image, Path):
            shutil.copyfile(image, path)
        else:
            options = (cv2.IMWRITE_JPEG_QUALITY, 95) if path.suffix == '.jpg' else ()
            path.write_bytes(_encode(path.suffix, image, *options))

    def _image_id(self, record: dict[str, Any]) -> int:
        return self.scenes[record['split']] + record['scene'] + 1

    def _file(self, record: dict[str, Any]) -> str:
        return f'{self._image_id(record):05d}{record.get("suffix", ".jpg")}'


def _xyxy(thing: dict[str, Any]) -> list[int]:
    x, y, width, height = thing['bbox']
    return [x, y, x + width, y + height]


class RRSISD(_OneFile):
    """A picture per scene; the sentences in a pickle, the masks as RLE in instances.json.

    As in the release an annotation calls its category `categories_id`, its bbox is
    [x1, y1, x2, y2] and its area a sum of grey values. Unlike there, a picture has several refs
    and no two kinds of id agree, so that only a join by the proper keys gives the right masks; and
    a picture that was no JPEG stays what it was (`file_name` says so), since JPEG would alter it.
    """

    name = 'rrsisd'
    folders = ('rrsisd', 'images/rrsisd/JPEGImages')
    annotation_files = ('rrsisd/instances.json', 'rrsisd/refs(unc).p')

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        """The sent_id: sentences are numbered from 1 through all splits."""
        return str(number + 1)

    def write_annotations(self, records: Iterable[dict[str, Any]]) -> None:
        """Write instances.json and refs(unc).p."""
        refs, images = [], []
        annotations: list[dict[str, Any]] = []
        for record in records:
            number = self._image_id(record)
            height, width = record['objects'][0]['rle']['size']
            file = self._file(record)
            images.append({'file_name': file, 'height': height, 'width': width, 'id': number})
            ann_ids: dict[tuple[int, ...], int] = {}
            for sentence in record['sentences']:
                targets = targets_of(sentence)
                thing = named_by(record, sentence)
                category = self.categories[thing['category'] or UNKNOWN]
                if targets not in ann_ids:
                    ann_ids[targets] = len(annotations) + 1
                    annotations.append(
                        {
                            'id': ann_ids[targets],
                            'image_id': number,
                            'categories_id': category,
                            'bbox': _xyxy(thing),
                            'segmentation': [thing['rle']],
                            'area': 255 * thing['area'],
                        }
                    )
                refs.append(
                    self._ref(record['split'], sentence, number, ann_ids[targets], category, file)
                )
        categories = [{'name': name, 'id': index} for name, index in self.categories.items()]
        text = json.dumps({'images': images, 'annotations': annotations, 'categories': categories})
        (self.root / 'rrsisd/instances.json').write_text(text, encoding='utf-8')
        (self.root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs, protocol=4))

    def _ref(
        self,
        split: str,
        sentence: dict[str, Any],
        image_id: int,
        ann_id: int,
        category: int,
        file: str,
    ) -> dict[str, Any]:
        sent_id, text = int(sentence['keys'][self.name]), sentence['text']
        return {
            'image_id': image_id,
            'ref_id': 500000 + sent_id,
            'ann_id': ann_id,
            'sent_ids': [sent_id],
            'category_id': category,
            'split': split,
            'file_name': file,
            'sentences': [{'tokens': text.split(), 'raw': text, 'sent': text, 'sent_id': sent_id}],
        }


class _PhraseFiles(Layout):
    """RefSegRS and RISBench: a picture and a mask per sentence, sentences in text files. The
    pictures of one scene are one file under several names (hard links, where possible)."""

    options: tuple[int, ...] = ()
    line: str
    suffix: str

    annotation_files = tuple(f'output_phrase_{split}.txt' for split in SPLITS)

    def files(self, record: dict[str, Any]) -> list[str]:
        return [
            f'{folder}/{sentence["keys"][self.name]}{self.suffix}'
            for sentence in record['sentences']
            for folder in self.folders
        ]

    def write_pictures(self, record: dict[str, Any], image: Picture) -> None:
        first, files = None, self.files(record)
        for sentence, name, mask_name in zip(
            record['sentences'], files[::2], files[1::2], strict=True
        ):
            path = self.root / name
            if first is not None:
                _link(first, path)
            elif isinstance(image, Path) and _suffix(image) == self.suffix:
                shutil.copyfile(image, path)
            else:
                pixels = read_image(str(image)) if isinstance(image, Path) else image
                path.write_bytes(_encode(self.suffix, pixels, *self.options))
            first = path
            mask = coco_mask.decode(named_by(record, sentence)['rle']) * 255
            (self.root / mask_name).write_bytes(_encode(self.suffix, mask, *self.options))

    def write_annotations(self, records: Iterable[dict[str, Any]]) -> None:
        with contextlib.ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    open(
                        self.root / f'output_phrase_{split}.txt',
                        'w',
                        encoding='utf-8',
                        newline='\n',
                    )
                )
                for split in SPLITS
            }
            for record in records:
                for sentence in record['sentences']:
                    files[record['split']].write(
                        self.line.format(stem=sentence['keys'][self.name], text=sentence['text'])
                    )


class RefSegRS(_PhraseFiles):
    """Plain integers that follow no order as names; a scene is stored again for each sentence."""

    name = 'refsegrs'
    folders = ('images', 'masks')
    suffix = '.tif'
    options = (cv2.IMWRITE_TIFF_COMPRESSION, 1)  # none, as in the release
    line = '{stem} {text}\n'

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        """The stem of the file: the numbers in an order that says nothing."""
        total = self.sentences['all']
        step = next(
            s for s in range(max(1, int(0.618 * total)), 2 * total + 2) if math.gcd(s, total) == 1
        )
        return str(number * step % total)  # a permutation, since gcd(step, total) = 1


class RISBench(_PhraseFiles):
    """<train|test>_<scene>_<number>.png. As in the release, val continues train's numbering."""

    name = 'risbench'
    folders = ('img_rgb', 'mask')
    suffix = '.png'
    line = '{stem}.png {text}\n'

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        """The stem of the file: split, scene, number of the sentence."""
        if split == 'test':
            return f'test_{scene}_{position}'
        return f'train_{self.scenes[split] + scene}_{position}'


class JSONLines(_OneFile):
    """`{split}.jsonl`, an object per sentence, and `images/`. As RSRefSeg's converters write it:
    where the category is known RRSIS-D's form, else the bare form of the other two."""

    name = 'jsonl'
    folders = ('images',)
    annotation_files = tuple(f'{split}.jsonl' for split in SPLITS)

    def key(self, split: str, scene: int, number: int, position: int) -> str:
        """The sent_id: sentences are numbered from 1 through all splits."""
        return str(number + 1)

    def write_annotations(self, records: Iterable[dict[str, Any]]) -> None:
        """Write one file per split, one line per sentence."""
        annotations = 0
        with contextlib.ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    open(self.root / f'{split}.jsonl', 'w', encoding='utf-8', newline='\n')
                )
                for split in SPLITS
            }
            for record in records:
                # an id for each object, then for each set of several or none
                ids: dict[tuple[int, ...], int] = {
                    (target,): target for target in range(len(record['objects']))
                }
                for sentence in record['sentences']:
                    ann_id = annotations + 1 + ids.setdefault(targets_of(sentence), len(ids))
                    line = self._line(record, sentence, ann_id)
                    files[record['split']].write(json.dumps(line, ensure_ascii=False) + '\n')
                annotations += len(ids)

    def _line(
        self, record: dict[str, Any], sentence: dict[str, Any], ann_id: int
    ) -> dict[str, Any]:
        thing, number = named_by(record, sentence), self._image_id(record)
        file = self._file(record)
        line = {
            'split': record['split'],
            'image_id': file,
            'sent': sentence['text'],
            'file_name': file,
            'segmentation': thing['rle'],
            'sent_id': int(sentence['keys'][self.name]),
        }
        if thing['category'] is not None:
            line |= {
                'image_id': number,
                'segmentation': [thing['rle']],
                'ann_id': ann_id,
                'category_id': self.categories[thing['category']],
                'category_name': thing['category'],
                'bbox': _xyxy(thing),
                'area': 255 * thing['area'],
            }
        return line


LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout for layout in (RRSISD, RefSegRS, RISBench, JSONLines)
}
