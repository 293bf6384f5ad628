"""RRSIS-D (Liu et al., RMSIN): RefCOCO's files, run-length masks, 20 categories."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from rsrefseg2.errors import UserError
from rsrefseg2.registry import DATASETS

from .base import RefSegDataset
from .checks import field, find_root, require_file, require_folder
from .masks import as_rle
from .plain_pickle import load_plain_pickle

CLASSES = (
    'Expressway-Service-area', 'Expressway-toll-station', 'airplane', 'airport', 'baseballfield',
    'basketballcourt', 'bridge', 'chimney', 'dam', 'golffield', 'groundtrackfield', 'harbor',
    'overpass', 'ship', 'stadium', 'storagetank', 'tenniscourt', 'trainstation', 'vehicle',
    'windmill')


@DATASETS.register_module()
class RRSISD(RefSegDataset):
    """`rrsisd/refs(unc).p`, `rrsisd/instances.json`, `images/rrsisd/JPEGImages/*.jpg`.

    A ref points to an image and an annotation by their ids; each of its sentences is a triplet,
    `sample_id` is `sent_id`. In the release the annotation's category key is `categories_id`,
    `bbox` is xyxy and `area` no pixel count: the last two are not used.

    Args:
        classes: The category names that may occur. None: those that instances.json lists.
    """

    TITLE = 'RRSIS-D'
    PUBLISHED = dict(train=12181, val=1740, test=3481)
    METAINFO = dict(classes=CLASSES)

    def __init__(self, *, classes: Sequence[str] | None = CLASSES, **kwargs: Any) -> None:
        self._classes = None if classes is None else tuple(classes)
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        root = find_root(self.data_root, title=self.TITLE, wrappers=('RRSIS-D', 'rrsis-d'),
                         entries=('rrsisd', 'images'))
        refs_path = require_file(os.path.join(root, 'rrsisd', 'refs(unc).p'), title=self.TITLE)
        instances_path = require_file(os.path.join(root, 'rrsisd', 'instances.json'),
                                      title=self.TITLE)
        folder = require_folder([os.path.join(root, 'images', 'rrsisd', 'JPEGImages'),
                                 os.path.join(root, 'images', 'JPEGImages')], title=self.TITLE)
        instances = _Instances(instances_path)
        names = tuple(instances.categories.values())
        self._metainfo['classes'] = names if self._classes is None else self._classes
        refs = load_plain_pickle(refs_path)
        if not isinstance(refs, list):
            raise UserError(f'{refs_path!r}: expected a list of refs, got {type(refs).__name__}')
        for number, ref in enumerate(refs):
            where = f'{refs_path!r}, record {number}'
            if field(ref, 'split', where) == self.split:
                yield from _triplets_of_ref(ref, instances, folder, where)


def _triplets_of_ref(ref: dict, instances: _Instances, folder: str, where: str) -> Iterator[dict]:
    where = f'{where} (ref_id {ref.get("ref_id")})'
    image, annotation = instances.of_ref(ref, where)
    rle_where = f'{instances.path!r}, annotation {ref["ann_id"]}'
    rle = as_rle(field(annotation, 'segmentation', rle_where), rle_where)
    sentences = field(ref, 'sentences', where)
    if not sentences:
        raise UserError(f'{where}: the ref has no sentence: write one or remove the record')
    for sentence in sentences:
        text = field(sentence, 'sent', where)  # 'raw' may be None
        yield dict(sample_id=str(field(sentence, 'sent_id', where)),
                   text=text.strip() if isinstance(text, str) else text,
                   category=instances.category(ref, annotation, where),
                   img_path=os.path.join(folder, field(image, 'file_name', instances.path)),
                   mask_rle=rle, mask_where=rle_where, where=where)


class _Instances:
    """instances.json by id: the order of its lists says nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, encoding='utf-8-sig') as file:
                content = json.load(file)
        except ValueError as error:  # broken JSON, or not UTF-8
            raise UserError(f'{path!r}: not complete JSON ({error}): '
                            'fetch the file again') from error
        self.images = self._by_id(content, 'images')
        self.annotations = self._by_id(content, 'annotations')
        categories = sorted(self._by_id(content, 'categories').items())
        self.categories = {key: field(category, 'name', f'{path!r}, category {key}')
                           for key, category in categories}

    def _by_id(self, content: dict, key: str) -> dict[int, dict]:
        table: dict[int, dict] = {}
        for number, record in enumerate(field(content, key, repr(self.path))):
            where = f'{self.path!r}, {key}, record {number}'
            if table.setdefault(field(record, 'id', where), record) is not record:
                raise UserError(f'{where}: id {record["id"]} occurs twice')
        return table

    def of_ref(self, ref: dict, where: str) -> tuple[dict, dict]:
        """The image and the annotation that a ref names."""
        image_id, ann_id = field(ref, 'image_id', where), field(ref, 'ann_id', where)
        for table, name, key in ((self.images, 'image', image_id),
                                 (self.annotations, 'annotation', ann_id)):
            if key not in table:
                raise UserError(f'{where}: {name} {key} is not in {self.path!r}: '
                                'fetch both files again, they do not belong together')
        annotation = self.annotations[ann_id]
        if field(annotation, 'image_id', f'{self.path!r}, annotation {ann_id}') != image_id:
            raise UserError(f'{where}: the ref is of image {image_id}, its annotation {ann_id} '
                            f'of image {annotation["image_id"]}: correct the record')
        return self.images[image_id], annotation

    def category(self, ref: dict, annotation: dict, where: str) -> str:
        """The category's name. The release writes `categories_id` in annotations; COCO does not."""
        number = field(ref, 'category_id', where)
        other = annotation.get('categories_id', annotation.get('category_id', number))
        if other != number:
            raise UserError(f'{where}: the ref has category {number}, its annotation {other}: '
                            'correct one of the two')
        if number not in self.categories:
            raise UserError(f'{where}: category {number} is not among the {len(self.categories)} '
                            f'categories of {self.path!r}: correct the record')
        return self.categories[number]
