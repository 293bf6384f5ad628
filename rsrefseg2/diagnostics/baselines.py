"""What needs no model: scores of answers that read little or nothing of the sentence.

All read the scene files alone and are scored under the protocol `paper` (original size, both empty:
0). The objects' masks are the perfect ones. Sentences that name several objects or none are left
out. `random object` and `random object of the category` are
exact expectations over the objects, not one draw.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..datasets.scene_files import read_scenes, single_target
from ..rle import decode

NAMES = (
    'whole image',
    'largest object',
    'random object',
    'random object of the category',
    'text only',
)
WHERE = 'an object of scenes_*.jsonl'  # for messages
CELLS = 32  # the text-only maps have 32 x 32 cells
STEPS = 400  # thresholds 1/400 ... 199/400 are tried on train
MAX_FIT = 4000  # sentences of the train split that the choice looks at


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def _pairs(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """(sentence, its target's mask (H, W) bool) of a scene, of the sentences with one target."""
    for sentence in record['sentences']:
        if (target := single_target(sentence)) is not None:
            yield sentence, decode(record['objects'][target]['rle'], location=WHERE)


class TextOnly:
    """The mean training mask of the sentence's words, thresholded; it never sees an image.

        p = 1/|S| sum_{w in S} 1/N_w sum_{i: w in S_i} mask_i,    prediction = p > t

    Masks are averaged over CELLS x CELLS cells of any image and the prediction is enlarged
    bilinearly. A word that was never trained counts as the mean of all masks. t is the threshold
    with the best gIoU on (the first MAX_FIT sentences of) the train split.
    """

    def __init__(self, root: Path) -> None:
        sums: dict[str, np.ndarray] = {}
        counts: collections.Counter[str] = collections.Counter()
        total, number = np.zeros(1), 0
        for record in read_scenes(root, 'train'):
            for sentence, mask in _pairs(record):
                small = _shrink(mask)
                total, number = total + small, number + 1
                for word in set(sentence['text'].split()):
                    sums[word] = sums.get(word, 0) + small
                    counts[word] += 1
        if not number:
            raise ValueError(f'the train split of {root} has no sentence: no words to average')
        self._mean = total / number
        self._maps = {word: value / counts[word] for word, value in sums.items()}
        self.threshold = self._fit(root)

    def _probability(self, text: str, shape: tuple[int, int]) -> np.ndarray:
        words = text.split()
        maps = (self._maps.get(word, self._mean) for word in words)
        small = sum(maps, np.zeros_like(self._mean)) / len(words)
        return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)

    def predict(self, text: str, shape: tuple[int, int]) -> np.ndarray:
        """-> bool of this shape (H, W)."""
        return self._probability(text, shape) > self.threshold

    def _fit(self, root: Path) -> float:
        bins, seen = STEPS // 2, 0
        score = np.zeros(bins - 1)
        for record in read_scenes(root, 'train'):
            for sentence, mask in _pairs(record):
                probability = self._probability(sentence['text'], mask.shape)
                # How many thresholds lie below each pixel: two histograms serve all of them.
                below = np.clip(np.ceil(probability * STEPS) - 1, 0, bins - 1).astype(np.int64)
                predicted, hits = (
                    np.bincount(values, minlength=bins)[::-1].cumsum()[::-1][1:]
                    for values in (below.ravel(), below[mask])
                )
                score += hits / (predicted + mask.sum() - hits)
                seen += 1
            if seen >= MAX_FIT:
                break
        return (1 + int(score.argmax())) / STEPS


def _shrink(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask.astype(np.float64), (CELLS, CELLS), interpolation=cv2.INTER_AREA)


def _scene_scores(record: dict[str, Any], text_only: TextOnly) -> Iterator[dict[str, Any]]:
    """Per sentence with one target its level and the (expected) IoU of every baseline."""
    objects = record['objects']
    masks = [decode(thing['rle'], location=WHERE) for thing in objects]
    largest = max(range(len(objects)), key=lambda index: objects[index]['area'])
    for sentence in record['sentences']:
        number = single_target(sentence)
        if number is None:
            continue
        target = masks[number]
        ious = [_iou(mask, target) for mask in masks]
        same = [
            iou
            for iou, thing in zip(ious, objects)
            if thing['category'] == objects[number]['category']
        ]
        yield {
            'level': sentence['level'],
            'whole image': float(target.mean()),
            'largest object': ious[largest],
            'random object': float(np.mean(ious)),
            'random object of the category': float(np.mean(same)),
            'text only': _iou(text_only.predict(sentence['text'], target.shape), target),
        }


def baseline_scores(
    root: Path, split: str, *, text_only: TextOnly | None = None
) -> dict[str, dict[str, float]]:
    """gIoU in percent of every baseline: {'all' | level: {baseline: gIoU}}; empty where no sentence
    has one target."""
    groups: dict[str, list[dict[str, Any]]] = {'all': []}
    for record in read_scenes(root, split):
        if all(single_target(sentence) is None for sentence in record['sentences']):
            continue
        text_only = text_only or TextOnly(root)
        for row in _scene_scores(record, text_only):
            groups['all'].append(row)
            groups.setdefault(row['level'], []).append(row)
    return {
        group: {name: 100 * float(np.mean([row[name] for row in rows])) for name in NAMES}
        for group, rows in groups.items()
        if rows
    }
