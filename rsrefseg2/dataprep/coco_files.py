"""COCO instance files: the records that they must hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ..errors import UserError
from ..files import read_bytes
from ..records import convert, decode_json

Id = int | float | str  # COCO's are whole numbers; tools also write 7.0 and names
Size = Annotated[float, msgspec.Meta(gt=0, lt=2**31)]  # tools also write 743.0


class ImageRecord(msgspec.Struct):
    """A picture."""

    id: Id
    file_name: str
    height: Size
    width: Size


class Annotation(msgspec.Struct):
    """An instance. `segmentation` is checked where it is read (rle.py); bbox: [x, y, w, h]."""

    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: tuple[float, float, float, float] | None = None
    segmentation: dict[str, Any] | list[Any] | None = None
    iscrowd: Literal[0, 1] | bool | None = 0


class Category(msgspec.Struct):
    """A name and its number."""

    id: Id
    name: str


class _File(msgspec.Struct):
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


class Instances(NamedTuple):
    """What an instance file holds; categories: id -> name, in the order of the ids."""

    images: list[ImageRecord]
    annotations: list[Annotation]
    categories: dict[Id, str]


def load_instances(path: str) -> Instances:
    """Read a COCO instance file.

    Raises:
        UserError: it is no such file; the record and field that is wrong.
    """
    content = decode_json(
        read_bytes(path, what='the COCO instance file'), _File, location=repr(path)
    )
    images = [
        convert(record, ImageRecord, location=f'{path!r}, image {number}')
        for number, record in enumerate(content.images)
    ]
    annotations = [
        convert(
            record,
            Annotation,
            location=f'{path!r}, annotation {record.get("id", f"number {number}")!s:.80}',
        )
        for number, record in enumerate(content.annotations)
    ]
    categories: dict[Id, str] = {}
    for number, record in enumerate(content.categories):
        category = convert(record, Category, location=f'{path!r}, category {number}')
        if categories.setdefault(category.id, category.name) != category.name:
            raise UserError(
                f'{path!r}: {categories[category.id]!r} and {category.name!r} are both '
                f'category {category.id}: give each an id of its own'
            )
    in_order = sorted(categories, key=lambda key: (isinstance(key, str), key))
    return Instances(images, annotations, {key: categories[key] for key in in_order})
