"""REFER's files, as RRSIS-D has them: `refs(unc).p` with sentences, `instances.json` with masks."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator

from rsrefseg2.errors import UserError

from .checks import Faults, field, split_of
from .masks import as_rle
from .plain_pickle import load_plain_pickle

ID = (int, str)


def load_refs(path: str) -> list:
    refs = load_plain_pickle(path)
    if not isinstance(refs, list):
        raise UserError(f'{path!r}: expected a list of refs, got {type(refs).__name__}')
    return refs


def refer_triplets(refs_path: str, instances: Instances, images: str, *, split: str,
                   faults: Faults) -> Iterator[dict]:
    """The triplets of `split`: a ref points to an image and an annotation by their ids, and each
    of its sentences is one; `sample_id` is `sent_id`.

    Args:
        images: The folder of the images.
    """
    for number, ref in enumerate(load_refs(refs_path)):
        where = f'{refs_path!r}, record {number}'
        with faults:
            if split_of(ref, where) == split:
                yield from _triplets_of_ref(ref, instances, images, where)


def _triplets_of_ref(ref: dict, instances: Instances, folder: str, where: str) -> Iterator[dict]:
    where = f'{where} (ref_id {ref.get("ref_id")})'
    image, annotation = instances.of_ref(ref, where)
    rle_where = f'{instances.path!r}, annotation {ref["ann_id"]}'
    rle = as_rle(field(annotation, 'segmentation', rle_where), rle_where)
    category = instances.category(ref, annotation, where)
    sentences = field(ref, 'sentences', where, list)
    if not sentences:
        raise UserError(f'{where}: the ref has no sentence: write one or remove the record')
    for sentence in sentences:
        text = field(sentence, 'sent', where)  # 'raw' may be None
        yield dict(sample_id=str(field(sentence, 'sent_id', where, ID)),
                   text=text.strip() if isinstance(text, str) else text, category=category,
                   img_path=os.path.join(folder, field(image, 'file_name', instances.path, str)),
                   mask_rle=rle, mask_where=rle_where, where=where)


class Instances:
    """instances.json by id: the order of its lists says nothing.

    In RRSIS-D's release an annotation's category key is `categories_id`, `bbox` is xyxy and `area`
    no pixel count: the last two are not used.

    Attributes:
        images, annotations: id -> record.
        categories: id -> name, in the order of the ids.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, encoding='utf-8-sig') as file:
                content = json.load(file)
        except (ValueError, RecursionError) as error:  # broken JSON, or not UTF-8
            raise UserError(f'{path!r}: not complete JSON ({error}): '
                            'fetch the file again') from error
        self.images = self._by_id(content, 'images')
        self.annotations = self._by_id(content, 'annotations')
        categories = self._by_id(content, 'categories')
        self.categories = {key: field(categories[key], 'name', f'{path!r}, category {key}', str)
                           for key in sorted(categories, key=lambda key: (isinstance(key, str),
                                                                          key))}

    def _by_id(self, content: dict, key: str) -> dict[int | str, dict]:
        table: dict[int | str, dict] = {}
        for number, record in enumerate(field(content, key, repr(self.path), list)):
            where = f'{self.path!r}, {key}, record {number}'
            if table.setdefault(field(record, 'id', where, ID), record) is not record:
                raise UserError(f'{where}: id {record["id"]} occurs twice')
        return table

    def of_ref(self, ref: dict, where: str) -> tuple[dict, dict]:
        """The image and the annotation that a ref names."""
        image_id, ann_id = field(ref, 'image_id', where, ID), field(ref, 'ann_id', where, ID)
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

    def category(self, ref: dict, annotation: dict, where: str) -> str | None:
        """The category's name; None where neither the ref nor its annotation has one."""
        found = {record[key] for record, key in (
            (ref, 'category_id'), (annotation, 'categories_id'), (annotation, 'category_id'))
            if isinstance(record.get(key), ID)}
        if not found:
            return None
        if len(found) > 1:
            number = ref.get('category_id')
            other, *_ = found - {number}
            raise UserError(f'{where}: the ref has category {number}, its annotation {other}: '
                            'correct one of the two')
        number, = found
        if number not in self.categories:
            raise UserError(f'{where}: category {number} is not among the {len(self.categories)} '
                            f'categories of {self.path!r}: correct the record')
        return self.categories[number]
