"""Predict on flipped and turned pictures, too, each with the sentence that is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..directions import rewrite
from ..structures import RefSegDataSample
from ..symmetries import IDENTITY, Symmetry
from .symbols import RefSegOutputs


def predict_with_symmetries(
    model: BaseModel, data: dict[str, Any], symmetries: Sequence[Symmetry]
) -> list[RefSegDataSample]:
    """The samples of `data` with `pred_mask` from the mean of the logits over the symmetries.

    Each pass takes the batch flipped or turned, and each sentence rewritten (`directions.rewrite`);
    its logits (H, W), at the original size, are turned back; SAM's scores are averaged, too. A sentence that cannot be rewritten
    leaves the pass out of its mean. Every rank makes the same passes. `dense_prompt` is that of the
    picture as it is.

    Args:
        model: an RSRefSeg2.
        data: what its data preprocessor takes.
        symmetries: the identity first.
    """
    samples: list[RefSegDataSample] = []
    totals: list[Tensor] = []
    scores = _MeanScores()
    for symmetry in symmetries:
        texts = [rewrite(sample.text, symmetry) for sample in data['data_samples']]
        turned = [
            _turned(sample, text, symmetry)
            for sample, text in zip(data['data_samples'], texts, strict=True)
        ]
        images = [symmetry.maps(image, y=-2, x=-1) for image in data['inputs']]
        batch = model.data_preprocessor({**data, 'inputs': images, 'data_samples': turned})
        outputs = model(batch['inputs'])
        masks = model.masks(outputs.mask_logits, [s.ori_shape for s in turned])
        scores.add(outputs, [text is not None for text in texts])
        if symmetry == IDENTITY:
            first, samples, totals = outputs, batch['data_samples'], masks
            continue
        for number, (text, mask) in enumerate(zip(texts, masks, strict=True)):
            if text is not None:
                totals[number] = totals[number] + symmetry.inverse.maps(mask, y=-2, x=-1)
    means = [total / count for total, count in zip(totals, scores.counts(), strict=True)]
    return model.answer(scores.put_into(first), means, samples)


class _MeanScores:
    """The means of SAM's scores over the passes that read a sentence."""

    NAMES = ('iou_score', 'object_score')

    def __init__(self) -> None:
        self.passes: list[tuple[Tensor, dict[str, Tensor]]] = []

    def add(self, outputs: RefSegOutputs, read: list[bool]) -> None:
        """A pass, and of which of its B sentences it is true."""
        scores = {name: getattr(outputs, name) for name in self.NAMES}
        scores = {name: value.float() for name, value in scores.items() if value is not None}
        self.passes.append((torch.tensor(read, device=outputs.mask_logits.device), scores))

    def counts(self) -> list[int]:
        """Of each sentence the passes that read it."""
        return torch.stack([flags for flags, _ in self.passes]).sum(0).tolist()

    def put_into(self, outputs: RefSegOutputs) -> RefSegOutputs:
        """The outputs with the means in the place of their own scores."""
        read = torch.stack([flags for flags, _ in self.passes]).float()  # (passes, B)
        means = {
            name: (read * torch.stack([scores[name] for _, scores in self.passes])).sum(0)
            / read.sum(0)
            for name in self.passes[0][1]
        }
        return outputs._replace(**means)


def _turned(sample: RefSegDataSample, text: str | None, symmetry: Symmetry) -> RefSegDataSample:
    """What a pass reads of a sample; a refused sentence goes along unread."""
    if symmetry == IDENTITY:
        return sample
    shape = symmetry.shape(*sample.ori_shape)
    return RefSegDataSample(metainfo=dict(text=text or sample.text, ori_shape=shape))
