"""SAM as transformers has it, without the work whose results nothing reads.

Seen in transformers 5.23: each block of Hiera multiplies queries and keys of one place across its
heads and drops the product; the first block reads its patches across memory; the neck's 1x1
convolutions copy maps of 256 channels into another order, and it computes sines for a video memory
that is not there; the mask decoder draws four masks and scores them, of which the paper takes the
first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.sam2.modeling_sam2 import (
    Sam2MultiScaleAttention,
    Sam2PatchEmbeddings,
    Sam2SinePositionEmbedding,
    Sam2VisionNeck,
    do_pool,
    eager_attention_forward,
)

from .plain_forms import is_plain


class HieraAttention(Sam2MultiScaleAttention):
    """transformers' attention of Hiera: softmax(Q K^T / sqrt(d)) V within a window, Q pooled where
    a stage begins."""

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        """(windows, h, w, d) -> (windows, h', w', d_out)."""
        if is_plain():
            return super().forward(hidden_states, **kwargs)
        windows, height, width, _ = hidden_states.shape
        qkv = self.qkv(hidden_states).unflatten(-1, (3, self.num_attention_heads, -1))
        query, key, value = qkv.flatten(1, 2).unbind(2)  # each (windows, h * w, heads, d / heads)

        if self.query_stride:
            pooled = do_pool(query.reshape(windows, height, width, -1), self.query_stride)
            height, width = pooled.shape[1:3]
            query = pooled.flatten(1, 2).unflatten(-1, (self.num_attention_heads, -1))

        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        read, _ = attend(
            self,
            *(part.transpose(1, 2) for part in (query, key, value)),
            attention_mask=None,
            is_causal=self.is_causal,
            scaling=self.scale,
            **kwargs,
        )
        return self.proj(read.reshape(windows, height, width, -1))


class NoPositions(Sam2SinePositionEmbedding):
    """In the place of the neck's sine positions, which the video memory alone reads: zeros."""

    def forward(
        self,
        shape: torch.Size,
        device: torch.device | str,
        dtype: torch.dtype,
        mask: Tensor | None = None,
    ) -> Tensor:
        """-> (1, 1, 1, 1)."""
        if is_plain():
            return super().forward(shape, device, dtype, mask)
        return torch.zeros(1, 1, 1, 1, device=device, dtype=dtype)


class OrderedPatches(Sam2PatchEmbeddings):
    """transformers' patches, each patch's channels side by side in memory, as the blocks read them."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(U, 3, H2, W2) -> (U, H2/4, W2/4, d)."""
        patches = super().forward(pixel_values)
        return patches if is_plain() else patches.contiguous()


class TokenNeck(Sam2VisionNeck):
    """transformers' neck, its 1x1 convolutions as linear layers on the tokens where they lie."""

    def forward(
        self, hidden_states: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(U, h, w, d) of each stage, finest first -> (U, d2, h, w) and positions, coarsest first."""
        if is_plain() or any(_adapted(conv) for conv in self.convs):
            return super().forward(hidden_states)
        maps: list[Tensor] = []
        positions = []
        for conv, states in zip(self.convs, reversed(hidden_states), strict=True):
            weight = conv.weight.flatten(1)
            tokens = nn.functional.linear(states.to(weight.dtype), weight, conv.bias)
            level = len(self.convs) - 1 - len(maps)
            if maps and level in self.fpn_top_down_levels:
                twice = nn.functional.interpolate(maps[-1].float(), scale_factor=2.0)
                tokens = tokens + twice.permute(0, 2, 3, 1).to(tokens.dtype)
            maps.append(tokens.permute(0, 3, 1, 2))
            position = self.position_encoding(maps[-1].shape, tokens.device, tokens.dtype)
            positions.append(position.to(tokens.dtype))
        return tuple(maps), tuple(positions)


def _adapted(conv: nn.Module) -> bool:
    """Whether it is more than a 1x1 convolution: LoRA's, or of another kernel."""
    return type(conv) is not nn.Conv2d or conv.kernel_size != (1, 1) or conv.padding != (0, 0)


LEAN: dict[type[nn.Module], type[nn.Module]] = {
    Sam2MultiScaleAttention: HieraAttention,
    Sam2PatchEmbeddings: OrderedPatches,
    Sam2SinePositionEmbedding: NoPositions,
    Sam2VisionNeck: TokenNeck,
}


def drop_unread_work(sam2: PreTrainedModel) -> None:
    """Give the image encoder of a Sam2Model the classes above, in place; they have no weights of
    their own, and names stay."""
    for module in sam2.vision_encoder.modules():
        module.__class__ = LEAN.get(type(module), type(module))


def first_mask(
    decoder: nn.Module,
    *,
    image_embeddings: Tensor,
    position: Tensor,
    sparse: Tensor,
    maps: list[Tensor],
    image_index: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The mask decoder of SAM or SAM 2, for mask token 0 alone.

    The two transposed convolutions have stride and kernel 2: every cell becomes four by itself, so
    they are linear layers on tokens, and the cells are put in order at the end, when one channel
    is left of them. SAM 2's high-resolution maps are brought into that order once an image.

    Args:
        decoder: transformers' SamMaskDecoder or Sam2MaskDecoder.
        image_embeddings: (B, d2, h, w), with the dense prompt.
        position: (1, d2, h, w).
        sparse: (B, n_p, d2).
        maps: SAM 2: (U, d2/8, 4h, 4w) and (U, d2/4, 2h, 2w); SAM 1: none.
        image_index: (B,) into U; None: U is B, row by row.
    Returns:
        (B, 4h, 4w) logits; the decoder's own tokens as they leave its transformer, (B, n, d2): SAM
        2's for the object score, the one for the IoU, those for masks.
    """
    first = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    if hasattr(decoder, 'obj_score_token'):
        first.insert(0, decoder.obj_score_token.weight)
    own = torch.cat(first).expand(sparse.shape[0], -1, -1)
    tokens, keys = decoder.transformer(
        point_embeddings=torch.cat([own, sparse], 1)[:, None],
        image_embeddings=image_embeddings,
        image_positional_embeddings=position,
        attention_similarity=None,
    )[:2]  # (B, 1, n, d2), (B, 1, h * w, d2)
    x = _upscaled(decoder, keys[:, 0], maps, image_index)  # (B, h * w, 4, 4, d2/8)

    token = tokens[:, 0, len(first) - 1]  # behind those of one row
    filters = decoder.output_hypernetworks_mlps[0](token)  # (B, d2/8)
    logits = (x.flatten(1, 3) @ filters[..., None])[..., 0]  # (B, 16 h w)
    height, width = image_embeddings.shape[-2:]
    cells = logits.unflatten(1, (height, width, 2, 2, 2, 2))  # y, x, then by halves: y, x, y, x
    logits = cells.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 6).flatten(1, 3)
    return logits, tokens[:, 0, : own.shape[1]]


def _upscaled(
    decoder: nn.Module, x: Tensor, maps: list[Tensor], image_index: Tensor | None
) -> Tensor:
    """The image tokens (B, h * w, d2) -> (B, h * w, 4, 4, d2/8): twice the side, and again."""
    fine, middle = maps or (None, None)
    x = _quadruple(x, decoder.upscale_conv1)  # (B, h * w, 4, d2/4)
    if middle is not None:
        x = x + _rows(_in_cells(middle, 1), image_index, x.shape[0])
    norm = decoder.upscale_layer_norm
    x = nn.functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    x = _quadruple(decoder.activation(x), decoder.upscale_conv2)
    if fine is not None:
        x = x + _rows(_in_cells(fine, 2), image_index, x.shape[0])
    return decoder.activation(x)


def _quadruple(x: Tensor, conv: nn.Module) -> Tensor:
    """A transposed convolution of kernel and stride 2 on tokens (..., d) -> (..., 4, d_out): each
    cell's four quarters, row by row."""
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # (d, 4 d_out)
    return (x @ weight).unflatten(-1, (4, -1)) + conv.bias


def _in_cells(feature: Tensor, halvings: int) -> Tensor:
    """(U, c, h 2^k, w 2^k) -> (U, h * w, 4, ..., c): each cell's quarters, and theirs, row by row."""
    side = (2,) * halvings
    x = feature.unflatten(3, (-1, *side)).unflatten(2, (-1, *side))
    # (U, c, h, y1.., w, x1..) -> (U, h, w, y1, x1, .., c)
    halves = [axis for k in range(halvings) for axis in (3 + k, 4 + halvings + k)]
    x = x.permute(0, 2, 3 + halvings, *halves, 1).flatten(1, 2)
    for k in range(halvings):
        x = x.flatten(2 + k, 3 + k)
    return x


def _rows(x: Tensor, image_index: Tensor | None, count: int) -> Tensor:
    """The row of each sentence of what was made for each image; a view where the image is one."""
    if x.shape[0] == 1:
        return x.expand(count, *x.shape[1:])
    return x if image_index is None else x[image_index]
