"""The inputs of a model that reads one square of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...registry import MODELS
from ..data_preprocessor import IMAGENET_MEAN, IMAGENET_STD, RefSegDataPreprocessor, normalise
from ..towers.load import Init


@MODELS.register_module()
class SingleImageDataPreprocessor(RefSegDataPreprocessor):
    """I, squashed to S x S and normalised by ImageNet's mean and deviation, stands for both I_1 and
    I_2; token ids and unique images as for `RSRefSeg2`.

    Args:
        tokenizer, init, max_length: of the text tower.
        size: S.
    """

    def __init__(self, *, tokenizer: str | dict, init: Init, max_length: int, size: int) -> None:
        super().__init__(
            tokenizer=tokenizer, init=init, max_length=max_length, size_siglip=size, size_sam=size
        )

    def images(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """U uint8 (3, H, W) RGB -> I (U, 3, S, S), the same tensor twice."""
        squares = [self._square(image, self.size_sam, 'float32') for image in images]
        normalised = torch.cat([normalise(one, IMAGENET_MEAN, IMAGENET_STD) for one in squares])
        return normalised, normalised
