"""The paper's symbols: what each stage gives to the next, with its shape and its equation.

Sizes: U unique images, B sentences, L words (padded), n_t semantic vectors, n_p sparse prompts,
d1 SigLIP's width, d2 SAM's width, h1 x w1 SigLIP's grid, H2 x W2 SAM's input.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .towers.plain_forms import is_plain


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision -> float32 (losses are computed there); float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class TowerSpec(NamedTuple):
    """What a prompter is built for: the two towers' widths and sizes, SigLIP's initial logits."""

    d1: int
    d2: int
    grid_size: tuple[int, int]  # (h1, w1)
    prompt_size: tuple[int, int]  # (H2/4, W2/4)
    logit_scale: float  # the dense prompt's learnable scale (log) and bias start here
    logit_bias: float
    sam_positions: Tensor | None = None  # (h1*w1, d2) SAM's own encoding of the grid's centres


class EncodedImages(NamedTuple):
    """What depends on the image alone; computed once however many sentences are asked."""

    v: Tensor  # (U, h1*w1, d1)        Eq. 2, SigLIP's patches
    image_embeddings: Tensor  # (U, d2, H2/16, W2/16) SAM's lowest resolution
    high_resolution_features: list[Tensor]  # SAM 2: (U, d2/8, H2/4, W2/4), (U, d2/4, H2/8, W2/8)
    #                                       SAM 1: []


class EncodedText(NamedTuple):
    """What depends on the sentence alone."""

    t_word: Tensor  # (B, L, d1)  Eq. 2, the words without eos; padding is to be ignored
    word_mask: Tensor  # (B, L) bool, True on the sentence's own words
    t_sent: Tensor  # (B, d1)     Eq. 2, SigLIP's pooled text


class Prompts(NamedTuple):
    """Everything that the cascaded second-order prompter makes (Eq. 3).

    Of a single stage (Table X) the first four are None, and t2_act holds the L words.
    """

    t1: Tensor | None  # (B, n_t, d1)    Eq. 4, first semantic subspace
    t2: Tensor | None  # (B, n_t, d1)    Eq. 4, second semantic subspace
    t1_act: Tensor | None  # (B, n_t, d1)    Eq. 5, t'_1
    v1_act: Tensor | None  # (B, h1*w1, d1)  Eq. 5, first-order activation of v
    t2_act: Tensor  # (B, n_t, d1)    Eq. 5 on (t2, v1_act)
    v2_act: Tensor  # (B, h1*w1, d1)  second-order activation
    p_sparse: Tensor  # (B, n_p, d2)    Eq. 6
    p_dense: Tensor | None  # (B, H2/4, W2/4) Eq. 7, logits; None: no dense prompt
    image_scores: dict[str, Tensor] | None = (
        None  # stack of Eq. 5 -> (B, h1*w1); None: not asked for
    )


class RefSegOutputs(NamedTuple):
    """The whole forward pass, by name: losses and figures pick what they need."""

    images: EncodedImages
    image_index: Tensor  # (B,) into U
    text: EncodedText
    prompts: Prompts
    mask_logits: Tensor  # (B, H2/4, W2/4)  Eq. 8, mask token 0
    input_size: tuple[int, int]  # (H2, W2)
    grid_size: tuple[int, int]  # (h1, w1)
    iou_score: Tensor | None = None  # (B,) SAM's predicted IoU of the mask; None: not asked for
    object_score: Tensor | None = (
        None  # (B,) SAM 2's logit that there is an object; None: not asked
    )

    def rows(self, kept: Tensor) -> RefSegOutputs:
        """Those of the sentences `kept` (B,) bool; the images stay."""
        prompts: dict[str, Any] = {
            name: {stack: scores[kept] for stack, scores in value.items()}
            if isinstance(value, dict)
            else None
            if value is None
            else value[kept]
            for name, value in self.prompts._asdict().items()
        }
        return self._replace(
            image_index=self.image_index[kept],
            text=EncodedText(*(feature[kept] for feature in self.text)),
            prompts=Prompts(**prompts),
            mask_logits=self.mask_logits[kept],
            iou_score=None if self.iou_score is None else self.iou_score[kept],
            object_score=None if self.object_score is None else self.object_score[kept],
        )

    @property
    def p_dense(self) -> Tensor | None:
        """The prompts' p_dense."""
        return self.prompts.p_dense


class Targets(NamedTuple):
    """The annotation of B sentences."""

    masks: list[Tensor]  # B times (H, W) bool, at each image's own size
    image_ids: Tensor  # (B,) int64, equal for equal images, on every rank
    others: list[Tensor] | None = None  # B times (H, W) bool: the images' other objects, if known
    no_target: Tensor | None = None  # (B,) bool: the data say that the sentence names no object

    @property
    def present(self) -> Tensor:
        """(B,) bool: the masks that are not empty."""
        return torch.tensor([bool(mask.any()) for mask in self.masks], device=self.image_ids.device)

    def rows(self, kept: Tensor) -> Targets:
        """Those of the sentences `kept` (B,) bool."""
        flags = kept.tolist()
        others = self.others
        return Targets(
            [mask for mask, keep in zip(self.masks, flags, strict=True) if keep],
            self.image_ids[kept],
            others and [mask for mask, keep in zip(others, flags, strict=True) if keep],
            None if self.no_target is None else self.no_target[kept],
        )

    def at(self, size: tuple[int, int]) -> Tensor:
        """Masks at `size` by nearest neighbour: (B, *size) float32 of 0 and 1."""
        return self._resized(size, 'nearest-exact')

    def area(self, size: tuple[int, int]) -> Tensor:
        """Share of each cell that the mask covers: (B, *size) float32, never empty for a mask
        that is not, which shrinking and thresholding would lose."""
        return self._resized(size, 'area')

    def _resized(self, size: tuple[int, int], mode: str) -> Tensor:
        """(B, *size) float32; masks of one size together."""
        if not self.masks:  # `rows` kept none
            return torch.zeros(0, *size, device=self.image_ids.device)
        if len({mask.shape for mask in self.masks}) == 1 and not is_plain():
            whole = torch.stack(self.masks)[:, None].float()
            if whole.shape[2:] == tuple(size):
                return whole[:, 0]
            return F.interpolate(whole, tuple(size), mode=mode)[:, 0]
        return torch.cat(
            [F.interpolate(mask[None, None].float(), size, mode=mode)[0] for mask in self.masks]
        )
