"""Scene records, which SynthRS and `convert` keep beside the annotations that they write.

The format: `dataprep/layouts.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..records import read_json_lines
from .checks import is_file

SCENES = 'scenes'  # the folder of a conversion that names the source of every sample


def read_scenes(root: str | Path, split: str) -> Iterator[dict[str, Any]]:
    """The scenes of a split, one at a time, as written."""
    path = Path(root) / f'scenes_{split}.jsonl'
    lines: Iterator[tuple[str, Any]] = read_json_lines(path, what='the scenes')
    for _, scene in lines:
        yield scene


def targets_of(sentence: Mapping[str, Any]) -> tuple[int, ...]:
    """The indices of the objects that a sentence of a scene record names: its `target`, or none,
    one or several `targets`."""
    return tuple(sentence['targets']) if 'targets' in sentence else (sentence['target'],)


def single_target(sentence: Mapping[str, Any]) -> int | None:
    """The index of the one object that a sentence names; None where it names none or several."""
    targets = targets_of(sentence)
    return targets[0] if len(targets) == 1 else None


def folder_of_scenes(data_root: str | os.PathLike, split: str) -> Path | None:
    """Where the scenes of a data set's split lie: in its folder `scenes`, or beside its own folder;
    None where they are in neither."""
    root = Path(os.path.abspath(data_root))
    for folder in (root / SCENES, root.parent):
        if is_file(str(folder / f'scenes_{split}.jsonl')):
            return folder
    return None


class _Scene(msgspec.Struct):
    sentences: list[Any]


def written_triplets(data_root: str | os.PathLike, split: str) -> int | None:
    """How many triplets of the split tools/data/convert.py or tools/synthrs_generate.py wrote to
    the folder, as the scenes that they keep beside them say; None where they did not write it.

    Raises:
        UserError: the scenes cannot be read.
    """
    folder = folder_of_scenes(data_root, split)
    if folder is None:
        return None
    path = folder / f'scenes_{split}.jsonl'
    return sum(len(scene.sentences) for _, scene in read_json_lines(path, _Scene))
