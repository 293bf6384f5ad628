"""What the zero-shot baselines share: the calls of `RSRefSeg2` that a test and a Predictor use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from ...errors import UserError
from ...registry import MODELS
from ...structures import RefSegDataSample
from ..losses.segmentation import upsample_each
from ..placements import Placement

NOT_TRAINED = 'which is not trained'
INSTEAD = 'test it with tools/test.py CONFIG, or ask it with tools/predict.py --config CONFIG'
EMPTY = -20.0  # logit of a mask that is held back


class ZeroShotOutputs(NamedTuple):
    """The answers to B sentences. Places are shares of the image's sides, from 0 to 1."""

    mask_logits: Tensor  # (B, h, w), over the whole image
    scores: Tensor | None = None  # (B,) from 0 to 1, the model's own
    boxes: Tensor | None = None  # (B, 4) x1, y1, x2, y2: what SAM was given, or the model's own
    points: Tensor | None = None  # (B, 2) x, y: what SAM was given
    p_dense: Tensor | None = None  # (B, h, w) logits: the map that a place was read from


class ZeroShotModel(BaseModel):
    """A model that answers sentences by public weights alone: its config is tested and asked
    without a checkpoint, and it cannot be trained.

    A subclass defines `encode_images` (images alone) and `segment` (sentences on them).

    Args:
        data_preprocessor: made by the subclass.
    """

    cfg: Config | None = None  # the whole config, of a model that `engine.load_model` made
    known_words: frozenset[str] | None = None
    whole_view = presence_threshold = None
    test_placements: tuple[Placement, ...] = ()
    score_heads: tuple[str, ...] = ()
    input_size: tuple[int, int]  # (H, W) that an image is squashed to, at least about
    mask_size: tuple[int, int]  # (h, w) of the mask's logits

    def __init__(self, data_preprocessor: nn.Module | dict) -> None:
        super().__init__(data_preprocessor)

    def encode_images(self, first: Any, images_sam: Tensor | None) -> Any:
        """What the preprocessor's `images` gave of U images -> what depends on them alone."""
        raise NotImplementedError

    def segment(
        self,
        images: Any,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> ZeroShotOutputs:
        """B sentences on U encoded images; image_index (B,) into U, ids (B, L), lengths (B,).
        dense_prior (B, h, w) is added to p_dense, where there is one."""
        raise NotImplementedError

    def forward(
        self,
        inputs: Any,
        data_samples: list[RefSegDataSample] | None = None,
        mode: Literal['tensor', 'predict', 'loss'] = 'tensor',
    ) -> ZeroShotOutputs | list[RefSegDataSample]:
        """'tensor': the answers; 'predict': the samples with them.

        Raises:
            UserError: 'loss': nothing is trained.
        """
        if mode == 'loss':
            raise UserError(f'{type(self).__name__} is a zero-shot model, {NOT_TRAINED}: {INSTEAD}')
        images = self.encode_images(*inputs[:2])
        outputs = self.segment(images, inputs.image_index, inputs.input_ids, inputs.lengths)
        if mode == 'tensor' or data_samples is None:
            return outputs
        return self.predict(outputs, data_samples)

    def predict(
        self, outputs: ZeroShotOutputs, data_samples: list[RefSegDataSample]
    ) -> list[RefSegDataSample]:
        """Give each sample `pred_mask` (H, W) bool at its original size, and where there are any
        `score`, `box` and `point` in pixels of the image, `dense_prompt`."""
        masks = self.masks(outputs.mask_logits, [sample.ori_shape for sample in data_samples])
        for i, (sample, mask) in enumerate(zip(data_samples, masks, strict=True)):
            height, width = sample.ori_shape
            sides = mask.new_tensor([width, height])
            sample.pred_mask = mask > 0
            if outputs.scores is not None:
                sample.score = outputs.scores[i].float()
            if outputs.boxes is not None:
                sample.box = outputs.boxes[i].float() * sides.repeat(2)
            if outputs.points is not None:
                sample.point = outputs.points[i].float() * sides
            if outputs.p_dense is not None:
                sample.dense_prompt = outputs.p_dense[i].float()
        return data_samples

    def masks(self, mask_logits: Tensor, ori_shapes: list[tuple[int, int]]) -> list[Tensor]:
        """(B, h, w) -> B times (H, W) logits, upsampled to the original sizes."""
        return upsample_each(self.without_border(mask_logits, ori_shapes), ori_shapes)

    def without_border(
        self, mask_logits: Tensor, ori_shapes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """(B, h, w) -> B times (h, w): there is no border.

        Raises:
            UserError: a logit is NaN, of which `> 0` would make an empty mask.
        """
        if mask_logits.isnan().any():
            raise UserError(
                f"{type(self).__name__}'s mask logits are NaN: its weights are damaged: fetch them "
                'again'
            )
        return list(mask_logits)


def is_zero_shot(model: Mapping) -> bool:
    """Whether a config's `model` names a zero-shot model."""
    kind = MODELS.get(model['type'])
    return isinstance(kind, type) and issubclass(kind, ZeroShotModel)


def refuse_zero_shot(model: Mapping, why: str) -> None:
    """Raises a UserError where a config's `model` names a zero-shot model."""
    if is_zero_shot(model):
        raise UserError(f'{model["type"]} is a zero-shot model, {why}: {INSTEAD}')


def hold_back(mask_logits: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """(B, h, w): the masks whose score (B,) is below the threshold are empty."""
    return torch.where((scores < threshold)[:, None, None], EMPTY, mask_logits)
