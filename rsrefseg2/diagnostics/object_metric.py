"""Scores where all objects are known (SynthRS, converted COCO files): by level, with the object-hit
rate beside chance, beside the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..dataprep.layouts import LAYOUTS
from ..datasets.scene_files import read_scenes, single_target, targets_of
from ..errors import UserError
from ..evaluation import RefSegMetric, score_table
from ..registry import METRICS
from ..rle import decode
from .baselines import NAMES, baseline_scores


def hit_object(pred: np.ndarray, masks: Sequence[np.ndarray]) -> int | None:
    """The index of the mask that shares most pixels with `pred`, (H, W) bool as each of them; None
    if it touches none, or two equally."""
    overlaps = [int(np.count_nonzero(mask & pred)) for mask in masks]
    best = max(overlaps)
    return overlaps.index(best) if best and overlaps.count(best) == 1 else None


@METRICS.register_module()
class ObjectHitMetric(RefSegMetric):
    """RefSegMetric, and what the scene files allow to say beyond it.

    Samples are joined with the scene file by their id. The report also holds the scores by level
    and by the rule that made the sentence and, with `baselines`, theirs.

    object_hit: percentage of samples where the target's visible mask shares more pixels with the
    prediction than every other object's; a prediction that touches no object, or two equally, is a
    miss. object_hit_chance: mean of 100 / (objects of the target's category in the scene), what
    someone reaches who knows the category alone. Both, and the baselines, leave out the sentences
    that name several objects or none.

    Args:
        data_root: the dataset's folder, with scenes_{split}.jsonl, as tools/synthrs_generate.py and
            `tools/data/convert.py coco` write it.
        layout: the layout whose reader gave the samples their ids.
        baselines: whether to score the baselines too (some seconds, they read the train split).
    """

    SCORES: ClassVar[str] = rf'{RefSegMetric.SCORES}|object_hit|object_hit_chance|\w+_hit'

    def __init__(
        self,
        *,
        data_root: str = 'data/synthrs',
        split: str = 'test',
        layout: str = 'rrsisd',
        baselines: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if layout not in LAYOUTS:
            raise UserError(f'layout is one of {", ".join(LAYOUTS)}, not {layout!r}')
        self.root, self.split, self.layout = Path(data_root), split, layout
        self.baselines = baselines
        self.file = self.root / f'scenes_{split}.jsonl'
        if not self.file.is_file():
            raise UserError(
                f'{self.file} does not exist: run python tools/synthrs_generate.py '
                f'--out {data_root} (converted data: tools/data/convert.py coco)'
            )
        self._index: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._baselines: dict[str, dict[str, float]] | None = None

    def _find(self, sample_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """-> the scene and the sentence of a sample. Masks stay encoded in memory."""
        if not self._index:
            for scene in read_scenes(self.root, self.split):
                for sentence in scene['sentences']:
                    if self.layout not in sentence['keys']:
                        raise UserError(
                            f"{self.file} has no ids for the layout '{self.layout}' "
                            '(it was not generated): choose one of '
                            f'{", ".join(sentence["keys"])}'
                        )
                    self._index[sentence['keys'][self.layout]] = scene, sentence
        if sample_id not in self._index:
            raise UserError(
                f"sample '{sample_id}' is not in {self.file} (layout {self.layout}): "
                'score the split of the dataset that the file belongs to'
            )
        return self._index[sample_id]

    def record(self, sample: dict) -> dict[str, Any]:
        """RefSegMetric's record, and level, rule ('position: corner'); of a sentence with one target
        also object_hit (bool), object_hit_chance (0..1)."""
        pred, gt = self.masks(sample)
        scene, sentence = self._find(sample['sample_id'])
        objects, target = scene['objects'], single_target(sentence)
        masks = [decode(thing['rle'], location=str(self.file)) for thing in objects]
        named = np.zeros_like(masks[0])
        for number in targets_of(sentence):
            named |= masks[number]
        if gt.shape != named.shape or (gt != named).any():
            raise UserError(
                f"sample '{sample['sample_id']}' has another mask in {self.file} than "
                'in the dataset that was read: they come from different runs of '
                'the tool that wrote them'
            )
        record = {
            **super().record(sample),
            'level': sentence['level'],
            'rule': f'{sentence["level"]}: {sentence["kind"]}',
        }
        if target is None:
            return record
        same = sum(thing['category'] == objects[target]['category'] for thing in objects)
        return {
            **record,
            'object_hit': hit_object(pred, masks) == target,
            'object_hit_chance': 1 / same,
        }

    def compute_report(self, records: Iterator[dict[str, Any]]) -> dict[str, float]:
        """RefSegMetric's, and the object-hit rate of each level; the report also holds `baselines`
        {name: gIoU} and `baselines_by_level` {level: {name: gIoU}}, of sentences with one target."""
        metrics = super().compute_report(records)
        if self.baselines:
            self._baselines = self._baselines or baseline_scores(self.root, self.split)
        if self._baselines:  # none where every sentence names several objects, or none
            by_level = {
                group: values for group, values in self._baselines.items() if group != 'all'
            }
            self.report.update(baselines=self._baselines['all'], baselines_by_level=by_level)
            self._log_baselines(self._baselines)
        # For the curves of a training that validates with it.
        return {
            **metrics,
            **{
                f'{level}_hit': scores['object_hit']
                for level, scores in self.report['by_level'].items()
                if 'object_hit' in scores
            },
        }

    def _log_baselines(self, baselines: dict[str, dict[str, float]]) -> None:
        rows = {'all': self.report, **self.report['by_level']}
        if not rows.keys() <= baselines.keys():  # 'all' would be of other sentences than theirs
            rows = {group: rows[group] for group in self.report['by_level'] if group in baselines}
        table = {'this model': {group: row['gIoU'] for group, row in rows.items()}}
        for name in NAMES:
            table[name] = {group: values[name] for group, values in baselines.items()}
        self.log(
            score_table(
                table,
                f'gIoU beside the baselines on the whole {self.split} split, protocol '
                f'`{self.protocol.name}`; the objects of the baselines are perfect masks, "random" is '
                'the exact expectation',
                columns=tuple(rows),
            )
        )
