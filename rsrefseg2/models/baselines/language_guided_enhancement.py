"""LGCE (arXiv 2306.08625): language enhances the scales by what the others have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import PositiveInt
from ...errors import UserError
from .bert_encoder import Words


class LanguageGuidedEnhancement(nn.Module):
    """The language-guided cross-scale enhancement, between LAVT's encoder and its decoder.

        X   = W_d [pool(F_1); ...; F_4]
        X  <- LN(X + MHA(X, L, L));  X <- LN(X + MHA(X, X, X));  X <- LN(X + MLP(X))
        X_1, ..., X_4 = split(W_u X)
        F_i <- F_i + sigmoid(w_i [F_i; up(X_i)]) * up(X_i)

    The paper's module "utilizes linguistic features to adaptively enhance multi-scale visual
    features by integrating both deep and shallow features". These equations are ours: the paper's
    own were not to be had here, and its code is not public.

    Args:
        widths: C_1 to C_4.
        text_width: C_t.
        inner: width of X.
        heads: of both attentions.
    Raises:
        UserError: `inner` is not a multiple of `heads`.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        text_width: int,
        inner: PositiveInt = 512,
        heads: PositiveInt = 8,
    ) -> None:
        super().__init__()
        self.check_values(inner=inner, heads=heads)
        self.widths = list(widths)
        self.down, self.up = nn.Linear(sum(widths), inner), nn.Linear(inner, sum(widths))
        self.language = nn.MultiheadAttention(
            inner, heads, kdim=text_width, vdim=text_width, batch_first=True
        )
        self.scales = nn.MultiheadAttention(inner, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(inner, 2 * inner), nn.GELU(), nn.Linear(2 * inner, inner)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(inner) for _ in range(3))
        self.gates = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths)

    @staticmethod
    def check_values(*, inner: int, heads: int) -> None:
        """Raises a UserError where options do not fit each other."""
        if inner % heads:
            raise UserError(f'attention width inner={inner} is not a multiple of heads={heads}')

    def forward(self, features: Sequence[Tensor], words: Words) -> list[Tensor]:
        """F_1 to F_4, (B, C_i, H_i, W_i), L (B, T, C_t) -> the same shapes."""
        size = features[-1].shape[-2:]
        pooled = torch.cat([F.adaptive_avg_pool2d(f, size) for f in features], 1)
        x = self.down(pooled.flatten(2).mT)  # (B, H_4 W_4, inner)

        told, _ = self.language(
            x, words.features, words.features, key_padding_mask=~words.mask, need_weights=False
        )
        x = self.norms[0](x + told)
        x = self.norms[1](x + self.scales(x, x, x, need_weights=False)[0])
        x = self.norms[2](x + self.mlp(x))

        shares = self.up(x).mT.unflatten(2, size).split(self.widths, 1)
        return [
            self._enhance(gate, f, share)
            for gate, f, share in zip(self.gates, features, shares, strict=True)
        ]

    @staticmethod
    def _enhance(gate: nn.Module, f: Tensor, share: Tensor) -> Tensor:
        up = F.interpolate(share, f.shape[-2:], mode='bilinear', align_corners=False)
        return f + gate(torch.cat([f, up], 1)).sigmoid() * up
