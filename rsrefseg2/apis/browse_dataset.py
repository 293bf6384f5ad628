"""A page to look through a split: some samples, statistics over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..dataprep.statistics import (
    COUNTS,
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
from ..files import require_free, write_text
from ..visualization.browse_page import Plot, Sample, browse_page, thumbnail
from ..visualization.charts import bars, columns, heat
from ..visualization.page import MARK

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
    **options,
) -> list[str]:
    """Write the page; -> its table as lines for the terminal.

    Sentence statistics are over all splits that can be read, masks and positions over `split`.

    Args:
        name: of the data set, in readers.READERS; `options` go to its reader.
        most: samples shown, drawn by `seed` where the split has more.
        side: pixels of a thumbnail's longer side at most.
        overwrite: replace a file at `path` that is no page of ours.

    Raises:
        UserError: such a file is there; the split cannot be read.
    """
    require_free(path, mark=MARK, overwrite=overwrite)
    options = {**own_names(name, data_root), **options}
    options['serialize_data'] = False  # no worker shares it; mmengine would collect all garbage
    dataset = open_split(name, data_root, split, **options)
    splits, absent = {}, []
    for other in splits_of(name):
        try:
            splits[other] = (
                dataset if other == split else open_split(name, data_root, other, **options)
            )
        except UserError as error:
            absent.append(f'{other} left out of the sentence statistics: {error}')
    sentences = SentenceStatistics(text for part in splits.values() for text in _texts(part))
    table = figures(splits, sentences)
    samples = _samples(dataset, most, seed, side)
    shown = f'{len(samples)} of {len(dataset)} samples of {split}'
    if len(samples) < len(dataset):
        shown += f', drawn at random (seed {seed})'
    note = (
        f'{shown} · sentences of {", ".join(splits)}, masks and positions of all of {split}'
        + ''.join(f' · {line}' for line in absent)
    )
    title = dataset.TITLE if is_benchmark(dataset) else f"Data in {dataset.TITLE}'s layout"
    page = browse_page(
        samples,
        title=f'{title}, {split}',
        note=note,
        figures=table,
        plots=_plots(dataset, sentences, mask_statistics(dataset)),
    )
    write_text(path, page)
    lines = [
        f'{figure.name}: {figure.measured:,.4g}'
        if isinstance(figure.measured, float)
        else f'{figure.name}: {figure.measured:,}'
        for figure in table
    ]
    return [
        line if figure.published is None else f'{line} (published: {figure.published:,})'
        for line, figure in zip(lines, table)
    ] + absent


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
    plots = [
        Plot(
            f'Words a sentence, {blanks}: {sentences.mean_length(blanks):.2f} on average',
            columns([str(n) for n in longest], [lengths[n] for n in longest]),
        ),
        Plot(
            f'Mask area in percent of the image (upper limit of each bar); {empty} empty',
            columns([f'{100 * limit:g}' for limit in SHARES[1:]], counts.tolist()),
        ),
        Plot(f'Centres of the masks: at most {grid.max():.0f} in one of 16 × 16 cells', heat(grid)),
        Plot(
            f'Pixels of the masks: a cell is covered in up to {100 * masks.coverage.max():.1f} % '
            'of the samples',
            heat(masks.coverage),
        ),
        Plot(
            f'The most frequent of {len(sentences.vocabulary[letters])} different words '
            f'({letters})',
            bars(*zip(*words)),
        ),
    ]
    categories = Counter(
        dataset.get_data_info(index)['category'] or 'unknown' for index in range(len(dataset))
    ).most_common()
    if set(dict(categories)) != {'unknown'}:
        rest = sum(count for _, count in categories[MOST:])
        shown = categories[:MOST] + ([(f'{len(categories) - MOST} more', rest)] if rest else [])
        plots.append(Plot(f'Categories of the split ({len(categories)})', bars(*zip(*shown))))
    return plots
