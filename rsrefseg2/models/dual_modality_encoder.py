"""Sec. III-B: SigLIP's (or CLIP's) two towers say what there is, and how it is called."""

from __future__ import annotations

import logging

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..bounds import PositiveInt
from ..errors import UserError
from .symbols import EncodedText
from .towers.activation_checkpointing import recompute_in_backward
from .towers.families import family_of
from .towers.fingerprints import set_source
from .towers.load import Init, load_siglip
from .towers.lora import freeze, inject_lora


class DualModalityEncoder(nn.Module):
    """Eq. 2: v = Phi_vision(I_1), (t_word, t_sent) = Phi_text(T), frozen but for LoRA.

    Sub-layers: `vision_model` (without its pooling head), `text_model`.

    The text tower reads the ids padded on the right to its full length and no attention mask, as
    it was trained; outside of it the padding is masked, so a sentence's features do not depend on
    the batch.

    `family` is the adapter that knows how SigLIP, SigLIP2 NaFlex and CLIP differ
    (`towers.families`). CLIP's causal text tower sees no padding.

    Args:
        checkpoint: hub name, folder, or transformers config (see `towers.load_siglip`).
        init: 'pretrained' or 'random'.
        vision_lora, text_lora: arguments of `inject_lora` (`dict(r=16)`); None: frozen.
        trainable: train the towers whole instead (a named variant, then without LoRA).
        vision_recompute, text_recompute: activation checkpointing (`recompute_in_backward`): less
            memory, the same gradients, a second forward pass of the tower in training.
        keep_padding_tokens: t_word are all positions that the text tower read, eos and padding too (the
            release's variant): a prediction then depends on how its batch is padded.
        image_size: side of I_1 (Table XIV); the position embeddings are interpolated for a size
            other than the pretrained one. None: that one.
    Raises:
        UserError: an image smaller than a patch; LoRA beside `trainable`.
    """

    def __init__(
        self,
        *,
        checkpoint: str | dict,
        init: Init = 'pretrained',
        vision_lora: dict | None = None,
        text_lora: dict | None = None,
        trainable: bool = False,
        vision_recompute: bool = False,
        text_recompute: bool = False,
        keep_padding_tokens: bool = False,
        image_size: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.check_values(trainable=trainable, vision_lora=vision_lora, text_lora=text_lora)
        siglip = load_siglip(checkpoint, init=init)
        self.family = family_of(siglip)
        self.vision_model, self.text_model = siglip.vision_model, siglip.text_model
        for tower, lora, recompute in (
            (self.vision_model, vision_lora, vision_recompute),
            (self.text_model, text_lora, text_recompute),
        ):
            set_source(tower, siglip.tower_source)
            if lora is not None:
                inject_lora(tower, family='siglip', **lora)
            elif not trainable:
                freeze(tower)
            if recompute:
                recompute_in_backward(tower)
        self.image_size = self.family.image_size if image_size is None else image_size
        self.patch_size = siglip.config.vision_config.patch_size
        side = self.image_size // self.patch_size
        self._check_image_size(image_size)
        self.grid_size = (side, side)
        self.keep_padding_tokens = keep_padding_tokens
        self.max_length = siglip.config.text_config.max_position_embeddings
        # What others are built by: the prompter and the preprocessor.
        self.d1 = self.family.d1
        self.logit_scale, self.logit_bias = self.family.logit_scale, self.family.logit_bias
        self.pixel_mean, self.pixel_std = self.family.pixel_mean, self.family.pixel_std

    @staticmethod
    def check_values(*, trainable: bool, vision_lora: dict | None, text_lora: dict | None) -> None:
        """Raises a UserError where options do not fit each other."""
        if trainable and (vision_lora or text_lora):
            raise UserError(
                'trainable=True trains the whole towers: set vision_lora and text_lora to None'
            )

    def _check_image_size(self, given: int | None) -> None:
        """Refuse a size below a patch; warn of pixels that a given one leaves unseen."""
        side, rest = divmod(self.image_size, self.patch_size)
        if side == 0:
            raise UserError(
                f'model.siglip.image_size {given} is smaller than a patch of '
                f'{self.patch_size} pixels'
            )
        if rest and given is not None:
            print_log(
                f'model.siglip.image_size {given} is no multiple of the patch of '
                f'{self.patch_size} pixels: the tower does not see the last {rest} pixels of '
                f'each side; {side * self.patch_size} and {(side + 1) * self.patch_size} are '
                'multiples',
                'current',
                logging.WARNING,
            )

    def encode_images(self, images: Tensor) -> Tensor:
        """(U, 3, H1, W1) normalised -> v (U, h1*w1, d1)."""
        dtype = self.vision_model.embeddings.patch_embedding.weight.dtype
        interpolate = self.image_size != self.family.image_size
        return self.family.image_tokens(
            self.vision_model, images.to(dtype), interpolate=interpolate
        )

    def encode_text(self, input_ids: Tensor, lengths: Tensor, *, trim: bool = True) -> EncodedText:
        """input_ids (B, max_length), lengths (B,) with eos -> t_word (B, L, d1), t_sent (B, d1).

        L is the longest sentence of the batch; its own words only, without bos and eos. With
        `keep_padding_tokens` L is the width of input_ids, and no position is masked.

        Args:
            trim: False: L is every position from the first word on, so that no shape depends on
                what the sentences are, as an exported graph needs it.
        """
        states = self.text_model(input_ids=input_ids)
        word_mask = self.word_mask(lengths, input_ids.shape[1])
        if trim:
            word_mask = word_mask[:, : int(word_mask.sum(1).max())]
        first = self._first_word
        own = states.last_hidden_state[:, first : first + word_mask.shape[1]]
        t_word = self.family.words(self.text_model, own)
        t_sent = self.family.sentence(self.text_model, states, lengths)
        return EncodedText(t_word, word_mask, t_sent)

    def word_mask(self, lengths: Tensor, width: int) -> Tensor:
        """lengths (B,) with eos, of ids (B, width) -> (B, positions from the first word on) bool,
        True on the sentence's own words."""
        first = self._first_word
        words = torch.full_like(lengths, width) if self.keep_padding_tokens else lengths - 1 - first
        return torch.arange(width - first, device=lengths.device) < words[:, None]

    @property
    def _first_word(self) -> int:
        return 0 if self.keep_padding_tokens else self.family.first_word
