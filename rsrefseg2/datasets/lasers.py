"""LaSeRS (Xin et al., SegEarth-R2): objects and their parts, one or several, named or described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from ..errors import UserError, os_errors_explained
from ..files import confined
from ..records import convert, read_json
from ..registry import DATASETS
from ..rle import union
from .base import RefSegDataset
from .checks import find_root, require_file, require_folder
from .refer_files import Id

TARGET = '[SEG]'  # stands in the answer once for each target


class _Record(msgspec.Struct):
    id: Id
    image_name: str
    description: str
    answer: str
    mask: list[Any] | None = None  # an RLE for each target


@DATASETS.register_module()
class LaSeRS(RefSegDataset):
    """`<split>/images/`, `<split>/annotations/*.json`: a list of `{id, image_name, description,
    answer, mask}`.

    The description is the sentence, the union of the masks its target, `sample_id` the id. There is
    no val split. The test files of the competition have no masks, which is an error here; how a
    sentence without target is stored is not known.

    Args:
        ann_file: The file in `<split>/annotations`. None: the only `*.json` there.
    """

    TITLE = 'LaSeRS'
    SPLITS = ('train', 'test')

    def __init__(self, *, ann_file: str | None = None, **kwargs: Any) -> None:
        self._ann_file = ann_file
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        root = find_root(
            self.data_root, title=self.TITLE, wrappers=('LaSeRS',), entries=self.SPLITS
        )
        images, annotations = (
            require_folder([os.path.join(root, self.split, name)], title=self.TITLE)
            for name in ('images', 'annotations')
        )
        path = self._find_file(annotations)
        for number, entry in enumerate(read_json(path, list)):
            location = f'{path}, record {number}'
            with self.faults:
                record = convert(entry, _Record, location=location)
                location = f'{location} (id {record.id})'
                yield dict(
                    sample_id=str(record.id),
                    text=record.description.strip(),
                    category=None,
                    location=location,
                    img_path=confined(images, record.image_name, location=location),
                    mask_rle=_mask(record, location),
                    mask_location=location,
                )

    def _find_file(self, folder: str) -> str:
        if self._ann_file is not None:
            return require_file([os.path.join(folder, self._ann_file)], title=self.TITLE)
        with os_errors_explained(folder):
            names = sorted(name for name in os.listdir(folder) if name.endswith('.json'))
        if len(names) > 1:
            raise UserError(
                f'{self.TITLE}: {" and ".join(map(repr, names))} in {folder!r} may all be meant: '
                'name one as ann_file'
            )
        return require_file([os.path.join(folder, *(names or ['*.json']))], title=self.TITLE)


def _mask(record: _Record, location: str) -> dict[str, Any]:
    if record.mask is None:
        raise UserError(
            f'{location}: the record has no mask: that is a file of the competition, whose test '
            'masks are not public; use one with masks'
        )
    targets = record.answer.count(TARGET)
    if targets != len(record.mask):
        raise UserError(
            f'{location}: the answer has {targets} {TARGET}, the mask is a list of '
            f'{len(record.mask)}: correct the record'
        )
    if not targets:
        raise UserError(
            f'{location}: the record names no target, and how LaSeRS stores that is not known: '
            'remove the record'
        )
    return union(record.mask, location=location)
