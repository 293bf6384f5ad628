"""The paper's scores (Eq. 13) from integer intersections and unions, one pair per sample.

gIoU is the mean of the per-sample IoU, which others call mIoU; cIoU is the sum of intersections
over the sum of unions, which others call oIoU. gIoU is unrelated to the box loss of that name.

Protocol `paper`:
    size        the original size of the image and of the annotation
    prediction  logits > 0
    Pr@X        percentage of samples with IoU > X, strictly, decided in integers
    both empty  IoU 0 (a union of 0 pixels)
"""
from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from ..errors import UserError
from ..registry import METRICS

Record = dict[str, Any]

TENTHS = (5, 6, 7, 8, 9)  # thresholds as integers: 0.1 * k is not exact in binary
THRESHOLDS = tuple(f'Pr@0.{k}' for k in TENTHS)
COLUMNS = (*THRESHOLDS, 'cIoU', 'gIoU')  # the order of Tables II-V
UNKNOWN = 'unknown'


def scores(records: Iterable[Record]) -> dict[str, float]:
    """'gIoU', 'cIoU', 'Pr@0.5' ... 'Pr@0.9' in percent. The order of the records is immaterial.

        gIoU = mean_i I_i / U_i        cIoU = sum_i I_i / sum_i U_i
    """
    records = list(records)
    if not records:
        raise ValueError('no records to score')
    n = len(records)
    intersection = sum(r['intersection'] for r in records)
    union = sum(r['union'] for r in records)
    result = {
        # fsum rounds once: the same digits for any order of samples and any number of ranks
        'gIoU': 100 * math.fsum(r['iou'] for r in records) / n,
        'cIoU': 100 * intersection / union if union else 0.0,
    }
    for key, k in zip(THRESHOLDS, TENTHS):
        result[key] = 100 * sum(10 * r['intersection'] > k * r['union'] for r in records) / n
    return result


def category_scores(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """category -> its `scores` and 'samples', sorted by name; samples without one are 'unknown'."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.get('category') or UNKNOWN, []).append(record)
    return {name: {**scores(groups[name]), 'samples': len(groups[name])}
            for name in sorted(groups, key=lambda name: (name == UNKNOWN, name))}


def score_table(rows: Mapping[str, Mapping[str, float]], title: str, *, head: str = '',
                columns: Sequence[str] = COLUMNS) -> str:
    """A plain-text table: one line per row of scores, two decimals, counts as they are."""
    def cell(row: Mapping[str, float], key: str) -> str:
        value = row.get(key)
        if value is None:
            return '-'
        return str(value) if isinstance(value, int) else f'{value:.2f}'

    first = max(len(name) for name in (head, *rows))
    widths = [max(7, len(key)) for key in columns]

    def line(name: str, cells: Iterable[str]) -> str:
        return '  '.join([name.ljust(first), *(f'{c:>{w}}' for c, w in zip(cells, widths))])

    header = line(head, columns)
    return '\n'.join([title, header, '-' * len(header)]
                     + [line(name, (cell(row, key) for key in columns))
                        for name, row in rows.items()])


@METRICS.register_module()
class RefSegMetric(BaseMetric):
    """Scores under the protocol `paper` (above), streamed: two integers per sample, no mask kept.

    Returned in percent under 'gIoU', 'cIoU', 'Pr@0.5' ... 'Pr@0.9', without a prefix; where samples
    have categories also 'category_gIoU', Table IV's rule: the mean over a category's samples, then
    over the named categories. Samples without a name are listed as 'unknown' and stay out of it.

    A subclass extends `record` (what is kept of a sample) and `compute_metrics`.
    """

    protocol = 'paper'

    def __init__(self, *, prefix: str | None = None, **kwargs) -> None:
        # mmengine warns when there is no prefix; here its absence is meant: the paper's names
        super().__init__(prefix=prefix or self.protocol, **kwargs)
        self.prefix = prefix

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Reduces each sample (RefSegDataSample.to_dict()) to its record."""
        self.results.extend(self.record(sample) for sample in data_samples)

    def record(self, sample: dict) -> Record:
        """sample_id, category, intersection and union (int), iou (0 where both are empty)."""
        pred, gt = self.masks(sample)
        intersection = int((pred & gt).count_nonzero())
        union = int((pred | gt).count_nonzero())
        return dict(sample_id=sample['sample_id'], category=sample.get('category'),
                    intersection=intersection, union=union,
                    iou=intersection / union if union else 0.0)

    @staticmethod
    def masks(sample: dict) -> tuple[Tensor, Tensor]:
        """The predicted and the annotated mask, each (H, W) bool, on the prediction's device."""
        name = f'sample {sample["sample_id"]} ({sample.get("img_path", "no file")})'
        pred, gt = sample['pred_mask'], sample.get('gt_mask')
        if gt is None:
            raise UserError(f'{name} has no annotated mask, so it cannot be scored; '
                            'give the split its masks, or use tools/predict.py')
        if pred.shape != gt.shape:
            raise UserError(f'{name}: the predicted mask is {tuple(pred.shape)}, the annotated one '
                            f'{tuple(gt.shape)}; both must have the original size (H, W)')
        return pred.bool(), gt.to(pred.device).bool()

    def evaluate(self, size: int) -> dict[str, float]:
        """Scores the split of `size` samples, each of them once, whatever a sampler padded.

        mmengine cuts the ranks' results to `size`, which is right for one order of samples only;
        here duplicates are dropped by their id, and the count is checked.
        """
        ranks = all_gather_object(list(self.results))
        self.results.clear()
        records = self.unique(chain.from_iterable(ranks), size)  # an error is raised on every rank
        metrics = [self.compute_metrics(records) if is_main_process() else None]
        broadcast_object_list(metrics)
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {f'{prefix}{key}': value for key, value in metrics[0].items()}

    @staticmethod
    def unique(records: Iterable[Record], size: int) -> list[Record]:
        """One record per sample id; an error unless these are the split's `size` samples."""
        records = list(records)
        kept: dict[str, Record] = {}
        for record in records:
            kept.setdefault(record['sample_id'], record)
        if len(kept) != size:
            twice = [name for name, n in Counter(r['sample_id'] for r in records).items() if n > 1]
            raise UserError(
                f'the split has {size} samples, but {len(kept)} different sample ids were scored'
                + (f'; seen more than once: {", ".join(map(str, twice[:5]))}' if twice else '')
                + '; ids must be unique within a split, and every sample must be predicted')
        return list(kept.values())

    def compute_metrics(self, results: list[Record]) -> dict[str, float]:
        """The scores of the whole split, and the tables in the log."""
        metrics = scores(results)
        self.log(score_table({'all': metrics}, self.title(f'{len(results)} samples')))
        if any(record.get('category') for record in results):
            rows = category_scores(results)
            named = [row['gIoU'] for name, row in rows.items() if name != UNKNOWN]
            metrics['category_gIoU'] = math.fsum(named) / len(named)
            rows['mean of categories'] = dict(gIoU=metrics['category_gIoU'])
            self.log(score_table(rows, self.title('by category'), head='category',
                                 columns=(*COLUMNS, 'samples')))
        return metrics

    def title(self, what: str) -> str:
        """The line above a table: it names the protocol."""
        return (f'Scores in percent, {what}, protocol `{self.protocol}` '
                '(original size, logits > 0, Pr@X with >, both masks empty: 0)')

    @staticmethod
    def log(text: str) -> None:
        """Prints through mmengine's logger (the main process's only)."""
        print_log('\n' + text, logger='current', level=logging.INFO)
