"""The scores of a test as it runs: one record per sample, added up in integers at the end."""

from __future__ import annotations

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..errors import UserError
from ..records import to_json
from ..registry import METRICS
from ..rle import encode
from .calibration import SCORES
from .dump import Lines, Records, mark_of, prepare_dump, replacing_dump
from .localisation import coarse_localisation, mask_agreement
from .protocols import find_protocol
from .score_report import Report
from .score_sums import COLUMNS, PRESENCE

PLACES = ('score', 'box', 'point')  # of a zero-shot model, in a dump


@METRICS.register_module()
class RefSegMetric(BaseMetric):
    """gIoU, cIoU and Pr@X (Eq. 13) under a named protocol.

    Returned in percent under 'gIoU', 'cIoU', 'Pr@0.5' ... 'Pr@0.9', without a prefix; under protocol
    generalised also 'N-acc' and 'T-acc'; where samples have categories also 'category_gIoU' (Table
    IV). Afterwards `report` holds these and the scores by category, size of the target, length and
    kind of the sentence (`Report.to_dict`), on the main process.

    Of each sample a record without masks is kept in memory, some hundred bytes; with `dump` it
    becomes a line of that file at once, masks included. At the end they are added up exactly.

    Args:
        protocol: 'paper', 'rmsin', 'lisa', 'release' or 'generalised' (protocols.py).
        dump: file for one line per sample, with its masks (dump.py).
        resume: continue the dump of an interrupted test.
        overwrite: replace whatever file is there, or what an interrupted test left of a dump.
        run: what the dump belongs to (checkpoint, config); another run's is not continued.
        beside: rows of published scores, {whose: {column: percent}}; the test loop prints them below
            one's own.
        category_beside: columns of published gIoU by category (Table IV), {whose: {category:
            percent}}, which the table by category gets beside one's own.
        tables: log the scores by group; the test loop prints the overall ones.

    A subclass extends `record` (what is kept of a sample) and `compute_report`; `SCORES` are the
    names of what that returns, as a pattern.
    """

    SCORES: ClassVar[str] = '|'.join(map(re.escape, (*COLUMNS, *PRESENCE, 'category_gIoU')))

    def __init__(
        self,
        *,
        protocol: str = 'paper',
        dump: str | None = None,
        resume: bool = False,
        overwrite: bool = False,
        run: dict[str, Any] | None = None,
        prefix: str | None = None,
        beside: dict[str, dict[str, float]] | None = None,
        category_beside: dict[str, dict[str, float]] | None = None,
        tables: bool = True,
        **kwargs: Any,
    ) -> None:
        # mmengine warns when there is no prefix; here its absence is meant: the paper's names
        super().__init__(prefix=prefix or protocol, **kwargs)
        self.prefix = prefix
        self.protocol = find_protocol(protocol)
        self.dump, self.resume, self.overwrite = dump, resume, overwrite
        self.beside, self.tables = beside or {}, tables
        self.category_beside = category_beside or {}
        self.run = {**(run or {}), 'protocol': protocol}  # a line's integers are of one protocol
        self.report: dict[str, Any] = {}
        self.skipped = 0  # samples of the split that a continued test does not predict again
        self._records: Records | None = None

    # ------------------------------------------------------------------ before

    def start(self) -> set[str]:
        """Called on every rank before the first sample; -> the ids that an interrupted test has
        scored already.

        Raises:
            UserError: on every rank: see `prepare_dump`.
        """
        answer: list[Any] = [None]
        if is_main_process():
            answer = [self._on_main(self._find_done)]
        broadcast_object_list(answer)
        return set(self._or_raise(answer[0]))

    def _find_done(self) -> list[str]:
        if self.dump is None:
            return []
        return prepare_dump(self.dump, self.run, resume=self.resume, overwrite=self.overwrite)

    # ------------------------------------------------------------------ sample by sample

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps a record of each sample (RefSegDataSample.to_dict())."""
        self._open().write([self.record(sample) for sample in data_samples])

    def record(self, sample: dict) -> dict[str, Any]:
        """id, file, sentence, category, area, intersection, union, iou; for a dump the masks and
        `coarse_localisation`, `mask_agreement`, a zero-shot model's PLACES and a calibration's SCORES, too."""
        pred, gt = self.masks(sample)
        name = sample['sample_id']
        intersection, union = self.protocol.overlap(pred, gt, location=f'sample {name}')
        record = dict(
            id=name,
            file=sample.get('img_path'),
            sentence=sample.get('text'),
            category=sample.get('category'),
            area=int(np.count_nonzero(gt)),
            intersection=intersection,
            union=union,
            iou=self.protocol.iou(intersection, union),
        )
        if self.dump is not None:
            record.update(prediction=encode(pred), ground_truth=encode(gt))
            record.update(
                {
                    name: sample[name].tolist()
                    for name in (*PLACES, *SCORES)
                    if sample.get(name) is not None
                }
            )
            if sample.get('drawn_mask') is not None:
                record['drawn'] = encode(sample['drawn_mask'].cpu().numpy().astype(bool))
            if sample.get('dense_prompt') is not None:
                dense = sample['dense_prompt'].float().cpu().numpy()
                record.update(
                    coarse_localisation=coarse_localisation(dense, gt),
                    mask_agreement=mask_agreement(dense, pred),
                )
        return record

    @staticmethod
    def masks(sample: dict) -> tuple[np.ndarray, np.ndarray]:
        """The predicted and the annotated mask, each (H, W) bool."""
        name = f'sample {sample["sample_id"]} ({sample.get("img_path", "no file")})'
        pred, gt = sample['pred_mask'], sample.get('gt_mask')
        if gt is None:
            raise UserError(
                f'{name} has no annotated mask, so it cannot be scored; '
                'give the split its masks, or use tools/predict.py'
            )
        if pred.shape != gt.shape:
            raise UserError(
                f'{name}: the predicted mask is {tuple(pred.shape)}, the annotated one '
                f'{tuple(gt.shape)}; both must have the original size (H, W)'
            )
        return pred.cpu().numpy().astype(bool), gt.cpu().numpy().astype(bool)

    # ------------------------------------------------------------------ at the end

    def evaluate(self, size: int) -> dict[str, float]:
        """Scores the split, of which `size` samples were to be predicted now, each sample once,
        whatever a sampler padded, on any number of ranks."""
        kept = self._open()
        records = kept.every()
        answer: list[Any] = [None]
        if is_main_process():
            answer = [self._on_main(lambda: self._add_up(records, size + self.skipped))]
        for _ in records:  # the other ranks, or what an error has left
            pass
        kept.close()
        self._records, self.skipped = None, 0
        broadcast_object_list(answer)
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {f'{prefix}{key}': value for key, value in self._or_raise(answer[0]).items()}

    def _add_up(self, records: Iterator[dict[str, Any]], size: int) -> dict[str, float]:
        """On the main process: the scores; writes the dump."""
        counted: Counter[str] = Counter()

        def once() -> Iterator[dict[str, Any]]:
            for record in records:
                counted[record['id']] += 1
                if counted[record['id']] == 1:
                    if target is not None:
                        line = to_json(record) + '\n'
                        first = len(counted) == 1
                        target.write(f'{mark_of(self.run)}, {line[1:]}' if first else line)
                    yield record

        with contextlib.nullcontext() if self.dump is None else replacing_dump(self.dump) as target:
            metrics = self.compute_report(once())
            if len(counted) != size:
                twice = [name for name, n in counted.items() if n > 1]
                raise UserError(
                    f'the split has {size} samples, but {len(counted)} different sample ids were '
                    'scored'
                    + (f'; seen more than once: {", ".join(twice[:5])}' if twice else '')
                    + '; ids must be unique within a split, and every sample must be predicted'
                )
        return metrics

    def compute_report(self, records: Iterator[dict[str, Any]]) -> dict[str, float]:
        """Adds up the records, fills `self.report`, logs the tables; -> the scalars that mmengine
        logs."""
        report = Report(self.protocol)
        for record in records:
            report.add(record)
        self.report = report.to_dict()
        for table in report.group_tables(self.category_beside) if self.tables else ():
            self.log(table)
        return report.scores()

    def compute_metrics(self, results: list) -> dict:
        """mmengine's hook, which `evaluate` here does without."""
        raise NotImplementedError

    def _open(self) -> Records:
        if self._records is None:
            self._records = Records() if self.dump is None else Lines(self.dump, self.run)
        return self._records

    @staticmethod
    def log(text: str) -> None:
        """Prints through mmengine's logger (the main process's only)."""
        print_log('\n' + text, logger='current', level=logging.INFO)

    @staticmethod
    def _on_main(work) -> Any:
        """What `work` gives, or the UserError that it raises, so that every rank can raise it."""
        try:
            return work()
        except UserError as error:
            return error

    @staticmethod
    def _or_raise(answer: Any) -> Any:
        if isinstance(answer, UserError):
            raise answer
        return answer
