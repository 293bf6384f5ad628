"""Predict on flipped and turned pictures, too, each with the sentence that is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from ..directions import rewrite
from ..structures import RefSegDataSample
from ..symmetries import IDENTITY, Symmetry


def predict_with_symmetries(
    model: BaseModel, data: dict[str, Any], symmetries: Sequence[Symmetry]
) -> list[RefSegDataSample]:
    """The samples of `data` with `pred_mask` from the mean of the logits over the symmetries.

    Each pass takes the batch flipped or turned, and each sentence rewritten (`directions.rewrite`);
    its logits (H, W), at the original size, are turned back. A sentence that cannot be rewritten
    leaves the pass out of its mean. Every rank makes the same passes. `dense_prompt` is that of the
    picture as it is.

    Args:
        model: an RSRefSeg2.
        data: what its data preprocessor takes.
        symmetries: the identity first.
    """
    samples: list[RefSegDataSample] = []
    totals: list[Tensor] = []
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
        if symmetry == IDENTITY:
            samples, totals = model.predict(outputs, batch['data_samples']), masks
            continue
        for number, (text, mask) in enumerate(zip(texts, masks, strict=True)):
            if text is not None:
                totals[number] = totals[number] + symmetry.inverse.maps(mask, y=-2, x=-1)
    for sample, total in zip(samples, totals, strict=True):
        sample.pred_mask = total > 0  # as of the mean
    return samples


def _turned(sample: RefSegDataSample, text: str | None, symmetry: Symmetry) -> RefSegDataSample:
    """What a pass reads of a sample; a refused sentence goes along unread."""
    if symmetry == IDENTITY:
        return sample
    shape = symmetry.shape(*sample.ori_shape)
    return RefSegDataSample(metainfo=dict(text=text or sample.text, ori_shape=shape))
