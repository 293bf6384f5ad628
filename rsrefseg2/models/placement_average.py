"""Predict on flipped, turned and moved pictures, too, each with the sentence that is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..directions import rewrite
from ..structures import RefSegDataSample
from .losses.predicted_iou import drawn_iou
from .losses.segmentation import upsample, upsample_each
from .placements import Placement
from .symbols import RefSegOutputs, at_least_float32

ROUNDS = 2  # of `agreed_mean`; a third changes no more than 0.1 of gIoU


def agreed_mean(passes: Sequence[Tensor], agreement: float, size: tuple[int, int]) -> Tensor:
    """K times (h, w) logits of one sentence -> (h, w), their mean, in which each pass weighs as much
    as it agrees with it: w_k = IoU(pass k > 0, mean > 0) ** agreement, the mean taken anew with w,
    twice. With 0 it is the plain mean, as it is where no pass meets it. Two empty masks agree.

    A few passes that drew another object then take less of the mask away.

    Args:
        size: (H, W) at which masks are compared.
    """
    logits = at_least_float32(torch.stack(list(passes)))
    mean = logits.mean(0)
    if agreement == 0 or len(logits) == 1:
        return mean
    fine = upsample(logits, size)
    for _ in range(ROUNDS):
        iou = drawn_iou(fine, upsample(mean[None], size) > 0, empty=1.0)
        # where no pass meets the mean, all weigh the same
        weights = iou**agreement + torch.finfo(iou.dtype).tiny
        mean = torch.tensordot(weights / weights.sum(), logits, 1)
    return mean


def predict_with_placements(
    model: BaseModel, data: dict[str, Any], placements: Sequence[Placement]
) -> list[RefSegDataSample]:
    """The samples of `data` with `pred_mask` from the mean of the logits over the placements.

    Each pass takes the batch flipped, turned or moved, and each sentence rewritten
    (`directions.rewrite`); its logits are brought back to the picture as it is, and their
    `agreed_mean` to the original size. SAM's scores are averaged, too. A sentence that cannot be
    rewritten leaves the pass out of its mean. Every rank makes the same passes. `dense_prompt` is
    that of the picture as it is.

    Args:
        model: an RSRefSeg2; its `test_agreement` is that of `agreed_mean`.
        data: what its data preprocessor takes.
        placements: the picture as it is first.
    """
    samples: list[RefSegDataSample] = []
    passes: list[list[Tensor]] = [[] for _ in data['data_samples']]
    scores = _MeanScores()
    for placement in placements:
        texts = [rewrite(sample.text, placement.symmetry) for sample in data['data_samples']]
        turned = [
            _turned(sample, text, placement)
            for sample, text in zip(data['data_samples'], texts, strict=True)
        ]
        images = [placement.picture(image, y=1, x=2) for image in data['inputs']]
        batch = model.data_preprocessor({**data, 'inputs': images, 'data_samples': turned})
        outputs = model(batch['inputs'])
        maps = model.without_border(outputs.mask_logits, [s.ori_shape for s in turned])
        scores.add(outputs, [text is not None for text in texts])
        if placement == Placement():
            first, samples = outputs, batch['data_samples']
        for found, sample, text, one in zip(passes, data['data_samples'], texts, maps, strict=True):
            if text is not None:
                found.append(back_from(model, placement, one, sample.ori_shape))
    means = [
        mean_of(model, found, sample.ori_shape)
        for found, sample in zip(passes, samples, strict=True)
    ]
    masks = upsample_each(means, [sample.ori_shape for sample in samples])
    return model.answer(scores.put_into(first), masks, samples)


def back_from(
    model: BaseModel, placement: Placement, logits: Tensor, shape: tuple[int, int]
) -> Tensor:
    """(h, w) logits of a placed picture of `shape` (H, W) -> (h, w) that cover the picture as it is,
    as large as `model.mask_size` makes them."""
    return placement.back(
        logits, shape, model.data_preprocessor.content_size(shape, model.mask_size[0])
    )


def mean_of(model: BaseModel, passes: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """The `agreed_mean` of what `back_from` gave, masks compared at the size of SAM's picture."""
    size = model.data_preprocessor.content_size(shape, model.input_size[0])
    return agreed_mean(passes, model.test_agreement, size)


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

    def put_into(self, outputs: RefSegOutputs) -> RefSegOutputs:
        """The outputs with the means in the offset of their own scores."""
        read = torch.stack([flags for flags, _ in self.passes]).float()  # (passes, B)
        means = {
            name: (read * torch.stack([scores[name] for _, scores in self.passes])).sum(0)
            / read.sum(0)
            for name in self.passes[0][1]
        }
        return outputs._replace(**means)


def _turned(sample: RefSegDataSample, text: str | None, placement: Placement) -> RefSegDataSample:
    """What a pass reads of a sample; a refused sentence goes along unread."""
    if placement == Placement():
        return sample
    shape = placement.shape(*sample.ori_shape)
    return RefSegDataSample(metainfo=dict(text=text or sample.text, ori_shape=shape))
