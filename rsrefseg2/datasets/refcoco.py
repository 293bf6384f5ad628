"""RefCOCO, RefCOCO+ and RefCOCOg, read by mmdet's RefCocoDataset."""
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal

from rsrefseg2.compat import use_mmdet_datasets
from rsrefseg2.errors import UserError, suggest
from rsrefseg2.registry import DATASETS
from rsrefseg2.rle import from_polygons

from .base import RefSegDataset
from .checks import check_split, field, find_root, require_file, require_folder
from .masks import as_rle
from .refer_files import ID, load_refs

# (data set, who divided it) -> sentences per split
PUBLISHED = {
    ('refcoco', 'unc'): dict(train=120624, val=10834, testA=5657, testB=5095),
    ('refcoco+', 'unc'): dict(train=120191, val=10758, testA=5726, testB=4889),
    ('refcocog', 'umd'): dict(train=80512, val=4896, test=9602),
    ('refcocog', 'google'): dict(train=85474, val=9536),
}
DIVIDED_BY = {'refcoco': 'unc', 'refcoco+': 'unc', 'refcocog': 'umd'}


@DATASETS.register_module()
class RefCOCO(RefSegDataset):
    """`<name>/refs(<split_by>).p`, `<name>/instances.json`, `train2014/*.jpg`, as mmdet has them.

    Every sentence is a triplet, lower-cased by mmdet; `sample_id` is `sent_id`, the category is
    the annotation's. mmdet unpickles the refs with Python's own unpickler: the file is first read
    by ours, which refuses a file that could run code.

    Args:
        name: 'refcoco', 'refcoco+' or 'refcocog'.
        split_by: 'unc' for the first two; 'umd' or 'google' for the third. None: 'unc', 'umd'.
    """

    SPLITS = ('train', 'val', 'test', 'testA', 'testB')

    def __init__(self, *, name: Literal['refcoco', 'refcoco+', 'refcocog'] = 'refcoco',
                 split_by: Literal['unc', 'umd', 'google'] | None = None, **kwargs: Any) -> None:
        if name not in DIVIDED_BY:
            raise UserError(f'name {name!r} is not one of {", ".join(DIVIDED_BY)}'
                            f'{suggest(name, DIVIDED_BY)}')
        self._name, self._split_by = name, split_by or DIVIDED_BY[name]
        if (name, self._split_by) not in PUBLISHED:
            raise UserError(f'{name} is not divided by {split_by!r}, but by '
                            f'{" or ".join(by for of, by in PUBLISHED if of == name)}')
        self.TITLE, self.PUBLISHED = f'{name} ({self._split_by})', PUBLISHED[name, self._split_by]
        self.SPLITS = tuple(self.PUBLISHED)
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        check_split(self.split, self.SPLITS)
        find_root(self.data_root, title=self.TITLE, wrappers=(), entries=())
        refs_path, path = (
            require_file([os.path.join(self.data_root, self._name, file)], title=self.TITLE)
            for file in (f'refs({self._split_by}).p', 'instances.json'))
        require_folder([os.path.join(self.data_root, 'train2014')], title=self.TITLE)
        sentences = _sentences(load_refs(refs_path), self.split, refs_path)
        data = self._read_by_mmdet(refs_path, path)
        sizes = {image['id']: (image['height'], image['width'])
                 for image in data.instances['images']}
        names = {c['id']: c['name'] for c in data.instances.get('categories', ())}
        annotations = {a['id']: a for a in data.instances['annotations']}
        for index in range(len(data)):
            info = data.get_data_info(index)
            expected = sentences.pop(info['img_id'])
            if [text.lower() for _, text, _ in expected] != info['text']:
                raise UserError(f'{refs_path!r}: mmdet does not give the {len(expected)} sentences '
                                f'of image {info["img_id"]}: two refs of one annotation?')
            for (sent_id, _, ann_id), text, instance in zip(
                    expected, info['text'], info['instances'], strict=True):
                where = f'{path!r}, annotation {ann_id}'
                with self.faults:
                    yield dict(sample_id=str(sent_id), text=text.strip(), mask_where=where,
                               where=f'{refs_path!r}, sent_id {sent_id}',
                               category=names.get(annotations[ann_id].get('category_id')),
                               img_path=info['img_path'],
                               mask_rle=_rle(instance['mask'], sizes[info['img_id']], where))
        if sentences:
            raise UserError(f'{refs_path!r}: mmdet does not give image {next(iter(sentences))}')

    def _read_by_mmdet(self, refs_path: str, path: str) -> Any:
        use_mmdet_datasets()
        from mmdet.datasets import RefCocoDataset
        try:
            return RefCocoDataset(data_root=self.data_root, ann_file=os.path.abspath(path),
                                  split_file=os.path.abspath(refs_path), split=self.split,
                                  data_prefix=dict(img_path='train2014'), text_mode='original',
                                  serialize_data=False)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f'{self.TITLE}: mmdet cannot read {refs_path!r} with {path!r} '
                            f'({type(error).__name__}: {error}): fetch both files again'
                            ) from error


def _sentences(refs: list, split: str, path: str) -> dict[int, list[tuple]]:
    """image_id -> (sent_id, sentence, ann_id) of each sentence, in the order of the file."""
    found: dict[int, list[tuple]] = {}
    for number, ref in enumerate(refs):
        where = f'{path!r}, record {number}'
        if field(ref, 'split', where) == split:
            found.setdefault(field(ref, 'image_id', where, int), []).extend(
                (field(sentence, 'sent_id', where, ID), field(sentence, 'raw', where, str),
                 field(ref, 'ann_id', where, ID))
                for sentence in field(ref, 'sentences', where, list))
    return found


def _rle(segmentation: Any, size: tuple[int, int], where: str) -> dict:
    """COCO has polygons, and run lengths for crowds."""
    if isinstance(segmentation, list):
        return from_polygons(segmentation, size, where=where)
    return as_rle(segmentation, where)
