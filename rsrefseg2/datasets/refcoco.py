"""RefCOCO, RefCOCO+ and RefCOCOg, read by mmdet's RefCocoDataset."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec

from ..compat import use_mmdet_datasets
from ..errors import UserError, suggest
from ..files import as_utf8, confined, read_bytes
from ..records import convert, parse_json
from ..registry import DATASETS
from ..rle import from_polygons
from .base import RefSegDataset
from .checks import check_split, find_root, require_file, require_folder
from .masks import as_rle
from .refer_files import Category, Id, by_id, load_refs

# (data set, who divided it) -> sentences per split
PUBLISHED = {
    ('refcoco', 'unc'): dict(train=120624, val=10834, testA=5657, testB=5095),
    ('refcoco+', 'unc'): dict(train=120191, val=10758, testA=5726, testB=4889),
    ('refcocog', 'umd'): dict(train=80512, val=4896, test=9602),
    ('refcocog', 'google'): dict(train=85474, val=9536),
}
DIVIDED_BY = {'refcoco': 'unc', 'refcoco+': 'unc', 'refcocog': 'umd'}


Side = Annotated[int, msgspec.Meta(ge=1)]


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    height: Side
    width: Side


class _Annotation(msgspec.Struct, gc=False):
    id: Id
    image_id: int
    segmentation: Any
    category_id: Id | None = None


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[Category] = []


class _Sentence(msgspec.Struct):
    sent_id: Id
    raw: str


class _Ref(msgspec.Struct):
    ref_id: Id
    image_id: int
    ann_id: Id
    split: str
    sentences: list[_Sentence]


@DATASETS.register_module()
class RefCOCO(RefSegDataset):
    """`<name>/refs(<split_by>).p`, `<name>/instances.json`, `train2014/*.jpg`, as mmdet has them.

    Every sentence is a triplet, lower-cased by mmdet; `sample_id` is `sent_id`, the category is
    the annotation's. mmdet arranges the records; both files are read here, as mmdet would unpickle
    with Python's own unpickler, which runs code, and check nothing.

    Args:
        name: 'refcoco', 'refcoco+' or 'refcocog'.
        split_by: 'unc' for the first two; 'umd' or 'google' for the third. None: 'unc', 'umd'.
    """

    SPLITS: Sequence[str] = ('train', 'val', 'test', 'testA', 'testB')

    def __init__(
        self,
        *,
        name: Literal['refcoco', 'refcoco+', 'refcocog'] = 'refcoco',
        split_by: Literal['unc', 'umd', 'google'] | None = None,
        **kwargs: Any,
    ) -> None:
        if name not in DIVIDED_BY:
            raise UserError(
                f'name {name!r} is not one of {", ".join(DIVIDED_BY)}{suggest(name, DIVIDED_BY)}'
            )
        self._name, self._split_by = name, split_by or DIVIDED_BY[name]
        if (name, self._split_by) not in PUBLISHED:
            raise UserError(
                f'{name} is not divided by {split_by!r}, but by '
                f'{" or ".join(by for of, by in PUBLISHED if of == name)}'
            )
        self.TITLE, self.PUBLISHED = f'{name} ({self._split_by})', PUBLISHED[name, self._split_by]
        self.SPLITS = tuple(self.PUBLISHED)
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        check_split(self.split, self.SPLITS)
        find_root(self.data_root, title=self.TITLE, wrappers=(), entries=())
        refs_path, path = (
            require_file([os.path.join(self.data_root, self._name, file)], title=self.TITLE)
            for file in (f'refs({self._split_by}).p', 'instances.json')
        )
        folder = require_folder([os.path.join(self.data_root, 'train2014')], title=self.TITLE)
        refs = load_refs(refs_path)
        sentences = _sentences(refs, self.split, refs_path)
        content = parse_json(as_utf8(read_bytes(path), repr(path)), location=repr(path))
        instances = convert(content, _Instances, location=repr(path))
        images = by_id(instances.images, f'{path!r}, images')
        annotations = by_id(instances.annotations, f'{path!r}, annotations')
        categories = by_id(instances.categories, f'{path!r}, categories')
        names: dict[Any, str] = {number: entry.name for number, entry in categories.items()}
        data = self._arranged_by_mmdet(refs, content, refs_path, path)
        for index in range(len(data)):
            info = data.get_data_info(index)
            image = images[info['img_id']]
            confined(folder, image.file_name, location=f'{path!r}, image {image.id}')
            expected = sentences.pop(image.id)
            if [text.lower() for _, text, _ in expected] != info['text']:
                raise UserError(
                    f'{refs_path!r}: mmdet does not give the {len(expected)} sentences '
                    f'of image {info["img_id"]}: two refs of one annotation?'
                )
            for (sent_id, _, ann_id), text, instance in zip(
                expected, info['text'], info['instances'], strict=True
            ):
                location = f'{path!r}, annotation {ann_id}'
                with self.faults:
                    yield dict(
                        sample_id=str(sent_id),
                        text=text.strip(),
                        mask_location=location,
                        location=f'{refs_path!r}, sent_id {sent_id}',
                        category=names.get(annotations[ann_id].category_id),
                        img_path=info['img_path'],
                        mask_rle=_rle(instance['mask'], (image.height, image.width), location),
                    )
        if sentences:
            raise UserError(f'{refs_path!r}: mmdet does not give image {next(iter(sentences))}')

    def _arranged_by_mmdet(self, refs: list, instances: dict, refs_path: str, path: str) -> Any:
        use_mmdet_datasets()
        from mmdet.datasets import RefCocoDataset

        class OfRecords(RefCocoDataset):
            """mmdet's, of records that are read already."""

            def _join_prefix(self) -> None:
                super()._join_prefix()
                self.split_file, self.ann_file = io.BytesIO(pickle.dumps([])), io.StringIO('{}')

            def _init_refs(self) -> None:
                self.splits, self.instances = refs, instances
                super()._init_refs()

        try:
            return OfRecords(
                data_root=self.data_root,
                ann_file='',
                split_file='',
                split=self.split,
                data_prefix=dict(img_path='train2014'),
                text_mode='original',
                serialize_data=False,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f'{self.TITLE}: mmdet cannot read {refs_path!r} with {path!r} '
                f'({type(error).__name__}: {error}): fetch both files again'
            ) from error


def _sentences(refs: list, split: str, path: str) -> dict[int, list[tuple]]:
    """image_id -> (sent_id, sentence, ann_id) of each sentence, in the order of the file."""
    found: dict[int, list[tuple]] = {}
    for number, record in enumerate(refs):
        ref = convert(record, _Ref, location=f'{path!r}, record {number}')
        if ref.split == split:
            found.setdefault(ref.image_id, []).extend(
                (sentence.sent_id, sentence.raw, ref.ann_id) for sentence in ref.sentences
            )
    return found


def _rle(segmentation: Any, size: tuple[int, int], location: str) -> dict:
    """COCO has polygons, and run lengths for crowds."""
    if isinstance(segmentation, list):
        return from_polygons(segmentation, size, location=location)
    return as_rle(segmentation, location)
