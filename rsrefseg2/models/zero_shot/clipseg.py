"""CLIPSeg: CLIP with a small mask decoder, which reads the sentence's embedding."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPSegForImageSegmentation

from ...bounds import Fraction
from ...errors import UserError
from ...registry import MODELS
from .hub_models import find_folder, load_hub_image_processor, load_hub_model, load_hub_tokenizer
from .zero_shot_inputs import Pixels, ZeroShotDataPreprocessor
from .zero_shot_model import ZeroShotModel, ZeroShotOutputs

KINDS = {'clipseg': CLIPSegForImageSegmentation}


@MODELS.register_module()
class CLIPSeg(ZeroShotModel):
    """mask = sigmoid(CLIPSeg(I, T)) > threshold, upsampled as logits from the decoder's size.

    Args:
        checkpoint: hub name or folder.
        threshold: above 0, below 1; what the mask begins at. The logits are moved by it, so that
            the mask is where they are above 0. The score is the highest probability.
    Raises:
        ValueError: a threshold of 0 or 1.
        UserError: the checkpoint is not available, or of another kind.
    """

    def __init__(self, *, checkpoint: str, threshold: Fraction = 0.5) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f'threshold is above 0 and below 1, not {threshold}')
        folder = find_folder(checkpoint, KINDS)
        model = load_hub_model(folder, KINDS)
        super().__init__(
            ZeroShotDataPreprocessor(
                prepare_image=partial(prepare_square, load_hub_image_processor(folder)),
                tokenizer=load_hub_tokenizer(folder),
                max_length=model.config.text_config.max_position_embeddings,
            )
        )
        self.clipseg, self.offset = model, math.log(threshold / (1 - threshold))
        side = self._side_of(folder)
        self.input_size = self.mask_size = (side, side)

    def _side_of(self, folder: object) -> int:
        """Side of the square that the image processor makes, and of the decoder's logits."""
        size = self.data_preprocessor.prepare_image.args[0].size
        height, width = size.get('height'), size.get('width')
        if height is None or height != width:
            raise UserError(f'the image processor in {folder} makes no square: {size}')
        return height

    def encode_images(self, first: list[Pixels], images_sam: Tensor | None) -> list[Pixels]:
        """As they are: the decoder's inputs are made with the sentence."""
        return first

    def segment(
        self,
        images: list[Pixels],
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> ZeroShotOutputs:
        """See `ZeroShotModel.segment`; there is no p_dense."""
        logits = torch.stack(
            [
                self._logits(images[image], ids[None, :length])
                for image, ids, length in zip(
                    image_index.tolist(), input_ids, lengths.tolist(), strict=True
                )
            ]
        )
        scores = logits.sigmoid().flatten(1).amax(1)
        return ZeroShotOutputs(logits - self.offset, scores)

    def _logits(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """One image, ids (1, L) -> (h, w)."""
        found = self.clipseg(**pixels, input_ids=ids, attention_mask=torch.ones_like(ids))
        return found.logits.reshape(self.mask_size)


def prepare_square(processor: Any, image: Any) -> Pixels:
    """(H, W, 3) uint8 -> pixel_values (1, 3, S, S)."""
    made = processor(images=[image], return_tensors='pt', input_data_format='channels_last')
    return {'pixel_values': made['pixel_values']}
