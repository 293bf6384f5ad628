"""REFER's files, as RRSIS-D has them: `refs(unc).p` with sentences, `instances.json` with masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from ..errors import UserError
from ..files import confined, read_bytes
from ..records import convert, decode_json
from .checks import Faults, split_of
from .masks import as_rle, union_of
from .picture_objects import ImageObjects
from .plain_pickle import load_plain_pickle

Id = int | str
T = TypeVar('T')


class HasId(Protocol):
    """A record with an id."""

    @property
    def id(self) -> Id:
        """Unique in its list."""


R = TypeVar('R', bound=HasId)


class Sentence(msgspec.Struct):
    """Of a ref. RRSIS-D's also have `raw`, which may be null."""

    sent_id: Id
    sent: str


class Ref(msgspec.Struct):
    """An entry of `refs(unc).p`; what else it holds is not used."""

    image_id: Id
    ann_id: Id
    sentences: list[Sentence]
    ref_id: Any = None
    category_id: Id | None = None


class ImageRecord(msgspec.Struct, gc=False):
    """Of instances.json. The sizes are used for polygons alone."""

    id: Id
    file_name: str
    height: Any = None
    width: Any = None


class Annotation(msgspec.Struct, gc=False):
    """Of instances.json. RRSIS-D's category key is `categories_id`; its `bbox` is xyxy and its
    `area` no pixel count: the two are not used."""

    id: Id
    image_id: Id
    segmentation: Any = None
    categories_id: Id | None = None
    category_id: Id | None = None


class Category(msgspec.Struct, gc=False):
    """Of instances.json."""

    id: Id
    name: Annotated[str, msgspec.Meta(pattern=r'\S')]  # of a blank every sentence would be


class _File(msgspec.Struct):
    images: list[ImageRecord]
    annotations: list[Annotation]
    categories: list[Category]


def load_refs(path: str) -> list:
    """The refs, not yet checked.

    Raises:
        UserError: see `load_plain_pickle`; it is no list.
    """
    refs = load_plain_pickle(path)
    if not isinstance(refs, list):
        raise UserError(f'{path!r}: expected a list of refs, got {type(refs).__name__}')
    return refs


def refer_triplets(
    refs_path: str, instances: Instances, images: str, *, split: str, faults: Faults
) -> Iterator[dict]:
    """The triplets of `split`: a ref points to an image and an annotation by their ids, and each
    of its sentences is one; `sample_id` is `sent_id`.

    Args:
        images: The folder of the images.
    """
    for number, record in enumerate(load_refs(refs_path)):
        location = f'{refs_path!r}, record {number}'
        with faults:
            if split_of(record, location) == split:
                location = f'{location} (ref_id {record.get("ref_id")})'
                yield from _triplets_of_ref(
                    convert(record, Ref, location=location), instances, images, location
                )


def _triplets_of_ref(ref: Ref, instances: Instances, folder: str, location: str) -> Iterator[dict]:
    image, annotation = instances.of_ref(ref, location)
    rle_location = f'{instances.path!r}, annotation {ref.ann_id}'
    rle = instances.rle(annotation, rle_location)
    category = instances.category(ref, annotation, location)
    path = confined(folder, image.file_name, location=f'{instances.path!r}, image {image.id}')
    if not ref.sentences:
        raise UserError(f'{location}: the ref has no sentence: write one or remove the record')
    for sentence in ref.sentences:
        yield dict(
            sample_id=str(sentence.sent_id),
            text=sentence.sent.strip(),
            category=category,
            img_path=path,
            mask_rle=rle,
            mask_location=rle_location,
            location=location,
        )


def by_id(records: list[R], location: str) -> dict[Id, R]:
    """id -> record.

    Raises:
        UserError: an id occurs twice: one of the two would be lost.
    """
    table: dict[Id, R] = {}
    for number, record in enumerate(records):
        if table.setdefault(record.id, record) is not record:
            raise UserError(f'{location}, record {number}: id {record.id} occurs twice')
    return table


class Instances:
    """instances.json by id: the order of its lists says nothing.

    Args:
        any_mask: A mask may also be polygons, or several run-length masks.
        unknown: What is not known of the layout, for messages about a target that is missing.

    Attributes:
        images, annotations: id -> record.
        categories: id -> name, in the order of the ids.

    Raises:
        UserError: it is no JSON, not of this form, or an id occurs twice.
    """

    def __init__(self, path: str, *, any_mask: bool = False, unknown: str = '') -> None:
        self.path = path
        self._any_mask = any_mask
        self._unknown = f' ({unknown})' if unknown else ''
        content = decode_json(read_bytes(path), _File, location=repr(path))
        self.images = by_id(content.images, f'{path!r}, images')
        self.annotations = by_id(content.annotations, f'{path!r}, annotations')
        categories = by_id(content.categories, f'{path!r}, categories')
        self.categories = {
            key: categories[key].name
            for key in sorted(categories, key=lambda key: (isinstance(key, str), key))
        }

    def objects_by_image(self, folder: str) -> Iterator[ImageObjects]:
        """Each annotation's image, in `folder`, and its mask."""
        for annotation in self.annotations.values():
            location = f'{self.path!r}, annotation {annotation.id}'
            image = self.images.get(annotation.image_id)
            if image is None:
                raise UserError(f'{location}: its image {annotation.image_id} is not in the file')
            path = confined(folder, image.file_name, location=f'{self.path!r}, image {image.id}')
            rle = self.rle(annotation, location)
            yield path, [dict(mask_rle=rle, mask_location=location)]

    def rle(self, annotation: Annotation, location: str) -> dict[str, Any]:
        """Its mask; see `as_rle`, and `union_of` where any mask is taken."""
        segmentation = annotation.segmentation
        if not self._any_mask:
            return as_rle(segmentation, location)
        if segmentation is None or segmentation == []:
            raise UserError(
                f'{location}: the annotation has no mask: correct the record{self._unknown}'
            )
        image = self.images.get(annotation.image_id)
        size = (None, None) if image is None else (image.height, image.width)
        return union_of(segmentation, size, location)

    def of_ref(self, ref: Ref, location: str) -> tuple[ImageRecord, Annotation]:
        """The image and the annotation that a ref names."""
        for table, name, key in (
            (self.images, 'image', ref.image_id),
            (self.annotations, 'annotation', ref.ann_id),
        ):
            if key not in table:
                raise UserError(
                    f'{location}: {name} {key} is not in {self.path!r}: '
                    f'fetch both files again, they do not belong together{self._unknown}'
                )
        annotation = self.annotations[ref.ann_id]
        if annotation.image_id != ref.image_id:
            raise UserError(
                f'{location}: the ref is of image {ref.image_id}, its annotation '
                f'{ref.ann_id} of image {annotation.image_id}: correct the record'
            )
        return self.images[ref.image_id], annotation

    def category(self, ref: Ref, annotation: Annotation, location: str) -> str | None:
        """The category's name; None where neither the ref nor its annotation has one."""
        found = {ref.category_id, annotation.categories_id, annotation.category_id} - {None}
        if not found:
            return None
        if len(found) > 1:
            other, *_ = found - {ref.category_id}
            raise UserError(
                f'{location}: the ref has category {ref.category_id}, its annotation '
                f'{other}: correct one of the two'
            )
        (number,) = found
        if number not in self.categories:
            raise UserError(
                f'{location}: category {number} is not among the {len(self.categories)} '
                f'categories of {self.path!r}: correct the record'
            )
        return self.categories[number]
