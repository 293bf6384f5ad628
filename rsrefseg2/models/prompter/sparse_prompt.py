"""Eq. 6: learnable queries read the text and the activated image and become SAM's tokens."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import AttentionStep, MLPStep, mlp


class SparsePromptBlock(nn.Module):
    """One block of Eq. 6, every step residual and post-norm, one after the other.

    Sub-layers: self-attention of the prompts; they attend to the text vectors, MLP; they attend to
    the image tokens, MLP.
    """

    def __init__(self, *, d1: int, d2: int, inner: int, heads: int, mlp_hidden: int) -> None:
        super().__init__()
        self.self_attn = AttentionStep(d=d2, inner=inner, heads=heads)
        self.text_attn = AttentionStep(d=d2, d_context=d1, inner=inner, heads=heads)
        self.text_mlp = MLPStep(d=d2, hidden=mlp_hidden)
        self.image_attn = AttentionStep(d=d2, d_context=d1, inner=inner, heads=heads)
        self.image_mlp = MLPStep(d=d2, hidden=mlp_hidden)

    def forward(self, p: Tensor, t: Tensor, v: Tensor, *, p_pe: Tensor, t_pe: Tensor,
                v_pe: Tensor | float) -> Tensor:
        """p (B, n_p, d2), t (B, n_t, d1), v (B, h1*w1, d1) -> (B, n_p, d2)."""
        p = self.self_attn(p, p, x_pe=p_pe, context_pe=p_pe)

        p = self.text_attn(p, t, x_pe=p_pe, context_pe=t_pe)
        p = self.text_mlp(p)

        p = self.image_attn(p, v, x_pe=p_pe, context_pe=v_pe)
        return self.image_mlp(p)


class SparsePrompt(nn.Module):
    """Eq. 6: n_p prompts of SAM's width d2; a two-layer MLP at the end."""

    def __init__(self, *, d1: int, d2: int, n_p: int, blocks: int, inner: int, heads: int,
                 mlp_hidden: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(n_p, d2))
        self.pe = nn.Parameter(torch.randn(n_p, d2))
        self.blocks = nn.ModuleList(
            SparsePromptBlock(d1=d1, d2=d2, inner=inner, heads=heads, mlp_hidden=mlp_hidden)
            for _ in range(blocks))
        self.head = mlp(d2, mlp_hidden)

    def start(self, batch: int) -> Tensor:
        """The learnable queries for `batch` sentences: (B, n_p, d2)."""
        return self.queries.expand(batch, -1, -1)

    def forward(self, t: Tensor, v: Tensor, t_pe: Tensor, v_pe: Tensor | float) -> Tensor:
        """t (B, n_t, d1), v (B, h1*w1, d1) -> p_sparse (B, n_p, d2)."""
        p = self.start(len(t))
        for block in self.blocks:
            p = block(p, t, v, p_pe=self.pe, t_pe=t_pe, v_pe=v_pe)
        return self.head(p)
