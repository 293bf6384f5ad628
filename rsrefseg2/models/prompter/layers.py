"""The residual post-norm step that Eqs. 4-6 share: x <- LN(x + f(x))."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError
from ..towers.plain_forms import is_plain

ACTIVATIONS = {'relu': nn.ReLU, 'gelu': nn.GELU}


class Attention(nn.Module):
    """Multi-head attention of width `inner`: softmax(Q K^T / sqrt(inner / heads)) V.

    Where few tokens read many or are read by many, the projections of the many are never made:
    Q K^T = X W_q^T K^T, and W_q^T K^T of a few keys is a few rows (`_by_few_keys`,
    `_by_few_queries`).

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
        # an export leaves the number of words open: no choice may hang on it
        if not is_plain() and isinstance(key.shape[1], int):
            n, m, few = query.shape[1], key.shape[1], self.q_proj.out_features // self.heads
            if 2 * m <= few and m < n:
                return self._by_few_keys(query, key, value, key_mask)
            if 2 * n <= few and n < m:
                return self._by_few_queries(query, key, value, key_mask)

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

    def _by_few_keys(
        self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None
    ) -> Tensor:
        """`forward` with W_q on the side of the M keys and W_o on that of the M values:
        2 heads M d products for a query, not 2 inner d."""
        heads, m = self.heads, key.shape[1]
        w_q = self.q_proj.weight.unflatten(0, (heads, -1))  # (heads, inner / heads, d)
        w_o = self.out_proj.weight.unflatten(1, (heads, -1))  # (d, heads, inner / heads)
        k = self.k_proj(key).unflatten(-1, (heads, -1)) / math.sqrt(w_q.shape[1])
        v = self.v_proj(value).unflatten(-1, (heads, -1))  # (B, M, heads, inner / heads)

        keys = torch.einsum('bmhe,hed->bhmd', k, w_q).flatten(1, 2)  # (B, heads M, d)
        scores = (keys @ query.transpose(1, 2)).unflatten(1, (heads, m))  # (B, heads, M, N)
        from_bias = torch.einsum('bmhe,he->bhm', k, self.q_proj.bias.unflatten(0, (heads, -1)))
        scores = scores + from_bias[..., None]
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask[:, None, :, None], -math.inf)
        weight = scores.softmax(2).flatten(1, 2)  # (B, heads M, N)

        values = torch.einsum('bmhe,dhe->bhmd', v, w_o).flatten(1, 2)  # (B, heads M, d)
        return weight.transpose(1, 2) @ values + self.out_proj.bias

    def _by_few_queries(
        self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None
    ) -> Tensor:
        """`forward` with W_k on the side of the N queries, and W_v behind the sum over the M
        values: 2 heads N d_context products for a key, not 2 inner d_context."""
        heads, n = self.heads, query.shape[1]
        w_k = self.k_proj.weight.unflatten(0, (heads, -1))  # (heads, inner / heads, d_context)
        w_v = self.v_proj.weight.unflatten(0, (heads, -1))
        q = self.q_proj(query).unflatten(-1, (heads, -1)) / math.sqrt(w_k.shape[1])

        queries = torch.einsum('bnhe,hec->bhnc', q, w_k).flatten(1, 2)  # (B, heads N, d_context)
        scores = (queries @ key.transpose(1, 2)).unflatten(1, (heads, n))  # (B, heads, N, M)
        from_bias = torch.einsum('bnhe,he->bhn', q, self.k_proj.bias.unflatten(0, (heads, -1)))
        scores = scores + from_bias[..., None]
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask[:, None, None, :], -math.inf)
        weight = scores.softmax(3).flatten(1, 2)  # (B, heads N, M)

        read = (weight @ value).unflatten(1, (heads, n))  # (B, heads, N, d_context)
        out = torch.einsum('bhnc,hec->bnhe', read, w_v).flatten(2)  # (B, N, inner)
        return self.out_proj(out + self.v_proj.bias)

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
        query, key = _placed(x, x_pe), _placed(context, context_pe)
        return self.norm(x + self.attn(query, key, context, context_mask))


def _placed(x: Tensor, pe: Tensor | float) -> Tensor:
    """x + pe, without a copy of x where there is no position."""
    return x if isinstance(pe, float) and pe == 0 and not is_plain() else x + pe


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
