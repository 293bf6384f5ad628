"""The model without its prompter (Fig. 2): SigLIP's own map says where, SAM draws there."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from ...bounds import Fraction
from ...registry import MODELS
from ..dual_modality_encoder import DualModalityEncoder
from ..mask_generator import MaskGenerator
from ..prompter.dense_prompt import upsampled_cosine
from ..rsrefseg2 import inputs_of
from ..symbols import EncodedImages
from .sam_prompts import draw
from .zero_shot_model import ZeroShotModel, ZeroShotOutputs


@MODELS.register_module()
class SigLIPMap(ZeroShotModel):
    """m = s cos(up(v), t_sent) + b; mask_logits = SAM(I_2, prompt(m)).

    v and t_sent are Eq. 2's, s and b SigLIP's own. m is `p_dense`, its probability at the peak the
    score. Parts: `encoder`, `mask_generator`, as in `RSRefSeg2`.

    Args:
        siglip, sam: arguments of `DualModalityEncoder` and `MaskGenerator`.
        prompt: 'point': the peak of m. 'box': the box around the part of m that holds the peak and
            lies above min + threshold (max - min).
        threshold: of 'box'.
    Raises:
        ValueError: another prompt.
        UserError: a checkpoint is not available, or of another kind.
    """

    def __init__(
        self,
        *,
        siglip: dict,
        sam: dict,
        prompt: Literal['point', 'box'] = 'point',
        threshold: Fraction = 0.5,
    ) -> None:
        if prompt not in ('point', 'box'):
            raise ValueError(f"prompt is 'point' or 'box', not {prompt!r}")
        encoder, mask_generator = DualModalityEncoder(**siglip), MaskGenerator(**sam)
        super().__init__(
            dict(
                type='rsrefseg2.RefSegDataPreprocessor',
                tokenizer=siglip['checkpoint'],
                init='pretrained',
                **inputs_of(encoder, mask_generator),
            )
        )
        self.encoder = encoder.requires_grad_(False)
        self.mask_generator = mask_generator.requires_grad_(False)
        self.prompt, self.threshold = prompt, threshold
        self.input_size, self.mask_size = mask_generator.input_size, mask_generator.prompt_size

    def encode_images(self, first: Tensor, images_sam: Tensor | None) -> EncodedImages:
        """I_1 (U, 3, H1, W1), I_2 (U, 3, H2, W2) -> what depends on the U images alone."""
        assert images_sam is not None
        return EncodedImages(
            self.encoder.encode_images(first), *self.mask_generator.encode_images(images_sam)
        )

    def segment(
        self,
        images: EncodedImages,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> ZeroShotOutputs:
        """See `ZeroShotModel.segment`."""
        t_sent = self.encoder.encode_text(input_ids, lengths).t_sent
        # v (B, h1*w1, d1) -> (B, d1, h1, w1)
        grid = images.v[image_index].mT.unflatten(2, self.encoder.grid_size)
        p_dense = (
            np.exp(self.encoder.logit_scale) * upsampled_cosine(grid, t_sent, self.mask_size)
            + self.encoder.logit_bias
        )
        if dense_prior is not None:
            p_dense = p_dense + dense_prior

        places = {'point': self._points, 'box': self._boxes}[self.prompt](p_dense)
        features = images.image_embeddings, images.high_resolution_features
        given = {f'{self.prompt}{"s" if self.prompt == "point" else "es"}': places}
        logits = draw(self.mask_generator, features, image_index, **given)
        scores = p_dense.flatten(1).amax(1).sigmoid()
        return ZeroShotOutputs(logits, scores, p_dense=p_dense, **given)

    def _points(self, maps: Tensor) -> Tensor:
        """(B, h, w) -> (B, 2): x, y of the peak's centre, in shares of the sides."""
        height, width = maps.shape[1:]
        peak = maps.flatten(1).argmax(1)
        return torch.stack([(peak % width + 0.5) / width, (peak // width + 0.5) / height], 1)

    def _boxes(self, maps: Tensor) -> Tensor:
        """(B, h, w) -> (B, 4): x1, y1, x2, y2 of the peak's part, in shares of the sides."""
        height, width = maps.shape[1:]
        boxes = []
        for one in maps.cpu().numpy():
            high = one >= one.min() + self.threshold * (one.max() - one.min())
            _, parts, stats, _ = cv2.connectedComponentsWithStats(high.astype(np.uint8))
            x, y, w, h = stats[parts.flat[one.argmax()]][:4]
            boxes.append([x / width, y / height, (x + w) / width, (y + h) / height])
        return maps.new_tensor(boxes)
