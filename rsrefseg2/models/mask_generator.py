"""Sec. III-D: SAM draws what the prompts point at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Sam2Model

from ..bounds import Fraction, NonNegativeFloat, PositiveInt
from ..errors import UserError
from .towers.activation_checkpointing import recompute_in_backward
from .towers.lean_sam import drop_unread_work, first_mask
from .towers.load import Init, load_sam
from .towers.lora import freeze, inject_lora
from .towers.plain_forms import is_plain

# No loss reaches these: it reads mask token 0 alone. (decoder attribute, what it predicts)
UNREACHED_HEADS = {
    'iou_prediction_head': 'the IoU score',
    'pred_obj_score_head': 'the object score (SAM 2)',
    'output_hypernetworks_mlps.1': 'mask 1',
    'output_hypernetworks_mlps.2': 'mask 2',
    'output_hypernetworks_mlps.3': 'mask 3',
}
# Those that `score_heads` has trained.
SCORE_HEADS = {'iou': 'iou_prediction_head', 'object': 'pred_obj_score_head'}


class ScoredMasks(NamedTuple):
    """What SAM draws and says of B sentences."""

    mask_logits: Tensor  # (B, H2/4, W2/4)
    iou_score: Tensor | None = None  # (B,) the predicted IoU of these masks
    object_score: Tensor | None = None  # (B,) SAM 2's logit that there is an object


class MaskGenerator(nn.Module):
    """Eq. 8: mask_logits = Phi_decoder(Phi_image(I_2), p_sparse, p_dense), mask token 0.

    Sub-layers: `sam`, transformers' Sam2Model or SamModel. Its image encoder is frozen but for
    LoRA, its prompt encoder frozen, its mask decoder trained, less the heads in UNREACHED_HEADS.

    Args:
        checkpoint: hub name, folder, or transformers config (see `towers.load_sam`).
        init: 'pretrained' or 'random'.
        lora: arguments of `inject_lora` for the image encoder; None: frozen.
        trainable: train the image encoder whole instead (a named variant, then without LoRA).
        recompute: activation checkpointing of the image encoder (`recompute_in_backward`): True,
            or SAM 2's stages alone: [1, 2] has the least second work for what it spares.
        train_prompt_encoder: train the prompt encoder too (the release's variant) where a loss
            reaches it: the convolutions that read the dense prompt.
        stability_rule: `delta` and `threshold` of SAM 2's rule for a mask that is not stable
            (`use_stability_rule`), outside of training alone; the release tests with
            dict(delta=0.05, threshold=0.98). None: mask token 0 always, as the paper says.
        score_heads: 'iou', 'object' (SAM 2) or both: heads that are trained too, each by a loss of
            its own (`PredictedIoULoss`, `PresenceLoss`); their scores are in the model's outputs.
            Off in the paper.
    Raises:
        UserError: options do not fit each other, or the checkpoint.
    """

    def __init__(
        self,
        *,
        checkpoint: str | dict,
        init: Init = 'pretrained',
        lora: dict | None = None,
        trainable: bool = False,
        recompute: bool | Sequence[PositiveInt] = False,
        train_prompt_encoder: bool = False,
        stability_rule: dict | None = None,
        score_heads: Sequence[Literal['iou', 'object']] = (),
    ) -> None:
        super().__init__()
        self.check_values(trainable=trainable, lora=lora)
        self.score_heads = tuple(score_heads)
        if not set(self.score_heads) <= set(SCORE_HEADS):
            raise ValueError(f'score_heads are of {", ".join(SCORE_HEADS)}, not {score_heads!r}')
        self.sam = load_sam(checkpoint, init=init)
        self.is_sam2 = isinstance(self.sam, Sam2Model)
        if self.is_sam2:
            drop_unread_work(self.sam)
        freeze(self.sam)
        if lora is not None:
            inject_lora(self.sam.vision_encoder, family='sam2' if self.is_sam2 else 'sam', **lora)
        elif trainable:
            self.sam.vision_encoder.requires_grad_(True)
        if recompute is not False:
            recompute_in_backward(self.sam.vision_encoder, recompute)
        self.sam.mask_decoder.requires_grad_(True)
        self.sam.prompt_encoder.mask_embed.requires_grad_(train_prompt_encoder)
        trained = [SCORE_HEADS[score] for score in self.score_heads]
        for name, head in self.sam.mask_decoder.named_modules():
            if name in UNREACHED_HEADS and name not in trained:
                freeze(head)
        self._require_sam2(stability_rule)
        if stability_rule is not None:
            use_stability_rule(self.sam.mask_decoder, **stability_rule)
        prompt = self.sam.prompt_encoder
        self.d2 = self.sam.mask_decoder.hidden_size
        self.input_size = (prompt.input_image_size, prompt.input_image_size)
        self.prompt_size = tuple(4 * side for side in prompt.image_embedding_size)

    def _require_sam2(self, stability_rule: dict | None) -> None:
        if self.is_sam2:
            return
        if 'object' in self.score_heads:
            raise UserError(
                "SAM 1 has no object score: use SAM 2, or leave 'object' out of model.sam.score_heads"
            )
        if stability_rule is not None:
            raise UserError('stability_rule is a rule of SAM 2, not of SAM 1: set it to None')

    @staticmethod
    def check_values(*, trainable: bool, lora: dict | None) -> None:
        """Raises a UserError where options do not fit each other."""
        if trainable and lora:
            raise UserError('trainable=True trains the whole image encoder: set lora to None')

    def encode_images(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(U, 3, H2, W2) normalised -> image_embeddings (U, d2, H2/16, W2/16) and, for SAM 2, the
        two high-resolution maps (U, d2/8, H2/4, W2/4), (U, d2/4, H2/8, W2/8)."""
        images = images.to(self.sam.dtype)
        if not self.is_sam2:
            return self.sam.vision_encoder(images).last_hidden_state, []
        features = self.sam.get_image_features(images).fpn_hidden_states  # each (h*w, U, c)
        maps = [
            feature.permute(1, 2, 0).unflatten(2, tuple(size))
            for feature, size in zip(features, self.sam.backbone_feature_sizes, strict=True)
        ]
        # The image model adds what the video model calls "no memory of earlier frames".
        return maps[-1] + self.sam.no_memory_embedding.reshape(1, -1, 1, 1), maps[:-1]

    def positions_of(self, grid: tuple[int, int]) -> Tensor:
        """SAM's encoding of the centres of a grid's cells (h, w), row by row: (h*w, d2)."""
        embed = self.sam.shared_image_embedding
        basis = embed.positional_embedding
        y, x = ((torch.arange(n, device=basis.device, dtype=basis.dtype) + 0.5) / n for n in grid)
        centres = torch.stack([x.expand(grid), y[:, None].expand(grid)], -1)
        return embed(centres).flatten(0, 1).detach()

    def forward(
        self,
        image_embeddings: Tensor,
        high_resolution_features: list[Tensor],
        p_sparse: Tensor,
        p_dense: Tensor | None,
        image_index: Tensor | None = None,
        *,
        with_scores: bool = False,
    ) -> Tensor | ScoredMasks:
        """image_embeddings (U, d2, ...) and maps of U images, p_sparse (B, n_p, d2), p_dense
        (B, H2/4, W2/4) or None, image_index (B,) into U -> mask_logits (B, H2/4, W2/4) of mask
        token 0, or of the token that `stability_rule` chooses; `with_scores` also the scores of
        `score_heads`.

        Without image_index each sentence has its own row of the images' features, too.
        """
        decoder, count = self.sam.mask_decoder, p_sparse.shape[0]
        dtype = image_embeddings.dtype
        if image_embeddings.shape[0] == 1:
            image_embeddings = image_embeddings.expand(count, -1, -1, -1)
        elif image_index is not None:
            image_embeddings = image_embeddings[image_index]
        dense = self._embedded(p_dense, image_embeddings)
        position = self.sam.get_image_wide_positional_embeddings().to(dtype)
        by_stability = getattr(decoder, 'dynamic_multimask_via_stability', False)
        if not is_plain() and not (by_stability and not self.training):
            mask_logits, tokens = first_mask(
                decoder,
                image_embeddings=image_embeddings + dense,
                position=position,
                sparse=p_sparse.to(dtype),
                maps=high_resolution_features,
                image_index=image_index,
            )
            return self._scored(mask_logits, tokens) if with_scores else mask_logits
        if image_index is not None:
            high_resolution_features = [one[image_index] for one in high_resolution_features]
        kwargs = {'high_resolution_features': high_resolution_features} if self.is_sam2 else {}
        masks, iou, *further = decoder(
            image_embeddings=image_embeddings,
            image_positional_embeddings=position.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=p_sparse[:, None].to(dtype),
            dense_prompt_embeddings=dense,
            multimask_output=False,
            **kwargs,
        )
        drawn = self._asked(masks[:, 0], iou[:, 0], *(score[:, 0] for score in further[-1:]))
        return drawn if with_scores else drawn.mask_logits

    def _asked(self, masks: Tensor, iou: Tensor, there: Tensor | None = None) -> ScoredMasks:
        """The first of masks (B, n, h, w) and iou (B, n), there (B, 1) of SAM 2: those of
        `score_heads`."""
        return ScoredMasks(
            masks[:, 0],
            iou[:, 0] if 'iou' in self.score_heads else None,
            there[:, 0] if there is not None and 'object' in self.score_heads else None,
        )

    def _embedded(self, p_dense: Tensor | None, image_embeddings: Tensor) -> Tensor:
        """SAM's embedding of the dense prompt, or of none: (B, d2, H2/16, W2/16)."""
        prompt = self.sam.prompt_encoder
        if p_dense is None:
            return prompt.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(image_embeddings)
        return prompt.mask_embed(p_dense[:, None].to(image_embeddings.dtype))

    def _scored(self, mask_logits: Tensor, tokens: Tensor) -> ScoredMasks:
        """With the scores of `score_heads`, from the decoder's own tokens (B, n, d2): SAM 2's for
        the object, the IoU's, then those of masks."""
        decoder, iou, there = self.sam.mask_decoder, None, None
        if 'iou' in self.score_heads:
            iou = decoder.iou_prediction_head(tokens[:, 1 if self.is_sam2 else 0])[:, 0]
        if 'object' in self.score_heads:
            there = decoder.pred_obj_score_head(tokens[:, 0])[:, 0]
        return ScoredMasks(mask_logits, iou, there)


def use_stability_rule(decoder: nn.Module, *, delta: NonNegativeFloat, threshold: Fraction) -> None:
    """Switch on SAM 2's rule, in test: with S = |logits > delta| / |logits > -delta| of mask token
    0 (1 where both are empty), S < threshold takes the mask of tokens 1 to 3 whose predicted IoU is
    the highest."""
    decoder.dynamic_multimask_via_stability = True
    decoder.dynamic_multimask_stability_delta = delta
    decoder.dynamic_multimask_stability_thresh = threshold
