"""RSRefSeg (arXiv 2501.06809): the sentence's cosines filter the image, which becomes prompts."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import NonNegativeInt
from ...errors import UserError
from ...registry import MODELS
from ..symbols import EncodedText, Prompts, TowerSpec, at_least_float32
from .batch_norm import SyncedBatchNorm2d


@MODELS.register_module()
class AttnPrompter(nn.Module):
    """The single stage of RSRefSeg, in place of Eq. 3.

        a_l     = sigmoid(s cos(v, t_word_l) + b)            every word l of L
        v_local = (v + 1/L sum_l a_l v) / 2
        g       = s cos(v, t_sent) + b
        v_global = sigmoid(g) v
        x       = act(BN(W_c [v_local; v_global; v])) + PE
        p_sparse = W_o (act(BN(Conv_3x3, stride 2)))^n (x)
        p_dense = up(g)

    s and b are SigLIP's own and fixed. PE is SAM's encoding of the patches' centres. As the
    authors' code has it, but for the mean over words: theirs counts the padding of the batch, here
    it is the sentence's own words, so that no answer depends on its batch.

    Sub-layers: `reduce` (W_c, BN, act), `shrink` (the strided convolutions and W_o), `dense` or
    None.

    Args:
        down_spatial: n, halvings of the grid: 27 x 27 patches and n = 2 make 49 sparse prompts.
        dense: {}: with p_dense, None: without.
    Raises:
        UserError: the towers' spec has no positions of SAM.
    """

    def __init__(
        self, *, towers: TowerSpec, down_spatial: NonNegativeInt = 2, dense: dict | None = None
    ) -> None:
        super().__init__()
        if towers.sam_positions is None:
            raise UserError('AttnPrompter needs towers.sam_positions, which RSRefSeg2 gives')
        self.grid_size = towers.grid_size
        self.logit_scale, self.logit_bias = math.exp(towers.logit_scale), towers.logit_bias
        # Persistent: a SAM of random weights has another basis in the next process.
        self.register_buffer('positions', towers.sam_positions.clone())
        self.reduce = _conv_bn_act(3 * towers.d1, towers.d2, kernel=1)
        steps = [
            _conv_bn_act(towers.d2, towers.d2, kernel=3, stride=2) for _ in range(down_spatial)
        ]
        self.shrink = nn.Sequential(*steps, nn.Conv2d(towers.d2, towers.d2, 1))
        self.dense = None if dense is None else GlobalActivation(towers.prompt_size, **dense)

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1), one row per sentence; text as encoded -> p_sparse, p_dense; v2_act is
        v_local, t2_act the words."""
        unit = F.normalize(at_least_float32(v), dim=-1)

        a = self._logits(unit, text.t_word).sigmoid()  # (B, h1*w1, L)
        a = a * text.word_mask[:, None]
        mean = a.sum(-1, keepdim=True) / text.word_mask.sum(-1)[:, None, None]
        v_local = (v + mean.to(v.dtype) * v) / 2

        g = self._logits(unit, text.t_sent[:, None])  # (B, h1*w1, 1)
        v_global = g.sigmoid().to(v.dtype) * v

        x = self._grid(torch.cat([v_local, v_global, v], -1))  # (B, 3 d1, h1, w1)
        x = self.reduce(x) + self._grid(self.positions[None])
        p_sparse = self.shrink(x).flatten(2).mT  # (B, n_p, d2)

        p_dense = None if self.dense is None else self.dense(g[..., 0].unflatten(1, self.grid_size))
        return Prompts(None, None, None, None, text.t_word, v_local, p_sparse, p_dense)

    def _logits(self, unit: Tensor, text: Tensor) -> Tensor:
        """unit v (B, h1*w1, d1), text (B, L, d1) -> s cos + b (B, h1*w1, L), at least float32."""
        with torch.autocast(unit.device.type, enabled=False):
            cosine = unit @ F.normalize(at_least_float32(text), dim=-1).mT
        return self.logit_scale * cosine + self.logit_bias

    def _grid(self, tokens: Tensor) -> Tensor:
        """(B, h1*w1, C) -> (B, C, h1, w1)."""
        return tokens.mT.unflatten(2, self.grid_size)


class GlobalActivation(nn.Module):
    """p_dense = up(g), bilinear, to SAM's mask-prompt size (H2/4, W2/4)."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, logits: Tensor) -> Tensor:
        """g (B, h1, w1) -> (B, H2/4, W2/4) float32."""
        return F.interpolate(
            at_least_float32(logits)[:, None], self.size, mode='bilinear', align_corners=False
        )[:, 0]


def _conv_bn_act(width_in: int, width_out: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel, stride, padding=kernel // 2, bias=False),
        SyncedBatchNorm2d(width_out),
        nn.GELU(),
    )
