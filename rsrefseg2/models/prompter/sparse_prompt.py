"""Eq. 6: learnable queries read the text and the activated image and become SAM's tokens."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from .init import learnable_or_zero
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

    def forward(
        self,
        p: Tensor,
        t: Tensor,
        v: Tensor,
        *,
        p_pe: Tensor | float,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> Tensor:
        """p (B, n_p, d2), t (B, n_t, d1), v (B, h1*w1, d1) -> (B, n_p, d2).

        t_mask (B, n_t) bool: which text vectors are read; None: all.
        """
        p = self.self_attn(p, p, x_pe=p_pe, context_pe=p_pe)

        p = self.text_attn(p, t, x_pe=p_pe, context_pe=t_pe, context_mask=t_mask)
        p = self.text_mlp(p)

        p = self.image_attn(p, v, x_pe=p_pe, context_pe=v_pe)
        return self.image_mlp(p)


class SparsePrompt(nn.Module):
    """Eq. 6: n_p prompts of SAM's width d2; a two-layer MLP at the end.

    Args:
        d1, d2: widths of text and image, and of the prompts.  n_p: prompts.  blocks: N.
        init: what the queries start from (Table IX): 'learnable' vectors, or fixed zeros ('zero').
        pe: their position embedding (Table IX): 'learnable', or fixed zeros ('zero').
    """

    def __init__(
        self,
        *,
        d1: int,
        d2: int,
        n_p: int,
        blocks: int,
        inner: int,
        heads: int,
        mlp_hidden: int,
        init: Literal['learnable', 'zero'] = 'learnable',
        pe: Literal['learnable', 'zero'] = 'learnable',
    ) -> None:
        super().__init__()
        self.n_p, self.d2 = n_p, d2
        self.queries = learnable_or_zero(init, n_p, d2, name='init')
        self.pe = learnable_or_zero(pe, n_p, d2, name='pe')
        self.blocks = nn.ModuleList(
            SparsePromptBlock(d1=d1, d2=d2, inner=inner, heads=heads, mlp_hidden=mlp_hidden)
            for _ in range(blocks)
        )
        self.head = mlp(d2, mlp_hidden)

    def start(self, batch: int) -> Tensor:
        """The queries for `batch` sentences: (B, n_p, d2)."""
        if self.queries is None:
            return self.head[0].weight.new_zeros(batch, self.n_p, self.d2)
        return self.queries.expand(batch, -1, -1)

    def step(
        self,
        block: SparsePromptBlock,
        p: Tensor,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> Tensor:
        """One of `blocks` with the prompts' own positions: (B, n_p, d2) -> the same."""
        p_pe = 0.0 if self.pe is None else self.pe
        return block(p, t, v, p_pe=p_pe, t_pe=t_pe, v_pe=v_pe, t_mask=t_mask)

    def forward(
        self,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> Tensor:
        """t (B, n_t, d1), v (B, h1*w1, d1) -> p_sparse (B, n_p, d2)."""
        p = self.start(t.shape[0])
        for block in self.blocks:
            p = self.step(block, p, t, v, t_pe, v_pe, t_mask)
        return self.head(p)
