"""Scores where all objects are known (SynthRS, converted COCO files): by level, with the object-hit
rate beside chance, beside the baselines."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..datasets.writers import LAYOUTS, read_scenes
from ..errors import UserError
from ..evaluation import RefSegMetric, score_table, scores
from ..registry import METRICS
from .baselines import NAMES, baseline_scores
from .language import LEVELS

HIT_COLUMNS = ('object_hit', 'object_hit_chance')


@METRICS.register_module()
class SynthRSMetric(RefSegMetric):
    """RefSegMetric, and what the scene files allow to say beyond it.

    Samples are joined with the scene file by their id. The result stays flat, since mmengine logs
    scalars; `nested_scores` gives the form that is written to a file. Beside the scores of
    RefSegMetric it holds '{level}/{score}', '{level}/object_hit', '{level}/object_hit_chance',
    '{level}/n' and, with `baselines`, 'baseline/{name}' and 'baseline/{level}/{name}'.

    object_hit: percentage of samples where the target's visible mask shares more pixels with the
    prediction than every other object's; a prediction that touches no object, or two equally, is a
    miss. object_hit_chance: mean of 100 / (objects of the target's category in the scene), what
    someone reaches who knows the category alone.

    Args:
        data_root: the dataset's folder, with scenes_{split}.jsonl, as tools/synthrs_generate.py and
            `tools/data/convert.py coco` write it.
        layout: the layout whose reader gave the samples their ids.
        baselines: whether to score the baselines too (some seconds, they read the train split).
        name: of the data set, in the tables' titles.
    """

    def __init__(self, *, data_root: str = 'data/synthrs', split: str = 'test',
                 layout: str = 'rrsisd', baselines: bool = True, name: str = 'SynthRS',
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if layout not in LAYOUTS:
            raise ValueError(f'layout must be one of {tuple(LAYOUTS)}, got {layout!r}')
        self.root, self.split, self.layout = Path(data_root), split, layout
        self.baselines, self.name = baselines, name
        self._file = self.root / f'scenes_{split}.jsonl'
        if not self._file.is_file():
            raise UserError(f'{self._file} does not exist: run python tools/synthrs_generate.py '
                            f'--out {data_root} (converted data: tools/data/convert.py coco)')
        self._index: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._baselines: dict[str, dict[str, float]] | None = None

    def _find(self, sample_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """-> the scene and the sentence of a sample. Masks stay encoded in memory."""
        if not self._index:
            for scene in read_scenes(self.root, self.split):
                for sentence in scene['sentences']:
                    if self.layout not in sentence['keys']:
                        raise UserError(f"{self._file} has no ids for the layout '{self.layout}' "
                                        '(it was not generated): choose one of '
                                        f'{", ".join(sentence["keys"])}')
                    self._index[sentence['keys'][self.layout]] = scene, sentence
        if sample_id not in self._index:
            raise UserError(f"sample '{sample_id}' is not in {self._file} (layout {self.layout}): "
                            'score the split of the dataset that the file belongs to')
        return self._index[sample_id]

    def record(self, sample: dict) -> dict[str, Any]:
        """RefSegMetric's record, and level, object_hit (bool), object_hit_chance (0..1)."""
        pred, gt = (mask.cpu().numpy() for mask in self.masks(sample))
        scene, sentence = self._find(sample['sample_id'])
        objects, target = scene['objects'], sentence['target']
        masks = [coco_mask.decode(thing['rle']) > 0 for thing in objects]
        if gt.shape != masks[target].shape or (gt != masks[target]).any():
            raise UserError(f"sample '{sample['sample_id']}' has another mask in {self._file} than "
                            'in the dataset that was read: they come from different runs of '
                            'the tool that wrote them')
        overlaps = [int(np.count_nonzero(mask & pred)) for mask in masks]
        best = max(overlaps)
        same = sum(thing['category'] == objects[target]['category'] for thing in objects)
        return {**super().record(sample), 'level': sentence['level'],
                'object_hit': best > 0 and overlaps[target] == best and overlaps.count(best) == 1,
                'object_hit_chance': 1 / same}

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        metrics = super().compute_metrics(results)
        rows = {'all': self._group(results)}
        for level in LEVELS:
            records = [record for record in results if record['level'] == level]
            if records:
                rows[level] = self._group(records)
                metrics.update({f'{level}/{key}': value for key, value in rows[level].items()})
        self.log(score_table(rows, self.title(f'{self.name} by level'), head='level',
                             columns=('n', 'gIoU', 'cIoU', 'Pr@0.5', 'Pr@0.9', *HIT_COLUMNS)))
        if self.baselines:
            self._baselines = self._baselines or baseline_scores(self.root, self.split)
            for group, values in self._baselines.items():
                prefix = 'baseline' if group == 'all' else f'baseline/{group}'
                metrics.update({f'{prefix}/{name}': values[name] for name in NAMES})
            self._log_baselines(rows)
        return metrics

    @staticmethod
    def _group(records: list[dict[str, Any]]) -> dict[str, float]:
        return {**scores(records),
                **{key: 100 * sum(record[key] for record in records) / len(records)
                   for key in HIT_COLUMNS}, 'n': len(records)}

    def _log_baselines(self, rows: Mapping[str, Mapping[str, float]]) -> None:
        table = {'this model': {group: row['gIoU'] for group, row in rows.items()}}
        for name in NAMES:
            table[name] = {group: values[name] for group, values in self._baselines.items()}
        title = self.title(f'gIoU beside the baselines on the whole {self.split} split')
        self.log(score_table(table, title + '; the objects of the baselines are perfect masks, '
                             '"random" is the exact expectation', columns=tuple(rows)))


def nested_scores(metrics: Mapping[str, float]) -> dict[str, Any]:
    """The flat result of SynthRSMetric in the form of scores.json.

    -> the overall scores, and `by_level` {level: {score: value}}, `baselines` {name: gIoU},
    `baselines_by_level` {level: {name: gIoU}}.
    """
    nested: dict[str, Any] = {}
    for key, value in metrics.items():
        head, *tail = key.split('/')
        if head in LEVELS and len(tail) == 1:
            nested.setdefault('by_level', {}).setdefault(head, {})[tail[0]] = value
        elif head == 'baseline' and len(tail) == 1:
            nested.setdefault('baselines', {})[tail[0]] = value
        elif head == 'baseline' and len(tail) == 2:
            nested.setdefault('baselines_by_level', {}).setdefault(tail[0], {})[tail[1]] = value
        else:
            nested[key] = value
    return nested
