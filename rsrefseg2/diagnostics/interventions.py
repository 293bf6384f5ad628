"""Failures made on purpose, so that their cause is known: is the right cause found?

    exchange             where  the answer to the sentence of another object of the scene
    erode, dilate        how    the decoder's mask logits, upsampled to the original size, shrink
                                or grow by a disc
    shift                how    they move, in a direction of its own for each sample
    exchange + erode ..  both   the two together

The dense prompt stays what it was. Only samples that the model gets right (IoU > 0.5) are changed,
and a sentence is exchanged only where both are answered right: else the cause would not be known.
What an intervention leaves right is counted apart, as it has no cause.

A mask that was moved farther than its object is wide lies elsewhere, as after a 'where' error; it
is counted as 'how', by its cause: the model pointed at the target all along. From the prediction
alone the two are the same picture, so there the curve of `shift` has to fall.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, permutations
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from ..datasets import RefSegDataset, unique_images_collate
from ..errors import UserError
from ..evaluation import (
    CAUSES,
    Thresholds,
    cause_from_masks,
    cause_from_prompt,
    coarse_localisation,
    fails,
    fit_thresholds,
    mask_agreement,
    mask_localisation,
    score_table,
)
from ..models import RSRefSeg2
from ..models.rsrefseg2 import require_rsrefseg2
from ..models.symbols import Prompts, RefSegOutputs
from ..structures import RefSegDataSample

PIXELS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # strengths, in pixels of the original image
DISTANCES = (16, 32, 48, 64, 96)  # from target to target: lower ends of bins; nearer: 16
DEFINITIONS = ('dense prompt', 'prediction')


class Answer(NamedTuple):
    """One sample and what the model says of it, as arrays."""

    sample_id: str
    gt: np.ndarray  # (H, W) bool
    logits: np.ndarray  # (H, W) float32, mask logits at the original size
    dense_prompt: np.ndarray  # (h, w) float32

    def record(self) -> dict[str, Any]:
        """intersection, union, coarse_localisation, mask_agreement."""
        pred = self.logits > 0
        return dict(
            zip(('intersection', 'union'), overlap(pred, self.gt), strict=True),
            coarse_localisation=coarse_localisation(self.dense_prompt, self.gt),
            mask_agreement=mask_agreement(self.dense_prompt, pred),
        )


def overlap(pred: np.ndarray, gt: np.ndarray) -> tuple[int, int]:
    """Intersection and union of two masks (H, W) bool, in pixels."""
    return int(np.count_nonzero(pred & gt)), int(np.count_nonzero(pred | gt))


# ---------------------------------------------------------------------- what is done to the logits


def erode(logits: np.ndarray, pixels: int, sample_id: str) -> np.ndarray:
    """(H, W) -> (H, W): each pixel takes the lowest logit within a disc. What lies outside of the
    image does not count."""
    return cv2.erode(logits, disc(pixels))


def dilate(logits: np.ndarray, pixels: int, sample_id: str) -> np.ndarray:
    """As `erode`, the highest."""
    return cv2.dilate(logits, disc(pixels))


def disc(pixels: int) -> np.ndarray:
    """The pixels of a square whose centres are at most `pixels` away from the middle one."""
    steps = np.arange(-pixels, pixels + 1)
    return (steps[:, None] ** 2 + steps**2 <= pixels**2).astype(np.uint8)


def shift(logits: np.ndarray, pixels: int, sample_id: str) -> np.ndarray:
    """Moved in a direction that depends on the sample's id alone; the lowest logit moves in."""
    turn = 2 * np.pi * zlib.crc32(sample_id.encode()) / 2**32
    right, down = round(pixels * np.cos(turn)), round(pixels * np.sin(turn))
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(
        logits,
        move,
        logits.shape[::-1],
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float(logits.min()),
    )


DISTORTIONS: dict[str, Callable[[np.ndarray, int, str], np.ndarray]] = {
    'erode': erode,
    'dilate': dilate,
    'shift': shift,
}


# ---------------------------------------------------------------------- measuring


class Attributions:
    """Counts what each definition says of each intervention at each strength."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.counts: dict[tuple[str, str, str, int], Counter[str]] = {}

    def add(
        self,
        intervention: str,
        truth: str,
        pixels: int,
        *,
        pred: np.ndarray,
        gt: np.ndarray,
        c: float | None,
        q: float | None,
    ) -> None:
        """Counts one changed answer: pred, gt (H, W) bool; c, q of the definition."""
        failed = fails(*overlap(pred, gt))
        for definition in DEFINITIONS:
            if definition == 'prediction' and truth == 'both':
                continue  # which it does not know
            key = definition, intervention, truth, pixels
            counts = self.counts.setdefault(key, Counter())
            counts['changed'] += 1
            if failed:
                counts['failures'] += 1
                counts[
                    cause_from_prompt(c, q, self.thresholds)
                    if definition == 'dense prompt'
                    else cause_from_masks(mask_localisation(pred, gt))
                ] += 1

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """definition -> rows: 'intervention', 'truth', 'pixels', the counts 'changed', 'failures'
        and of each cause, 'failed' (% of the changed), 'correct' (% of the failures; None: none)."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in DEFINITIONS}
        for (definition, intervention, truth, pixels), n in sorted(self.counts.items()):
            rows[definition].append(
                dict(
                    intervention=intervention,
                    truth=truth,
                    pixels=pixels,
                    changed=n['changed'],
                    failures=n['failures'],
                    **{cause: n[cause] for cause in CAUSES},
                    failed=100 * n['failures'] / n['changed'],
                    correct=100 * n[truth] / n['failures'] if n['failures'] else None,
                )
            )
        return rows


def measure_interventions(scenes: Iterable[list[Answer]], thresholds: Thresholds) -> dict[str, Any]:
    """Changes what the model gets right and asks for the cause.

    Args:
        scenes: the answers of one scene at a time.
        thresholds: from another split.
    Returns:
        'samples', 'right', 'pairs' (of exchanged sentences), 'interventions' (see
        `Attributions.to_dict`).
    """
    attributions = Attributions(thresholds)
    counts: Counter[str] = Counter()
    for answers in scenes:
        right = [a for a in answers if not fails(*overlap(a.logits > 0, a.gt))]
        counts.update(samples=len(answers), right=len(right))
        changed = {a.sample_id: _distortions(a) for a in right}
        for a in right:
            c = coarse_localisation(a.dense_prompt, a.gt)
            for name, pixels, pred, q in changed[a.sample_id]:
                attributions.add(name, 'how', pixels, pred=pred, gt=a.gt, c=c, q=q)
        for a, b in permutations(right, 2):  # a's target, b's sentence
            if (a.gt & b.gt).any():  # the same object under another sentence
                continue
            counts['pairs'] += 1
            c, pred = coarse_localisation(b.dense_prompt, a.gt), b.logits > 0
            attributions.add(
                'exchange',
                'where',
                _distance(a.gt, b.gt),
                pred=pred,
                gt=a.gt,
                c=c,
                q=mask_agreement(b.dense_prompt, pred),
            )
            for name, pixels, pred, q in changed[b.sample_id]:
                attributions.add(f'exchange + {name}', 'both', pixels, pred=pred, gt=a.gt, c=c, q=q)
    totals = {key: counts[key] for key in ('samples', 'right', 'pairs')}
    return {**totals, 'interventions': attributions.to_dict()}


def intervention_tables(result: dict[str, Any]) -> list[str]:
    """Text tables of `measure_interventions`, one for each definition."""
    tables = []
    for definition, rows in result['interventions'].items():
        lines: dict[str, dict[str, Any]] = {}
        for row in rows:
            lines[f'{row["intervention"]}, {row["pixels"]} px'] = {
                **row,
                'correct, %': row['correct'],
            }
        exchanged = [row for row in rows if row['intervention'] == 'exchange']
        if exchanged:
            total = {
                key: sum(row[key] for row in exchanged) for key in ('changed', 'failures', *CAUSES)
            }
            lines['exchange, any distance'] = {
                **total,
                'truth': 'where',
                'correct, %': 100 * total['where'] / max(1, total['failures']),
            }
        tables.append(
            score_table(
                lines,
                f'Interventions on the {result["right"]} of {result["samples"]} samples that '
                f'are right, {result["pairs"]} pairs of sentences; cause from the {definition}',
                columns=('truth', 'changed', 'failures', *CAUSES, 'correct, %'),
            )
        )
    return tables


def _distortions(answer: Answer) -> list[tuple[str, int, np.ndarray, float | None]]:
    """(name, pixels, mask, its agreement with the dense prompt) of every distortion."""
    found = []
    for name, distort in DISTORTIONS.items():
        for pixels in PIXELS:
            pred = distort(answer.logits, pixels, answer.sample_id) > 0
            found.append((name, pixels, pred, mask_agreement(answer.dense_prompt, pred)))
    return found


def _distance(first: np.ndarray, second: np.ndarray) -> int:
    """The bin of the distance of two masks' centres."""
    centres = [np.argwhere(mask).mean(0) for mask in (first, second)]
    distance = np.linalg.norm(centres[0] - centres[1])
    return max((low for low in DISTANCES if low <= distance), default=DISTANCES[0])


# ---------------------------------------------------------------------- the model's answers


def measure_thresholds(scenes: Iterable[list[Answer]], source: str) -> Thresholds:
    """From the model's own successes on a split."""
    return fit_thresholds((answer.record() for answers in scenes for answer in answers), source)


def answer_scenes(model: RSRefSeg2, dataset: RefSegDataset) -> Iterator[list[Answer]]:
    """The model's answers, scene by scene."""
    for outputs, samples in run_scenes(model, dataset):
        logits = model.masks(outputs.mask_logits, [s.ori_shape for s in samples])
        crop = model.data_preprocessor.crop_border
        yield [
            Answer(
                s.sample_id,
                s.gt_mask.cpu().numpy(),
                mask.float().cpu().numpy(),
                crop(dense, s.ori_shape).float().cpu().numpy(),
            )
            for s, mask, dense in zip(samples, logits, dense_of(outputs.prompts), strict=True)
        ]


def dense_of(prompts: Prompts) -> torch.Tensor:
    """p_dense (B, H2/4, W2/4).

    Raises:
        UserError: the model has none, so nothing says where it pointed.
    """
    if prompts.p_dense is None:
        raise UserError('the model has no dense prompt: nothing says where it points')
    return prompts.p_dense


def run_scenes(
    model: RSRefSeg2, dataset: RefSegDataset
) -> Iterator[tuple[RefSegOutputs, list[RefSegDataSample]]]:
    """Every symbol by name, and the samples, one scene at a time.

    Raises:
        UserError: another model than RSRefSeg2, or it has no dense prompt, so nothing says where it pointed.
    """
    require_rsrefseg2(model, 'this analysis')
    if model.prompter.dense is None:
        raise UserError('the model has no dense prompt: nothing says where it points')
    order = sorted(range(len(dataset)), key=dataset.image_key)
    for _, indices in groupby(order, key=dataset.image_key):
        batch = unique_images_collate(dataset.__getitems__(list(indices)))
        with torch.inference_mode():
            data = model.data_preprocessor(batch)
            outputs = model(data['inputs'], mode='tensor')
        yield outputs, data['data_samples']
