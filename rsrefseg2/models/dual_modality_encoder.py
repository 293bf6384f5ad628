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
from .towers.families import naflex_inputs, pixel_statistics, pretrained_image_size, share_space
from .towers.fingerprints import set_source
from .towers.load import Init, load_siglip
from .towers.lora import freeze, inject_lora


class DualModalityEncoder(nn.Module):
    """Eq. 2: v = Phi_vision(I_1), (t_word, t_sent) = Phi_text(T), frozen but for LoRA.

    Sub-layers: `vision_model` (without its pooling head), `text_model`.

    The text tower reads the ids padded on the right to its full length and no attention mask, as
    it was trained; outside of it the padding is masked, so a sentence's features do not depend on
    the batch.

    CLIP: v are the patches, without the class token, through the final norm and the projection
    that CLIP applies to the class token; t_word the words through the text's, without bos and eos;
    t_sent the eos's. So d1 is the width of CLIP's common space, the only one in which image and
    text were trained to be compared. Its causal text tower sees no padding.

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
        self.is_clip = siglip.config.model_type == 'clip'
        self.is_naflex = siglip.config.model_type == 'siglip2'
        if self.is_clip:
            share_space(siglip)
        self.vision_model, self.text_model = siglip.vision_model, siglip.text_model
        for tower, lora in ((self.vision_model, vision_lora), (self.text_model, text_lora)):
            set_source(tower, siglip.tower_source)
            if lora is not None:
                inject_lora(tower, family='siglip', **lora)
            elif not trainable:
                freeze(tower)
        for tower, recompute in (
            (self.vision_model, vision_recompute),
            (self.text_model, text_recompute),
        ):
            if recompute:
                recompute_in_backward(tower)
        # Where the dense prompt's learnable ones start; CLIP has no bias: 0, the middle.
        self.logit_scale = float(siglip.logit_scale.detach())
        self.logit_bias = 0.0 if self.is_clip else float(siglip.logit_bias.detach())
        vision = siglip.config.vision_config
        self.pixel_mean, self.pixel_std = pixel_statistics(siglip.config)
        pretrained_size = pretrained_image_size(vision)
        self.image_size = pretrained_size if image_size is None else image_size
        self._interpolate = self.image_size != pretrained_size
        self.patch_size = vision.patch_size
        side, rest = divmod(self.image_size, self.patch_size)
        if side == 0:
            raise UserError(
                f'model.siglip.image_size {image_size} is smaller than a patch of '
                f'{self.patch_size} pixels'
            )
        if rest and image_size is not None:
            print_log(
                f'model.siglip.image_size {image_size} is no multiple of the patch of '
                f'{self.patch_size} pixels: the tower does not see the last {rest} pixels of '
                f'each side; {side * self.patch_size} and {(side + 1) * self.patch_size} are '
                'multiples',
                'current',
                logging.WARNING,
            )
        self.grid_size = (side, side)
        self.d1 = siglip.config.projection_dim if self.is_clip else vision.hidden_size
        self.keep_padding_tokens = keep_padding_tokens
        self.max_length = siglip.config.text_config.max_position_embeddings
        # Towers of unequal width: the text head maps every word, so that d1 is one number.
        self._head_on_words = self.is_clip or siglip.config.text_config.hidden_size != self.d1

    @staticmethod
    def check_values(*, trainable: bool, vision_lora: dict | None, text_lora: dict | None) -> None:
        """Raises a UserError where options do not fit each other."""
        if trainable and (vision_lora or text_lora):
            raise UserError(
                'trainable=True trains the whole towers: set vision_lora and text_lora to None'
            )

    def encode_images(self, images: Tensor) -> Tensor:
        """(U, 3, H1, W1) normalised -> v (U, h1*w1, d1)."""
        dtype = self.vision_model.embeddings.patch_embedding.weight.dtype
        if self.is_naflex:  # interpolates its positions itself
            return self.vision_model(
                **naflex_inputs(images.to(dtype), self.patch_size)
            ).last_hidden_state
        states = self.vision_model(
            pixel_values=images.to(dtype), interpolate_pos_encoding=self._interpolate
        ).last_hidden_state
        if self.is_clip:
            return self.vision_model.head(self.vision_model.post_layernorm(states[:, 1:]))
        return states

    def encode_text(self, input_ids: Tensor, lengths: Tensor) -> EncodedText:
        """input_ids (B, max_length), lengths (B,) with eos -> t_word (B, L, d1), t_sent (B, d1).

        L is the longest sentence of the batch; its own words only, without bos and eos. With
        `keep_padding_tokens` L is the width of input_ids, and no position is masked.
        """
        states = self.text_model(input_ids=input_ids)
        first = 1 if self.is_clip and not self.keep_padding_tokens else 0  # after the bos
        words = (
            torch.full_like(lengths, input_ids.shape[1])
            if self.keep_padding_tokens
            else lengths - 1 - first
        )
        longest = int(words.max())
        t_word = states.last_hidden_state[:, first : first + longest]
        if self._head_on_words:
            t_word = self.text_model.head(t_word)
        word_mask = torch.arange(longest, device=words.device) < words[:, None]
        if not self.is_clip:
            return EncodedText(t_word, word_mask, states.pooler_output)
        rows = torch.arange(len(lengths), device=lengths.device)
        at_eos = states.last_hidden_state[rows, lengths - 1]
        return EncodedText(t_word, word_mask, self.text_model.head(at_eos))
