"""A page to look through a split: some samples, statistics over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..dataprep.statistics import (
    COUNTS,
    Figure,
    MaskStatistics,
    SentenceStatistics,
    figures,
    is_benchmark,
    mask_statistics,
)
from ..datasets import read_image
from ..datasets.base import RefSegDataset
from ..datasets.content import on_all_cores
from ..datasets.masks import mask_of
from ..datasets.readers import open_split, own_names, splits_of
from ..errors import UserError
from ..extras import require_extra
from ..files import require_free, write_text
from ..visualization.browse_page import Plot, Sample, browse_page, thumbnail
from ..visualization.page import MARK
from ..visualization.plots import bars, columns, density

SHARES = (0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1)  # limits of the mask area's bars
MOST = 20  # words and categories shown


def write_browse_page(
    path: Path,
    name: str,
    data_root: str,
    *,
    split: str,
    most: int = 400,
    seed: int = 0,
    side: int = 256,
    overwrite: bool = False,
    **options: Any,
) -> list[str]:
    """Write the page; -> its table as lines for the terminal.

    Sentence statistics are over all splits that can be read, masks and positions over `split`.

    Args:
        name: of the data set, in readers.READERS; `options` go to its reader.
        most: samples shown, drawn by `seed` where the split has more.
        split: whose samples are shown.
        side: pixels of a thumbnail's longer side at most.
        overwrite: replace a file at `path` that is no page of this package.

    Raises:
        UserError: such a file is there; the split cannot be read; matplotlib is not installed.
    """
    require_free(path, mark=MARK, overwrite=overwrite)
    require_extra('plots', 'the page')
    options = {**own_names(name, data_root), **options}
    options['serialize_data'] = False  # no worker shares it; mmengine would collect all garbage
    dataset = open_split(name, data_root, split, **options)
    splits, faults = _readable_splits(name, data_root, {split: dataset}, options)
    sentences = SentenceStatistics(text for part in splits.values() for text in _texts(part))
    table = figures(splits, sentences)
    samples = _samples(dataset, most, seed, side)
    title = dataset.TITLE if is_benchmark(dataset) else f"Data in {dataset.TITLE}'s layout"
    page = browse_page(
        samples,
        title=f'{title}, {split}',
        note=_note(len(samples), len(dataset), split, seed, splits, faults),
        figures=table,
        plots=_plots(dataset, sentences, mask_statistics(dataset)),
    )
    write_text(path, page)
    return _lines(table) + [
        f'{other} left out of the sentence statistics: {fault}' for other, fault in faults.items()
    ]


def _readable_splits(
    name: str, data_root: str, opened: Mapping[str, RefSegDataset], options: Mapping[str, Any]
) -> tuple[dict[str, RefSegDataset], dict[str, str]]:
    """The splits that can be read, those of `opened` as they are, and why the others cannot."""
    found, faults = {}, {}
    for split in splits_of(name):
        try:
            found[split] = opened.get(split) or open_split(name, data_root, split, **options)
        except UserError as error:
            faults[split] = str(error)
    return found, faults


def _note(
    shown: int, total: int, split: str, seed: int, splits: Collection[str], faults: Collection[str]
) -> str:
    """The line below the page's heading. It names no folder: the terminal says what is wrong."""
    drawn = f', drawn at random (seed {seed})' if shown < total else ''
    parts = [
        f'{shown} of {total} samples of {split}{drawn}',
        f'sentences of {", ".join(splits)}, masks and positions of all of {split}',
        *(f'{other} left out of the sentence statistics: not readable' for other in faults),
    ]
    return ' · '.join(parts)


def _lines(table: Iterable[Figure]) -> list[str]:
    """The statistics for the terminal."""
    lines = []
    for figure in table:
        number = ',.4g' if isinstance(figure.measured, float) else ','
        known = '' if figure.published is None else f' (published: {figure.published:,})'
        lines.append(f'{figure.name}: {figure.measured:{number}}{known}')
    return lines


def _texts(dataset: RefSegDataset) -> list[str]:
    return [dataset.get_data_info(index)['text'] for index in range(len(dataset))]


def _samples(dataset: RefSegDataset, most: int, seed: int, side: int) -> list[Sample]:
    chosen: Sequence[int] = range(len(dataset))
    if len(dataset) > most:
        chosen = sorted(np.random.default_rng(seed).choice(len(dataset), most, replace=False))
    jobs = [(dataset.get_data_info(int(index)), side) for index in chosen]
    return list(on_all_cores(_sample, jobs, title='thumbnails'))


def _sample(job: tuple[dict, int]) -> Sample:
    record, side = job
    image = read_image(record['img_path'])
    mask, _ = mask_of(record, image.shape[:2])
    return Sample(
        sample_id=record['sample_id'],
        text=record['text'],
        category=record['category'] or '',
        area=int(mask.sum()),
        share=float(mask.mean()),
        thumbnail=thumbnail(image, mask, side),
    )


def _plots(
    dataset: RefSegDataset, sentences: SentenceStatistics, masks: MaskStatistics
) -> list[Plot]:
    blanks, letters = COUNTS
    lengths = Counter(sentences.lengths[blanks])
    longest = range(min(lengths), max(lengths) + 1)
    words = sentences.vocabulary[letters].most_common(MOST)
    counts = np.histogram(masks.shares, SHARES)[0]
    grid = np.histogram2d(
        masks.centres[:, 1], masks.centres[:, 0], bins=16, range=((0, 1), (0, 1))
    )[0]
    empty = int((masks.areas == 0).sum())
    found = [
        (
            f'Words a sentence, {blanks}: {sentences.mean_length(blanks):.2f} on average',
            partial(columns, [str(n) for n in longest], [lengths[n] for n in longest]),
        ),
        (
            f'Mask area in percent of the image (upper limit of each bar); {empty} empty',
            partial(columns, [f'{100 * limit:g}' for limit in SHARES[1:]], counts.tolist()),
        ),
        (
            f'Centres of the masks: at most {grid.max():.0f} in one of 16 × 16 cells',
            partial(density, grid),
        ),
        (
            f'Pixels of the masks: a cell is covered in up to {100 * masks.coverage.max():.1f} % '
            'of the samples',
            partial(density, masks.coverage),
        ),
        (
            f'The most frequent of {len(sentences.vocabulary[letters])} different words '
            f'({letters})',
            partial(bars, *zip(*words, strict=True)),
        ),
    ]
    categories = _categories(dataset)
    if set(categories) != {'unknown'}:
        common = categories.most_common(MOST)
        if len(categories) > MOST:
            rest = categories.total() - sum(count for _, count in common)
            common.append((f'{len(categories) - MOST} more', rest))
        title = f'Categories of the split ({len(categories)})'
        found.append((title, partial(bars, *zip(*common, strict=True))))
    return [Plot(title, draw(title=title)) for title, draw in found]


def _categories(dataset: RefSegDataset) -> Counter[str]:
    records = (dataset.get_data_info(index) for index in range(len(dataset)))
    return Counter(record['category'] or 'unknown' for record in records)
