"""The report page of a dump: scores, curves, breakdowns, and the worst, median and best cases."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..datasets import RefSegDataset
from ..errors import make_folder
from ..evaluation import (
    COLUMNS,
    RATES,
    TENTHS,
    THRESHOLDS,
    Curves,
    Protocol,
    Report,
    Sample,
    dumped_samples,
    kind,
    score_record,
)
from ..extras import require_extra
from ..files import require_free
from ..models import RSRefSeg2
from ..visualization import (
    MARK,
    Case,
    bar_table,
    curve,
    histogram,
    plot_section,
    resize_mask,
    write_page,
)
from .dumps import find_samples, load_picture
from .gallery import predict_samples

DensePrompts = Callable[[Sequence[str]], Mapping[str, np.ndarray]]


def write_report(
    dump: str | Path,
    out: str | Path,
    *,
    protocol: Protocol,
    title: str | None = None,
    cases: int = 6,
    images: str | Path | None = None,
    dense_prompts: DensePrompts | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the page and returns its path. The dump is read twice; no mask but the cases' is kept.

    Args:
        out: an .html file, or a folder for an index.html.
        protocol: how masks are compared.
        title: the page's heading; None: the dump's name.
        cases: of each kind: worst, median and best IoU.
        images: the folder to look in for the images; None: where the dump says they are.
        dense_prompts: ids -> id -> dense prompt (h, w) logits; None: the panels have none.
        overwrite: see `page_path`.
    """
    out = page_path(out, overwrite=overwrite)
    report, curves, ranking = Report(protocol), Curves(protocol), []
    for sample in dumped_samples(dump):
        record = score_record(sample, protocol)
        report.add(record)
        curves.add(record)
        if not math.isnan(record['iou']):
            # equal IoUs, above all 0, in an order that has nothing to do with the split's
            ranking.append((record['iou'], zlib.crc32(record['id'].encode()), record['id']))
    chosen = choose_cases(sorted(ranking), cases)
    ids = [name for name, _, _ in chosen]
    samples = find_samples(dump, ids)
    dense = {} if dense_prompts is None else dense_prompts(ids)
    shown = [
        make_case(samples[name], group, iou, images, dense.get(name)) for name, group, iou in chosen
    ]
    notes = [report.title(f'{report.all.samples} samples of {Path(dump).name}'), report.undefined()]
    if any(not sample.record.get('file') for sample in samples.values()):
        notes.append('The dump names no images: the cases stand on grey')
    write_page(
        out,
        shown,
        title=title or f'Report of {Path(dump).name}',
        note='. '.join(filter(None, notes)),
        scores=overall(report),
        body=sections(report, curves),
    )
    return out


def page_path(out: str | Path, *, overwrite: bool = False) -> Path:
    """The page's file: `out` itself where it ends in .html, else its index.html; the folder is
    made.

    Raises:
        UserError: a file there was not written by this package, and not `overwrite`; matplotlib,
            which draws its plots, is not installed.
    """
    require_extra('plots', 'the page')
    out = Path(out) if str(out).endswith('.html') else Path(out) / 'index.html'
    make_folder(out.parent)
    require_free(out, mark=MARK, overwrite=overwrite)
    return out


def choose_cases(ranking: Sequence[tuple[float, int, str]], n: int) -> list[tuple[str, str, float]]:
    """(id, 'worst' | 'median' | 'best', IoU) of up to n samples each, none twice; worst first, best
    last to first."""
    n = min(n, max(1, len(ranking) // 3))
    worst, rest = list(ranking[:n]), list(ranking[n:])
    best = rest[-n:][::-1]
    rest = rest[:-n]
    start = max(0, (len(rest) - n) // 2)
    groups = dict(worst=worst, median=rest[start : start + n], best=best)
    return [(name, group, iou) for group, members in groups.items() for iou, _, name in members]


def make_case(
    sample: Sample, group: str, iou: float, images: str | Path | None, dense: np.ndarray | None
) -> Case:
    """The case of a sample; masks of another size than the image's are drawn at the image's."""
    image, record = load_picture(sample, images), sample.record
    pred, gt = (
        mask if mask.shape == image.shape[:2] else resize_mask(mask, image.shape[1::-1])
        for mask in (sample.prediction, sample.ground_truth)
    )
    sentence, found = record.get('sentence'), record.get('coarse_localisation')
    note = [
        record.get('category'),
        record.get('level') or (sentence and kind(sentence)),
        None if found is None else f'coarse localisation {100 * found:.0f} %',
    ]
    return Case(
        image=image,
        text=sentence or 'no sentence in the dump',
        pred_mask=pred,
        gt_mask=gt,
        dense_prompt=dense,
        sample_id=record['id'],
        group=group,
        note=' · '.join(part for part in note if part),
        score=iou,
    )


def overall(report: Report) -> dict[str, float]:
    """The scores on top of the page."""
    scores = report.scores()
    return {name: scores[name] for name in (*COLUMNS, 'category_gIoU', *RATES) if name in scores}


def sections(report: Report, curves: Curves) -> str:
    """The page's plots, and a table of each breakdown."""
    compared = '≥' if report.protocol.inclusive else '>'
    marks = [tenths / 10 for tenths in TENTHS]
    rates, distribution = 'Pr@X over X', 'Distribution of IoU'
    y = f'samples with IoU {compared} X, %'
    parts = [
        plot_section(curve(curves.precision(), marks=marks, title=rates, x='X', y=y), title=rates),
        plot_section(
            histogram(curves.histogram, title=distribution, x='IoU', y='samples'),
            title=distribution,
        ),
    ]
    parts += [
        _table(key.removeprefix('by_'), rows)
        for key, rows in report.to_dict().items()
        if key.startswith('by_')
    ]
    return '\n'.join(parts)


def _table(name: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """The table of one breakdown."""
    rates = [rate for rate in RATES if any(rate in row for row in rows.values())]
    return bar_table(
        rows,
        ('samples', 'gIoU', 'cIoU', *THRESHOLDS, *rates),
        title=f'By {name}',
        head=name,
        bar='gIoU',
    )


def predict_dense(model: RSRefSeg2, dataset: RefSegDataset) -> DensePrompts:
    """What predicts the dense prompts of a few samples of the data set again."""

    def predict(ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Sample id -> dense prompt (h, w) logits."""
        return {
            sample.sample_id: sample.dense_prompt.numpy()
            for sample, _ in predict_samples(model, dataset, ids)
            if 'dense_prompt' in sample
        }

    return predict
