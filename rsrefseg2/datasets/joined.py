"""Several data sets as one: a model for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UserError
from ..registry import DATASETS, SCOPE
from .base import RefSegDataset
from .picture_objects import ImageObjects


@DATASETS.register_module()
class JoinedDataset(RefSegDataset):
    """The triplets of several data sets of one split, one after another.

    Each is read and checked by its own class; sample ids get its name: 'rrsisd/17'. The classes are
    those of all of them. How often each is seen is decided by its number of triplets: `indices` of
    a data set takes its first ones alone.

    Args:
        datasets: name -> a data set's config, without split, pipeline and other_objects, which are given
            here.
    Raises:
        UserError: there is none, or a config names another class than a RefSegDataset.
    """

    TITLE = 'the joined data sets'

    def __init__(self, *, datasets: Mapping[str, dict], data_root: str = '', **kwargs: Any) -> None:
        if not datasets:
            raise UserError('JoinedDataset joins none: give datasets=dict(NAME=dict(type=...))')
        self._configs = {name: dict(config) for name, config in datasets.items()}
        self._listed: list[ImageObjects] = []
        self._by_path = kwargs.get('equal_images') == 'path'
        super().__init__(data_root=data_root, **kwargs)

    def read_records(self) -> list[dict]:
        """The checked records of every data set, in the order of the config."""
        records: list[dict] = []
        classes: dict[str, None] = {}
        for name, config in self._configs.items():
            given = {'_scope_': SCOPE, **config}
            built = DATASETS.get(given['type'])
            if not (isinstance(built, type) and issubclass(built, RefSegDataset)):
                raise UserError(
                    f'datasets.{name}: {given["type"]} has no referring sentences: join '
                    'classes such as RRSISD or RefSegJSONL'
                )
            ours = dict(split=self.split, pipeline=(), other_objects=self._other_objects)
            dataset = DATASETS.build({**given, **ours})
            if self._other_objects:
                self._listed += dataset.objects()
            self.no_target = self.no_target or dataset.no_target
            if dataset.equal_images == 'content' and not self._by_path:
                self.equal_images = 'content'
            classes.update(dict.fromkeys(dataset.metainfo['classes'] or ()))
            for index in range(len(dataset)):
                record = dict(dataset.get_data_info(index))
                record.pop('sample_idx', None)
                records.append({**record, 'sample_id': f'{name}/{record["sample_id"]}'})
        self._metainfo['classes'] = tuple(classes) or None
        return records

    def listed_objects(self) -> Iterator[ImageObjects]:
        """The objects that each data set has read; see `RefSegDataset.listed_objects`."""
        listed, self._listed = self._listed, []
        return iter(listed)
