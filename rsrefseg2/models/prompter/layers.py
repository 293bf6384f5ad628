"""The residual post-norm step that Eqs. 4-6 share: x <- LN(x + f(x))."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError

ACTIVATIONS = {'relu': nn.ReLU, 'gelu': nn.GELU}


class Attention(nn.Module):
    """Multi-head attention of width `inner`: softmax(Q K^T / sqrt(inner / heads)) V.

    Args:
        d: width of the queries and of the output.
        d_context: width of keys and values; `d` by default.
        inner: width inside, a multiple of `heads`.
    """

    def __init__(self, *, d: int, d_context: int | None = None, inner: int, heads: int) -> None:
        super().__init__()
        if inner % heads:
            raise UserError(f'attention width {inner} is not a multiple of its {heads} heads')
        d_context = d if d_context is None else d_context
        self.heads = heads
        self.q_proj = nn.Linear(d, inner)
        self.k_proj = nn.Linear(d_context, inner)
        self.v_proj = nn.Linear(d_context, inner)
        self.out_proj = nn.Linear(inner, d)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None
    ) -> Tensor:
        """query (B, N, d), key and value (B, M, d_context), key_mask (B, M) bool, True = read."""

        def split(x: Tensor) -> Tensor:  # (B, N, inner) -> (B, heads, N, inner / heads)
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mask = None if key_mask is None else key_mask[:, None, None, :]
        out = F.scaled_dot_product_attention(
            split(self.q_proj(query)),
            split(self.k_proj(key)),
            split(self.v_proj(value)),
            attn_mask=mask,
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def mean_scores(self, query: Tensor, key: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """The softmax's arguments Q K^T / sqrt(inner / heads), mean over the heads and over the
        keys that are read: query (B, N, d), key (B, M, d_context) -> (B, N)."""
        q, k = self.q_proj(query), self.k_proj(key)  # (B, N, inner), (B, M, inner)
        read = k.new_ones(k.shape[:2]) if key_mask is None else key_mask.to(k.dtype)
        k = (read[:, None] @ k / read.sum(1)[:, None, None]).transpose(1, 2)  # (B, inner, 1)
        # 1 / heads of the mean times sqrt(heads / inner)
        return (q @ k)[..., 0] / math.sqrt(self.heads * q.shape[-1])


class AttentionStep(nn.Module):
    """x <- LN(x + Attn(x + x_pe, c + c_pe, c)); positions enter queries and keys, not values.

    With `attention=False` (a ✗ of Tables XI and XII) nothing is read: x <- LN(x).
    """

    def __init__(
        self,
        *,
        d: int,
        d_context: int | None = None,
        inner: int,
        heads: int,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.attn = None
        if attention:
            self.attn = Attention(d=d, d_context=d_context, inner=inner, heads=heads)
        self.norm = nn.LayerNorm(d)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        *,
        x_pe: Tensor | float = 0.0,
        context_pe: Tensor | float = 0.0,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """x (B, N, d), context (B, M, d_context) -> (B, N, d)."""
        if self.attn is None:
            return self.norm(x)
        return self.norm(x + self.attn(x + x_pe, context + context_pe, context, context_mask))


class MLPStep(nn.Module):
    """x <- LN(x + W_2 gelu(W_1 x))."""

    def __init__(self, *, d: int, hidden: int) -> None:
        super().__init__()
        self.mlp = mlp(d, hidden)
        self.norm = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) -> (B, N, d)."""
        return self.norm(x + self.mlp(x))


def mlp(d: int, hidden: int, activation: Literal['relu', 'gelu'] = 'gelu') -> nn.Sequential:
    """d -> hidden -> d."""
    return nn.Sequential(nn.Linear(d, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, d))
