"""The readers by the names that the command line has for them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import UserError, suggest
from ..registry import DATASETS
from .base import RefSegDataset
from .earthreason import EarthReason
from .jsonl import BENCHMARKS, RefSegJSONL
from .lasers import LaSeRS
from .nwpu_refer import NWPURefer
from .refcoco import DIVIDED_BY, RefCOCO
from .remotesam import RemoteSAM270K
from .ris_lad import RISLAD
from .scene_files import written_triplets

# Benchmarks that the paper has no table of.
FURTHER: dict[str, type[RefSegDataset]] = {
    'nwpu_refer': NWPURefer,
    'earthreason': EarthReason,
    'ris_lad': RISLAD,
    'remotesam': RemoteSAM270K,
    'lasers': LaSeRS,
}
READERS: dict[str, Callable[..., RefSegDataset]] = {
    **BENCHMARKS,
    **FURTHER,
    'jsonl': RefSegJSONL,
    **{name: partial(RefCOCO, name=name) for name in DIVIDED_BY},  # type: ignore[arg-type]
}


def open_split(name: str, data_root: str, split: str, **options: Any) -> RefSegDataset:
    """A split of the data set `name` of READERS, or of the registered class `name`; `options` as of
    its reader.

    Raises:
        UserError: there is no such reader, or it has no such option; see `RefSegDataset`.
    """
    reader = _reader(name)
    known = _options_of(reader)
    for option in options.keys() - known:
        raise UserError(f'the reader of {name} has no option {option!r}{suggest(option, known)}')
    return reader(data_root=str(data_root), split=split, **options)


def own_names(name: str, data_root: str | os.PathLike) -> dict[str, Any]:
    """Options with which the reader takes the category names that the files have, where this
    package wrote them: they are of any data, though in a benchmark's layout."""
    if name == 'rrsisd' and written_triplets(data_root, 'val') is not None:
        return dict(classes=None)
    return {}


def splits_of(name: str) -> tuple[str, ...]:
    """The names of the splits of a data set of READERS."""
    return tuple(_reader(name)(data_root='', split='train', lazy_init=True).SPLITS)


def _reader(name: str) -> Callable[..., RefSegDataset]:
    own = DATASETS.module_dict.get(name)
    if isinstance(own, type) and issubclass(own, RefSegDataset):
        return own
    if name not in READERS:
        raise UserError(
            f'data set {name!r} is not one of {", ".join(READERS)}{suggest(name, READERS)}'
        )
    return READERS[name]


def _options_of(reader: Callable[..., RefSegDataset]) -> set[str]:
    """The names of its constructor's arguments, those that it passes on included."""
    kind: Any = reader.func if isinstance(reader, partial) else reader
    return {
        option
        for of in kind.__mro__
        if issubclass(of, RefSegDataset)
        for option in inspect.signature(of.__init__).parameters
    }
