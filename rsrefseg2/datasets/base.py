"""One item = one triplet (image, sentence, mask). The readers of the benchmarks add their facts."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.dataset import BaseDataset

from rsrefseg2.errors import UserError, suggest
from rsrefseg2.registry import SCOPE, TRANSFORMS

from .checks import check_split, require_present
from .images import ImageCache


class RefSegDataset(BaseDataset):
    """Triplets of one split of one benchmark.

    A subclass states facts and writes `load_triplets`; all checks of what it yields are here, so
    every benchmark fails in the same words. An item passes through `pipeline` and ends as
    `{'inputs': (3, H, W) uint8 RGB, 'data_samples': RefSegDataSample}`.

    Two differences to mmengine's dataset: no sample is ever skipped or replaced by another, and
    `__getitems__` (called by torch's loader with a batch of indices) decodes an image that
    occurs more than once in the batch only once. Equal path means equal image.

    Args:
        data_root: Folder of the benchmark; data/README.md shows the tree.
        split: 'train', 'val' or 'test'.
        pipeline: Transforms, as dicts or callables. Empty: items are the raw records.
        exchange_sentences: Give every sample a sentence of another image (see `exchange_texts`);
            image, mask, category and id stay. The score on it shows what a model draws from the
            image alone.
        exchange_seed: Seed of that exchange.
        indices: The first n samples (int), or these samples (sequence).
        serialize_data: Keep the records as one block of bytes that worker processes share.
        lazy_init: Read nothing before the first access.
    """

    METAINFO: ClassVar[dict] = dict(classes=None)
    TITLE: ClassVar[str] = 'the data set'
    PUBLISHED: ClassVar[dict[str, int]] = {}  # triplets per split, as the publication states them

    def __init__(self, *, data_root: str, split: str, pipeline: Sequence[dict | Callable] = (),
                 exchange_sentences: bool = False, exchange_seed: int = 0,
                 indices: int | Sequence[int] | None = None, serialize_data: bool = True,
                 lazy_init: bool = False) -> None:
        check_split(split)
        self.split = split
        self._exchange_seed = exchange_seed if exchange_sentences else None
        # mmengine's Compose would ask the registry of the default scope, which knows our names only
        # while a runner of ours has set it.
        built = [TRANSFORMS.build({'_scope_': SCOPE, **t}) if isinstance(t, dict) else t
                 for t in pipeline]
        super().__init__(data_root=data_root, pipeline=built, indices=indices,
                         serialize_data=serialize_data, lazy_init=lazy_init)

    # ------------------------------------------------------------------ reading

    def load_triplets(self) -> Iterator[dict]:
        """Yield `sample_id, img_path, text, category, mask_path | mask_rle, mask_where`, `where`.

        `where` names file and record for messages and is dropped afterwards.
        """
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        records: list[dict] = []
        seen: dict[str, str] = {}
        for record in self.load_triplets():
            where = record.pop('where')
            self._check_record(record, where)
            sample_id = record['sample_id']
            if sample_id in seen:
                raise UserError(f'{where}: sample id {sample_id!r} occurs twice, first in '
                                f'{seen[sample_id]}: remove one of the two')
            seen[sample_id] = where
            records.append(record)
        if not records:
            raise UserError(f'{self.TITLE}: no triplet of split {self.split!r} in '
                            f'{self.data_root!r}')
        require_present((r['img_path'] for r in records), what='images')
        require_present((r['mask_path'] for r in records if 'mask_path' in r), what='masks')
        if self._exchange_seed is not None:
            exchange_texts(records, seed=self._exchange_seed)
        return records

    def _check_record(self, record: dict, where: str) -> None:
        if not isinstance(record['text'], str):
            raise UserError(f'{where}: the sentence is no text but {record["text"]!r}')
        if not record['text'].strip():
            raise UserError(f'{where}: the sentence is empty: write one or remove the record')
        classes, category = self._metainfo['classes'], record['category']
        if category is not None and classes is not None and category not in classes:
            raise UserError(f'{where}: category {category!r} is not among the {len(classes)} '
                            f'classes of {self.TITLE}{suggest(category, classes)}: '
                            'correct the name')

    # ------------------------------------------------------------------ items

    def image_key(self, idx: int) -> str:
        """Two samples with the same key show the same image."""
        return self.get_data_info(idx)['img_path']

    def __getitem__(self, idx: int) -> Any:
        return self.__getitems__([idx])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The items of one batch; an image that several of them show is decoded once."""
        images = ImageCache()
        return [self._item(int(idx), images) for idx in indices]

    def _item(self, idx: int, images: ImageCache) -> Any:
        record = self.get_data_info(idx)
        if not self.pipeline.transforms:
            return record
        item = self.pipeline({**record, 'image_cache': images})
        if item is None:
            raise RuntimeError(f'a transform returned None for sample {record["sample_id"]!r}; '
                               'samples are never skipped or replaced here')
        return item


def exchange_texts(records: list[dict], *, seed: int) -> None:
    """Give each record, in place, a sentence of another image.

    The images are put into a random order; each takes the sentences of its successor, in turn
    (again from the first one where the successor has fewer). A function of records and seed.
    """
    by_image: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        by_image.setdefault(record['img_path'], []).append(index)
    if len(by_image) < 2:
        raise UserError('exchange_sentences needs samples of at least 2 images, '
                        f'found {len(by_image)}')
    groups = list(by_image.values())
    order = np.random.default_rng(seed).permutation(len(groups))
    texts = [record['text'] for record in records]
    for here, successor in zip(order, np.roll(order, -1), strict=True):
        source = groups[successor]
        for position, index in enumerate(groups[here]):
            records[index]['text'] = texts[source[position % len(source)]]
