"""The towers of the tiny LAVT, pretrained on what the tiny SigLIP is pretrained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.baselines.bert_encoder import BertEncoder
from ...models.baselines.single_image_inputs import SingleImageDataPreprocessor
from ...models.baselines.swin_encoder import SwinEncoder
from ...models.losses.alignment import masked_mean
from ...models.prompter.init import sine_positions
from .pointing_task import POSITIONS, PointingPretraining, write_words
from .start_values import fan_in_init

LAVT_FOLDERS = ('swin', 'bert')  # within what is written
WIDTH = 96  # of BERT
# A released Swin has no absolute positions; with so few layers none would know where it looks.
SWIN = dict(
    model_type='swin',
    patch_size=4,
    embed_dim=16,
    depths=[1, 1, 3, 2],
    num_heads=[1, 2, 4, 4],
    window_size=6,
    use_absolute_embeddings=True,
)
BERT = dict(
    model_type='bert',
    hidden_size=WIDTH,
    intermediate_size=4 * WIDTH,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=POSITIONS,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)


class LAVTPretraining(PointingPretraining):
    """`PointingPretraining` of a Swin and a BERT.

    A patch is the sum of the Swin's last two stages, each normed and brought to BERT's width, at
    the third stage's grid; t_sent is the mean of BERT's words. These layers are not kept.

    Args:
        folder: where tokenizer and configs are written, below LAVT_FOLDERS.
        image_size: side of what the Swin sees, a multiple of 32.
        reading: weight of the reading.
        categories: further ones than SynthRS's, of photographs.
    Raises:
        UserError: the image is too small for the Swin.
    """

    def __init__(
        self, folder: Path, *, image_size: int, reading: float = 0.2, categories: Sequence[str] = ()
    ) -> None:
        super().__init__()
        tokenizer = str(folder / 'bert')
        size = write_words(folder / 'bert')
        swin = SwinEncoder(checkpoint=dict(SWIN, image_size=image_size), drop_path=0.0)
        bert = BertEncoder(
            checkpoint=dict(BERT, vocab_size=size), tokenizer=tokenizer, max_length=POSITIONS
        )
        bert.bert.config.save_pretrained(folder / 'bert')  # what reads the words asks for it
        self.swin, self.bert = swin, bert
        fan_in_init(self.towers)
        place = swin.swin.embeddings.position_embeddings
        sines = sine_positions(swin.grid_size, place.shape[2], longest=64)
        place.data.copy_(math.sqrt(2) * sines[None])
        self.grid_size = (swin.grid_size[0] // 4,) * 2
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in swin.widths[2:])
        self.heads = nn.ModuleList(nn.Linear(width, WIDTH) for width in swin.widths[2:])
        self.scale, self.bias = (
            nn.Parameter(torch.tensor(math.log(10))),
            nn.Parameter(torch.tensor(-2.0)),
        )
        self.add_losses(WIDTH, reading=reading, categories=categories)
        self.preprocess = SingleImageDataPreprocessor(
            tokenizer=tokenizer, init='pretrained', max_length=POSITIONS, size=image_size
        )

    @property
    def towers(self) -> nn.Module:
        """The Swin and the BERT."""
        return nn.ModuleList([self.swin, self.bert])

    @property
    def patch_embedding(self) -> nn.Conv2d:
        """The Swin's."""
        return self.swin.swin.embeddings.patch_embeddings.projection

    def patches(self, images: Tensor) -> Tensor:
        """(U, 3, S, S) -> (U, S/16 S/16, WIDTH)."""
        tokens, size = self.swin.patches(images)
        found = []
        for stage in range(4):
            tokens = self.swin.blocks(stage, tokens, size)
            if stage >= 2:
                head = self.heads[stage - 2](self.norms[stage - 2](tokens)).mT.unflatten(2, size)
                found.append(F.interpolate(head, self.grid_size, mode='bilinear'))
            if stage < 3:
                tokens, size = self.swin.merge(stage, tokens, size)
        third, fourth = found
        return (third + fourth).flatten(2).mT

    def sentences(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """The mean of the words, (B, WIDTH)."""
        words = self.bert(input_ids, lengths)
        return masked_mean(words.features, words.mask.float())

    def scale_and_bias(self) -> tuple[Tensor, Tensor]:
        """Two numbers that are not kept."""
        return self.scale.exp(), self.bias

    def save(self, folder: Path) -> None:
        """A folder each, the words beside BERT."""
        # The format holds the norm of Swin's classifier, which nothing here trains or reads.
        self.swin.swin.layernorm = nn.LayerNorm(self.swin.widths[-1])
        self.swin.swin.save_pretrained(folder / 'swin')
        self.bert.bert.save_pretrained(folder / 'bert')
