"""What a data set is like: sentences, words, masks, positions; beside the published figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from ..datasets.base import RefSegDataset
from ..datasets.content import on_all_cores
from ..datasets.masks import mask_of

CELLS = 32  # the maps of positions have 32 x 32 cells of any image
# How words are counted is not published: both counts are shown. `letters` takes "top-right" as two
# words and leaves out the dots and commas that RISBench sets with or without a blank.
COUNTS = {
    'split at blanks': lambda text: text.lower().split(),
    'runs of letters and digits': lambda text: re.findall(r"[^\W_]+(?:'[a-z]+)?", text.lower()),
}
# Of the whole data set: words a sentence and different words (RISBench, Table I); different scenes
# in train, val and test (RefSegRS).
PUBLISHED_WORDS = {'RISBench': (14.31, 4431)}
PUBLISHED_SCENES = {'RefSegRS': dict(train=151, val=31, test=103)}


class Figure(NamedTuple):
    """A line of the table: measured beside published; None where nothing is published."""

    name: str
    measured: float
    published: float | None = None


class SentenceStatistics:
    """Words a sentence and different words, by each of COUNTS."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = list(texts)
        self.number = len(texts)
        self.lengths = {
            name: [len(words(text)) for text in texts] for name, words in COUNTS.items()
        }
        self.vocabulary = {
            name: Counter(word for text in texts for word in words(text))
            for name, words in COUNTS.items()
        }

    def mean_length(self, count: str) -> float:
        """The mean number of words, as `count` (a key of COUNTS) tells them apart."""
        return float(np.mean(self.lengths[count]))


class MaskStatistics(NamedTuple):
    """Of the masks of a split.

    areas: (N,) pixels; shares: (N,) of the image, 0 to 1; centres: (M, 2) centroids (x, y) as
    fractions of the image, of the masks that are not empty; coverage: (CELLS, CELLS), how often a
    cell lies in a mask, 0 to 1.
    """

    areas: np.ndarray
    shares: np.ndarray
    centres: np.ndarray
    coverage: np.ndarray


def mask_statistics(dataset: RefSegDataset) -> MaskStatistics:
    """Reads every mask of the split, with all cores."""
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    areas, shares, centres = [], [], []
    coverage = np.zeros((CELLS, CELLS))
    for area, share, centre, cells in on_all_cores(_measure, records, title='masks'):
        areas.append(area)
        shares.append(share)
        centres += [centre] if centre is not None else []
        coverage += cells
    return MaskStatistics(
        np.array(areas),
        np.array(shares),
        np.array(centres).reshape(-1, 2),
        coverage / max(1, len(records)),
    )


def _measure(record: dict) -> tuple[int, float, tuple[float, float] | None, np.ndarray]:
    mask = mask_of(record)[0]
    cells = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    centre = (
        None
        if not len(rows)
        else (float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height))
    )
    return len(rows), len(rows) / mask.size, centre, cells


def is_benchmark(dataset: RefSegDataset) -> bool:
    """Whether its categories are the benchmark's, and not others in the benchmark's layout."""
    own, names = dataset.metainfo['classes'], type(dataset).METAINFO['classes']
    return own is None or tuple(own) == tuple(names or ())


def figures(splits: dict[str, RefSegDataset], sentences: SentenceStatistics) -> list[Figure]:
    """The table: triplets and scenes by split, words over the splits that are given.

    Nothing is published of other data in a benchmark's layout (see `is_benchmark`). Words are
    compared where all splits are given; scenes are counted by the content of the image files where
    a number is published.
    """
    first = next(iter(splits.values()))
    published = is_benchmark(first)
    found = [
        Figure(f'triplets, {name}', len(split), split.PUBLISHED.get(name) if published else None)
        for name, split in splits.items()
    ]
    scenes = PUBLISHED_SCENES.get(first.TITLE, {})
    found += [
        Figure(
            f'different images, {name}',
            len(set(map(split.image_key, range(len(split))))),
            scenes[name],
        )
        for name, split in splits.items()
        if name in scenes
    ]
    whole = set(splits) == set(first.SPLITS)
    words = PUBLISHED_WORDS.get(first.TITLE) if published and whole else None
    for count in COUNTS:
        found += [
            Figure(f'words a sentence ({count})', sentences.mean_length(count), words and words[0]),
            Figure(
                f'different words ({count})', len(sentences.vocabulary[count]), words and words[1]
            ),
        ]
    return found
