"""RIS-LAD (Ye et al., SAARN): pictures of low-flying drones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from ..files import confined
from ..records import convert, read_json
from ..registry import DATASETS
from .checks import is_file, require_file
from .picture_objects import ImageObjects
from .refer import ReferDataset


class _Record(msgspec.Struct):
    image: str
    mask: str
    expression: str


@DATASETS.register_module()
class RISLAD(ReferDataset):
    """`ann/<split>.json`, a list of `{image, mask, expression}`; `images/`, `masks/`.

    Names are relative to their folder, or to the root where they begin with it. `sample_id` is the
    place in the list, from 0. Also read is REFER's form: `ris_lad/refs(unc).p`,
    `ris_lad/instances.json` and `images/ris_lad/`.
    """

    TITLE = 'RIS-LAD'
    LAYOUT = None
    WRAPPERS = ('RIS-LAD',)
    ANNOTATION_FOLDERS = ('ris_lad',)
    IMAGE_FOLDERS = ('images/ris_lad',)
    ANY_MASK = True

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        if self._is_refer():
            yield from super().load_triplets()
            return
        root = self._root()
        path = require_file([os.path.join(root, 'ann', f'{self.split}.json')], title=self.TITLE)
        for number, entry in enumerate(read_json(path, list)):
            location = f'{path}, record {number}'
            with self.faults:
                record = convert(entry, _Record, location=location)
                yield dict(
                    sample_id=str(number),
                    text=record.expression.strip(),
                    category=None,
                    location=location,
                    img_path=_path(root, 'images', record.image, location),
                    mask_path=_path(root, 'masks', record.mask, location),
                )

    def listed_objects(self) -> Iterator[ImageObjects] | None:
        """Those of instances.json, where there is one."""
        return super().listed_objects() if self._is_refer() else None

    def _is_refer(self) -> bool:
        return is_file(os.path.join(self._root(), self.ANNOTATION_FOLDERS[0], self.REFS[0]))


def _path(root: str, folder: str, name: str, location: str) -> str:
    name = name.removeprefix('./')
    base = root if name.startswith(f'{folder}/') else os.path.join(root, folder)
    return confined(base, name, location=location)
