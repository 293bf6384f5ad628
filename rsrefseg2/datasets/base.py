"""One item = one triplet (image, sentence, mask). The readers of the benchmarks add their facts."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from ..bounds import NonNegativeInt, PositiveInt
from ..errors import UserError, suggest
from ..registry import SCOPE, TRANSFORMS
from .categories import CategoryFinder
from .checks import SPLITS, Faults, check_split, require_present
from .content import first_of_equal
from .images import ImageCache
from .picture_objects import ImageObjects, objects_by_image
from .seeded_index import own_randomness


class RefSegDataset(BaseDataset):
    """Triplets of one split of one benchmark.

    A subclass states facts and writes `load_triplets`; all checks of what it yields are here, so
    every benchmark fails in the same words. An item passes through `pipeline` and ends as
    `{'inputs': (3, H, W) uint8 RGB, 'data_samples': RefSegDataSample}`.

    Two differences to mmengine's dataset: no sample is ever skipped or replaced by another, and
    `__getitems__` (called by torch's loader with a batch of indices) decodes an image that
    occurs more than once in the batch only once (see `image_key`).

    Args:
        data_root: Folder of the benchmark; data/README.md shows the tree.
        split: 'train', 'val' or 'test'.
        pipeline: Transforms, as dicts or callables. Empty: items are the raw records.
        exchange_sentences: Give every sample a sentence of another image (see `exchange_texts`);
            image, mask, category and id stay. The score on it shows what a model draws from the
            image alone.
        exchange_seed: Seed of that exchange.
        equal_images: Which images are one (see `image_key`): those of equal 'path', or of equal
            'content'. None: what the benchmark needs.
        no_target: Whether sentences may name no object, so that an empty mask is no fault. None: as
            the benchmark says.
        other_objects: Give each item the masks of all objects of its picture, of which `LoadMask`
            makes `other_mask`: those of the scene file beside the data, else those that the
            benchmark's own files list, else the targets of the picture's other sentences.
        indices: The first n samples (int), or these samples (sequence).
        serialize_data: Keep the records as one block of bytes that worker processes share.
        lazy_init: Read nothing before the first access.
    """

    METAINFO: ClassVar[dict] = dict(classes=None)
    OTHER_NAMES: ClassVar[str] = ''  # what else helps where a category's name is not known
    # Facts of a benchmark; a reader of several sets them in its constructor.
    TITLE: str = 'the data set'
    SPLITS: Sequence[str] = SPLITS
    PUBLISHED: Mapping[str, int] = {}  # triplets per split, as the publication says
    SYNONYMS: Mapping[str, str] = {}  # what sentences call the classes beside their names
    EQUAL_IMAGES: Literal['path', 'content'] = 'path'
    NO_TARGET: bool = False  # has sentences that name no object: their masks are empty
    LAYOUT: str | None = None  # whose sample ids these are in scene files, where it is written to

    def __init__(
        self,
        *,
        data_root: str,
        split: str,
        pipeline: Sequence[dict | Callable] = (),
        exchange_sentences: bool = False,
        exchange_seed: NonNegativeInt = 0,
        equal_images: Literal['path', 'content'] | None = None,
        no_target: bool | None = None,
        other_objects: bool = False,
        indices: PositiveInt | Sequence[NonNegativeInt] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
    ) -> None:
        check_split(split, self.SPLITS)
        if equal_images not in (None, 'path', 'content'):
            raise UserError(f"equal_images is 'path', 'content' or None, not {equal_images!r}")
        self.split = split
        self.no_target = self.NO_TARGET if no_target is None else no_target
        self.faults = Faults()
        self.equal_images = equal_images or self.EQUAL_IMAGES
        self._first_of: dict[str, str] | None = None  # path -> the first path of the same content
        self._exchange_seed = exchange_seed if exchange_sentences else None
        self._other_objects = other_objects
        self._objects: dict[str, bytes] = {}  # image key -> the masks of its objects, pickled
        # mmengine's Compose would ask the registry of the default scope, which knows our names only
        # while a runner of ours has set it.
        built = [
            TRANSFORMS.build({'_scope_': SCOPE, **t}) if isinstance(t, dict) else t
            for t in pipeline
        ]
        super().__init__(
            data_root=data_root,
            pipeline=built,
            indices=indices,
            serialize_data=serialize_data,
            lazy_init=lazy_init,
        )

    # ------------------------------------------------------------------ reading

    def load_triplets(self) -> Iterator[dict]:
        """Yield `sample_id, img_path, text, category, mask_path | mask_rle, mask_location`, `location`.

        `location` names file and record for messages and is dropped afterwards. `any_value=True`:
        all values of the mask file but 0 are the target.
        """
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """The checked records, of which every file is there; sentences exchanged where asked for.

        Raises:
            UserError: there is none, or an image or a mask is missing.
        """
        records = self.read_records()
        if not records:
            raise UserError(
                f'{self.TITLE}: no triplet of split {self.split!r} in {self.data_root!r}'
            )
        require_present([r['img_path'] for r in records], what='images')
        require_present([r['mask_path'] for r in records if 'mask_path' in r], what='masks')
        self._report_unknown(records)
        if self._other_objects:
            self._first_of = self._find_equal(records)
            self._objects = objects_by_image(
                records,
                self._key,
                listed=self.listed_objects(),
                scenes=(self.data_root, self.split, self.LAYOUT),
                title=f'{self.TITLE} {self.split}',
            )
        if self._exchange_seed is not None:
            first_of = self._find_equal(records)
            exchange_texts(
                records,
                seed=self._exchange_seed,
                keys=[first_of.get(r['img_path'], r['img_path']) for r in records],
            )
        return records

    def read_records(self) -> list[dict]:
        """The checked records of `load_triplets`, whether their files are there or not."""
        records: list[dict] = []
        seen: dict[str, str] = {}
        find_category: CategoryFinder | None = None
        for record in self.load_triplets():
            with self.faults:
                location = record.pop('location')
                self._check_record(record, location)
                classes = self._metainfo['classes']  # known only now where the files list them
                if record['category'] is None and classes:
                    find_category = find_category or CategoryFinder(classes, self.SYNONYMS)
                    record['category'] = find_category(record['text'])
                sample_id = record['sample_id']
                if sample_id in seen:
                    raise UserError(
                        f'{location}: sample id {sample_id!r} occurs twice, first in '
                        f'{seen[sample_id]}: remove one of the two'
                    )
                seen[sample_id] = location
                records.append(record)
        return records

    def _check_record(self, record: dict, location: str) -> None:
        try:
            record['text'].encode('utf-8')
        except UnicodeEncodeError:
            raise UserError(
                f'{location}: the sentence holds half a surrogate pair, which is no '
                'character: write the record again'
            ) from None
        if not record['text'].strip():
            raise UserError(f'{location}: the sentence is empty: write one or remove the record')
        classes, category = self._metainfo['classes'], record['category']
        if category is not None and classes is not None and category not in classes:
            raise UserError(
                f'{location}: category {category!r} is not among the {len(classes)} '
                f'classes of {self.TITLE}{suggest(category, classes)}: '
                f'correct the name{self.OTHER_NAMES}'
            )

    def _report_unknown(self, records: list[dict]) -> None:
        unknown = sum(record['category'] is None for record in records)
        if unknown and self._metainfo['classes']:
            print_log(
                f'{self.TITLE} {self.split}: {unknown} of {len(records)} samples '
                f'({100 * unknown / len(records):.1f} %) are of unknown category: their '
                'sentences name none',
                logger='current',
                level=logging.INFO,
            )

    def listed_objects(self) -> Iterator[ImageObjects] | None:
        """All objects of each image, of all splits, as the benchmark's files list them; None: they
        list the sentences' targets alone."""
        return None

    def objects(self) -> Iterator[ImageObjects]:
        """All objects of each image of the split, as `other_objects=True` has read them."""
        for path in dict.fromkeys(self.get_data_info(i)['img_path'] for i in range(len(self))):
            yield path, pickle.loads(self._objects[self._key({'img_path': path})])

    # ------------------------------------------------------------------ items

    def image_key(self, idx: int) -> str:
        """Two samples with the same key show the same image.

        The path; with equal_images='content' the first path with the same bytes. For that the
        first call reads the files (`first_of_equal`): the samplers that group by image call it,
        in the main process; a data set that nobody groups never pays for it.
        """
        if self._first_of is None:
            self._first_of = self._find_equal(self.get_data_info(i) for i in range(len(self)))
        return self._key(self.get_data_info(idx))

    def _key(self, record: dict) -> str:
        path = record['img_path']
        return path if self._first_of is None else self._first_of.get(path, path)

    def _find_equal(self, records: Iterable[dict]) -> dict[str, str]:
        if self.equal_images == 'path':
            return {}
        return first_of_equal(
            [record['img_path'] for record in records], title=f'{self.TITLE} {self.split}'
        )

    def __getitem__(self, idx: int) -> Any:
        return self.__getitems__([idx])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The items of one batch; an image that several of them show is decoded once."""
        images = ImageCache(getattr(indices[0], 'seed', None) if len(indices) else None)
        return [self._item(idx, images) for idx in indices]

    def _item(self, idx: int, images: ImageCache) -> Any:
        record = self.get_data_info(int(idx))
        if not self.pipeline.transforms:
            return record
        facts = {'image_cache': images, 'image_key': self._key(record), 'no_target': self.no_target}
        if self._other_objects:
            facts['objects'] = pickle.loads(self._objects[self._key(record)])
        with own_randomness(idx):
            item = self.pipeline({**record, **facts})
        if item is None:
            raise RuntimeError(
                f'a transform returned None for sample {record["sample_id"]!r}; '
                'samples are never skipped or replaced here'
            )
        return item


def exchange_texts(records: list[dict], *, seed: int, keys: Sequence[str]) -> None:
    """Give each record, in place, a sentence of another image; equal `keys` are one image.

    The images are put into a random order; each takes the sentences of its successor, in turn
    (again from the first one where the successor has fewer). A function of records and seed.
    """
    by_image: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        by_image.setdefault(key, []).append(index)
    if len(by_image) < 2:
        raise UserError(
            f'exchange_sentences needs samples of at least 2 images, found {len(by_image)}'
        )
    groups = list(by_image.values())
    order = np.random.default_rng(seed).permutation(len(groups))
    texts = [record['text'] for record in records]
    for here, successor in zip(order, np.roll(order, -1), strict=True):
        source = groups[successor]
        for position, index in enumerate(groups[here]):
            records[index]['text'] = texts[source[position % len(source)]]
