"""The tiny SigLIP: its sizes, and what it is pretrained to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from ...errors import UserError
from ...models.data_preprocessor import RefSegDataPreprocessor
from ...models.prompter.init import sine_positions
from ...models.towers.load import load_siglip
from .pointing_task import POSITIONS, PointingPretraining, write_words
from .start_values import fan_in_init

SIGLIP: dict[str, dict[str, Any]] = dict(
    vision_config=dict(vision_use_head=False),
    text_config=dict(
        num_hidden_layers=3,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    ),
)


class SiglipPretraining(PointingPretraining):
    """`PointingPretraining` of a SigLIP.

    The image tower's position embeddings start from sines, as smooth as trained ones are: from
    random ones 'left of' takes hundreds to thousands of steps longer
    (projects/localisation_study/README.md).

    Args:
        folder: where tokenizer and config are written.
        patch_size, layers: of the image tower.
        width: channels of both towers, a multiple of 24, of which a head has 24.
        positions: what its position embeddings start from, 'sine' or 'random'.
        reading: weight of that reading.
        categories: further ones than SynthRS's, of photographs.

    Raises:
        UserError: `width` is no multiple of 24.
    """

    def __init__(
        self,
        folder: Path,
        *,
        image_size: int,
        patch_size: int = 16,
        layers: int = 3,
        width: int = 96,
        positions: Literal['sine', 'random'] = 'sine',
        reading: float = 0.2,
        categories: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if width < 24 or width % 24:
            raise UserError(f'--width must be a multiple of 24, got {width}')
        size = write_words(folder)
        wide = dict(hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 24)
        text = dict(SIGLIP['text_config'], **wide, projection_size=width, vocab_size=size)
        vision = dict(
            SIGLIP['vision_config'],
            **wide,
            image_size=image_size,
            patch_size=patch_size,
            num_hidden_layers=layers,
        )
        self.siglip = load_siglip(
            dict(model_type='siglip', vision_config=vision, text_config=text), init='random'
        )
        self.grid_size = (image_size // vision['patch_size'],) * 2
        self.siglip.config.save_pretrained(folder)
        fan_in_init(self.siglip)
        if positions == 'sine':
            place = self.siglip.vision_model.embeddings.position_embedding.weight.data
            place.copy_(math.sqrt(2) * sine_positions(self.grid_size, place.shape[1], longest=16))
        nn.init.constant_(self.siglip.logit_scale, math.log(10))
        nn.init.constant_(self.siglip.logit_bias, -2.0)
        self.add_losses(width, reading=reading, categories=categories)
        self.preprocess = RefSegDataPreprocessor(
            tokenizer=str(folder),
            init='pretrained',
            max_length=POSITIONS,
            size_siglip=image_size,
            size_sam=32,
        )  # I_2 is not read; smaller ones CUDA's filter has no room for

    @property
    def towers(self) -> nn.Module:
        """The SigLIP."""
        return self.siglip

    @property
    def patch_embedding(self) -> nn.Conv2d:
        """Of its image tower."""
        return self.siglip.vision_model.embeddings.patch_embedding

    def patches(self, images: Tensor) -> Tensor:
        """v of all patches."""
        return self.siglip.vision_model(pixel_values=images).last_hidden_state

    def sentences(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """t_sent."""
        return self.siglip.text_model(input_ids=input_ids).pooler_output

    def scale_and_bias(self) -> tuple[Tensor, Tensor]:
        """SigLIP's own."""
        return self.siglip.logit_scale.exp(), self.siglip.logit_bias

    def save(self, folder: Path) -> None:
        """One folder."""
        self.siglip.save_pretrained(folder)
