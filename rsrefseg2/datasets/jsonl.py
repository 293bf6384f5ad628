"""One JSON object per line: the form that RSRefSeg2's and DiCoR's `datainfo/*.jsonl` have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from ..errors import UserError, os_errors_explained
from ..files import confined
from ..records import convert, parse_json
from ..registry import DATASETS
from .base import RefSegDataset
from .checks import SEE_TREE, find_root, is_file, is_folder, require_folder, split_of
from .masks import as_rle
from .phrase_files import decode_line, read_lines
from .refer_files import Id
from .refsegrs import RefSegRS
from .risbench import RISBench
from .rrsisd import RRSISD

BENCHMARKS: dict[str, type[RefSegDataset]] = {
    'refsegrs': RefSegRS,
    'rrsisd': RRSISD,
    'risbench': RISBench,
}
IMAGE_FOLDERS = (
    'images/rrsisd/JPEGImages',
    'images/JPEGImages',
    'JPEGImages',
    'img_rgb',
    'images',
    'RISBench_dataset/img_rgb',
    'RefSegRS/images',
)


class Line(msgspec.Struct):
    """What is used of a line; its split is read before."""

    sent: str
    file_name: str
    image_id: Id
    segmentation: Any
    sent_id: Id | None = None
    category_name: str | None = None


@DATASETS.register_module()
class RefSegJSONL(RefSegDataset):
    """`*<split>.jsonl` with the keys `split, image_id, sent, file_name, segmentation`, and
    `category_name` where there is one; the images in a folder of one of the benchmarks.

    `segmentation` is one RLE or a list of one. A line's `sample_id` is its `sent_id` if it has
    one, else its `image_id` without the file's extension; further lines of the same id get '#2',
    '#3'.

    Args:
        benchmark: Whose category names hold, and are looked for in sentences; None: any name that
            the lines have.
        ann_file: The file, from `data_root`. None: the one that `*<split>.jsonl` finds there or in
            `datainfo`, or the only `*.jsonl`, whose lines of other splits are then left to those.
        image_folder: From `data_root`. None: the first of the benchmarks' folders that is there.
    """

    TITLE = 'JSON lines'
    LAYOUT = 'jsonl'

    def __init__(
        self,
        *,
        benchmark: Literal['refsegrs', 'rrsisd', 'risbench'] | None = None,
        ann_file: str | None = None,
        image_folder: str | None = None,
        **kwargs: Any,
    ) -> None:
        if benchmark not in (None, *BENCHMARKS):
            raise UserError(f'benchmark {benchmark!r} is not one of {", ".join(BENCHMARKS)}')
        self._ann_file, self._image_folder = ann_file, image_folder
        if benchmark is not None:
            reader = BENCHMARKS[benchmark]
            self.TITLE, self.PUBLISHED = f'{reader.TITLE} (JSON lines)', reader.PUBLISHED
            self.SYNONYMS, self.EQUAL_IMAGES = reader.SYNONYMS, reader.EQUAL_IMAGES
        self._classes = None if benchmark is None else BENCHMARKS[benchmark].METAINFO['classes']
        super().__init__(**kwargs)

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        self._metainfo['classes'] = self._classes
        find_root(self.data_root, title=self.TITLE, wrappers=(), entries=())
        path, of_one_split = self._find_lines()
        names = (self._image_folder,) if self._image_folder is not None else IMAGE_FOLDERS
        folder = require_folder(
            [os.path.join(self.data_root, name) for name in names], title=self.TITLE
        )
        times: dict[str, int] = {}
        for number, raw in read_lines(path):
            location = f'{path}:{number}'
            with self.faults:
                record = parse_json(decode_line(raw, location), location=location)
                split = split_of(record, location)
                if split == self.split:
                    yield self._triplet(
                        convert(record, Line, location=location), folder, location, times
                    )
                elif of_one_split:
                    raise UserError(
                        f'{location}: the line is of split {split!r}, the file of '
                        f'{self.split!r}: move the line'
                    )

    def _find_lines(self) -> tuple[str, bool]:
        """The file, and whether its name says that it holds this split alone."""
        if self._ann_file is not None:
            path = os.path.join(self.data_root, self._ann_file)
            found: Sequence[str] = [path] if is_file(path) else []
            wanted, of_one_split = repr(path), False
        else:
            every = [
                path
                for folder in ('', 'datainfo')
                for path in _lines_files(os.path.join(self.data_root, folder))
            ]
            found = [path for path in every if path.endswith(f'{self.split}.jsonl')]
            of_one_split = bool(found)
            found = found or (every if len(every) == 1 else [])
            wanted = f'a file *{self.split}.jsonl in {self.data_root!r}'
        if len(found) > 1:
            raise UserError(
                f'{self.TITLE}: {" and ".join(map(repr, found))} may both be meant: '
                'name one as ann_file'
            )
        if not found:
            raise UserError(f'{self.TITLE}: {wanted} is missing: {SEE_TREE}')
        return found[0], of_one_split

    def _triplet(self, line: Line, folder: str, location: str, times: dict[str, int]) -> dict:
        name = str(line.image_id if line.sent_id is None else line.sent_id)
        _, extension = os.path.splitext(line.file_name)
        name = name.removesuffix(extension) if extension else name
        times[name] = times.get(name, 0) + 1
        return dict(
            sample_id=name if times[name] == 1 else f'{name}#{times[name]}',
            text=line.sent.strip(),
            category=line.category_name,
            location=location,
            mask_location=location,
            img_path=confined(folder, line.file_name, location=location),
            mask_rle=as_rle(line.segmentation, location),
        )


def _lines_files(folder: str) -> list[str]:
    """The `*.jsonl` in a folder that may be missing."""
    if not is_folder(folder):
        return []
    with os_errors_explained(folder):
        return sorted(
            os.path.join(folder, name)
            for name in os.listdir(folder)
            if name.endswith('.jsonl') and not name.startswith('.')
        )
