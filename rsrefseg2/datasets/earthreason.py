"""EarthReason (Li et al., SegEarth-R1): questions whose answer is a region, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from ..errors import UserError, os_errors_explained
from ..records import read_json
from ..registry import DATASETS
from .base import RefSegDataset
from .checks import find_root, require_folder

# of a triplet's three files: their folder, their extensions
FILES = {'images': ('.jpg', '.jpeg', '.png'), 'labels': ('.png',), 'QAs': ('.json', '.txt')}


class _Questions(msgspec.Struct):
    questions: list[str]
    answer: list[Any]  # empty: there is no target


@DATASETS.register_module()
class EarthReason(RefSegDataset):
    """`<split>/{images,labels,QAs}/`, three files of one name for each picture.

    Every value of a label but 0 is the target. A file of `QAs` holds `questions`, each of which is a
    sentence, and `answer`, empty where there is no target. `sample_id` is `<name>_<number of the
    question, from 0>`.

    Args:
        questions: 'all' of a picture, or the 'first'. None: all in train, the first in val and test,
            as the benchmark scores them.
    """

    TITLE = 'EarthReason'
    NO_TARGET = True

    def __init__(self, *, questions: Literal['all', 'first'] | None = None, **kwargs: Any) -> None:
        if questions not in (None, 'all', 'first'):
            raise UserError(f"questions is 'all', 'first' or None, not {questions!r}")
        self._questions = questions
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        root = find_root(
            self.data_root,
            title=self.TITLE,
            wrappers=('EarthReason', 'RSReasonSeg', 'rs_reason_seg/RSReasonSeg'),
            entries=self.SPLITS,
        )
        files = {
            folder: _by_name(folder, extensions)
            for folder, extensions in (
                (require_folder([os.path.join(root, self.split, name)], title=self.TITLE), of)
                for name, of in FILES.items()
            )
        }
        for name in sorted({name for of_folder in files.values() for name in of_folder}):
            with self.faults:
                yield from self._of_picture(name, files)

    def _of_picture(self, name: str, files: dict[str, dict[str, str]]) -> Iterator[dict]:
        for folder, of_folder in files.items():
            if name not in of_folder:
                other = next(of[name] for of in files.values() if name in of)
                raise UserError(
                    f'{folder!r}: there is no file of the name {name!r}, as {other!r} has: '
                    'complete the download, or correct the names'
                )
        image, label, path = (of_folder[name] for of_folder in files.values())
        questions = read_json(path, _Questions).questions
        if not questions:
            raise UserError(f'{path}: there is no question: write one or remove the three files')
        first = (self._questions or ('all' if self.split == 'train' else 'first')) == 'first'
        for number, question in enumerate(questions[:1] if first else questions):
            yield dict(
                sample_id=f'{name}_{number}',
                text=question.strip(),
                category=None,
                location=f'{path}, question {number}',
                img_path=image,
                mask_path=label,
                any_value=True,
            )


def _by_name(folder: str, extensions: Sequence[str]) -> dict[str, str]:
    """Name without extension -> path, of the files of a folder."""
    found: dict[str, str] = {}
    with os_errors_explained(folder):
        entries = sorted(os.listdir(folder))
    for entry in entries:
        name, extension = os.path.splitext(entry)
        if extension.lower() not in extensions or entry.startswith('.'):
            continue
        path = os.path.join(folder, entry)
        if found.setdefault(name, path) is not path:
            raise UserError(f'{path!r}: {found[name]!r} has the same name: remove one of the two')
    return found
