"""Data in RRSIS-D's layout: RefCOCO's files, run-length masks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ..registry import DATASETS
from .base import RefSegDataset
from .checks import find_root, require_file, require_folder
from .picture_objects import ImageObjects
from .refer_files import Instances, refer_triplets

NAMES = ('rrsisd', 'rrssid', 'rrsis_d', 'rrsis-d')  # of the folder; guides have the others


@DATASETS.register_module()
class ReferDataset(RefSegDataset):
    """`rrsisd/refs(unc).p`, `rrsisd/instances.json`, `images/rrsisd/JPEGImages/*.jpg`.

    Also found: the two files beside the images' folder, and the images in `images/JPEGImages` or
    `JPEGImages`.

    Args:
        classes: The category names that may occur. None: those that instances.json lists.
        made_by: The command that writes the data; named where `data_root` is missing.
    """

    TITLE = 'RRSIS-D'
    LAYOUT: str | None = 'rrsisd'
    # Facts of a layout; the released names come first.
    WRAPPERS: ClassVar[Sequence[str]] = ('RRSIS-D', 'rrsis-d')
    REFS: ClassVar[Sequence[str]] = ('refs(unc).p',)
    INSTANCES: ClassVar[Sequence[str]] = ('instances.json',)
    ANNOTATION_FOLDERS: ClassVar[Sequence[str]] = (*NAMES, '')  # of the two files
    IMAGE_FOLDERS: ClassVar[Sequence[str]] = (
        'images/rrsisd/JPEGImages',
        'images/JPEGImages',
        *(f'images/{name}/JPEGImages' for name in NAMES[1:]),
        'JPEGImages',
    )
    ANY_MASK: ClassVar[bool] = False  # polygons and several run-length masks, too
    UNKNOWN: ClassVar[str] = ''  # of the layout, for messages about a target that is missing

    def __init__(
        self, *, classes: Sequence[str] | None = None, made_by: str | None = None, **kwargs: Any
    ) -> None:
        self._classes = None if classes is None else tuple(classes)
        self._made_by = made_by
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        refs_path, instances, folder = self._files()
        names = tuple(instances.categories.values())
        self._metainfo['classes'] = names if self._classes is None else self._classes
        yield from refer_triplets(
            refs_path, instances, folder, split=self.split, faults=self.faults
        )

    def listed_objects(self) -> Iterator[ImageObjects] | None:
        """Every annotation of instances.json; see `RefSegDataset.listed_objects`."""
        _, instances, folder = self._files()
        return instances.objects_by_image(folder)

    def _files(self) -> tuple[str, Instances, str]:
        """The path of refs(unc).p, the content of instances.json, the folder of the images."""
        root = self._root()
        refs_path, instances_path = (
            require_file(
                [
                    os.path.join(root, folder, file)
                    for file in files
                    for folder in self.ANNOTATION_FOLDERS
                ],
                title=self.TITLE,
            )
            for files in (self.REFS, self.INSTANCES)
        )
        folder = require_folder(
            [os.path.join(root, name) for name in self.IMAGE_FOLDERS], title=self.TITLE
        )
        instances = Instances(instances_path, any_mask=self.ANY_MASK, unknown=self.UNKNOWN)
        return refs_path, instances, folder

    def _root(self) -> str:
        folders = {
            name.partition('/')[0] for name in (*self.ANNOTATION_FOLDERS, *self.IMAGE_FOLDERS)
        }
        return find_root(
            self.data_root,
            title=self.TITLE,
            wrappers=self.WRAPPERS,
            entries=(*sorted(folders - {'', *self.WRAPPERS}), *self.REFS),
            made_by=self._made_by,
        )
