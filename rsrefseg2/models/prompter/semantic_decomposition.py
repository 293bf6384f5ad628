"""Eq. 4: the sentence is taken apart into two semantic subspaces."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .init import learnable_or_zero
from .layers import AttentionStep, MLPStep


def text_pool(t_word: Tensor, word_mask: Tensor, n_t: int) -> Tensor:
    """Adaptive average pooling of each sentence over its own length.

    Bin k of n_t covers the words floor(k L / n_t) .. ceil((k + 1) L / n_t) - 1: bins overlap where
    the sentence is shorter than n_t. Equal to pooling each sentence alone.

    Args:
        t_word: (B, L, d1).  word_mask: (B, L) bool.
    Returns:
        (B, n_t, d1).
    """
    lengths = word_mask.sum(1)[:, None]  # (B, 1)
    k = torch.arange(n_t, device=t_word.device)  # (n_t,)
    start = (k * lengths) // n_t  # (B, n_t)
    end = -((-(k + 1) * lengths) // n_t)
    position = torch.arange(t_word.shape[1], device=t_word.device)  # (L,)
    inside = (position >= start[..., None]) & (position < end[..., None])  # (B, n_t, L)
    weights = inside.to(t_word.dtype) / (end - start)[..., None]
    return weights @ t_word.masked_fill(~word_mask[..., None], 0)


class DecompositionBlock(nn.Module):
    """One block of Eq. 4 on the pair (t1, t2), every step residual and post-norm.

    Sub-layers: within each subspace a self-attention; from the words to each subspace a
    cross-attention and an MLP; then the exchange in turn: t1 reads t2, t2 reads the updated t1.
    """

    def __init__(
        self,
        *,
        d1: int,
        inner: int,
        heads: int,
        mlp_hidden: int,
        intra_attention: bool = True,
        inter_attention: bool = True,
    ) -> None:
        super().__init__()

        def pair(step: type[nn.Module], **kwargs: int) -> nn.ModuleList:
            return nn.ModuleList(step(d=d1, **kwargs) for _ in range(2))

        self.self_attn = pair(AttentionStep, inner=inner, heads=heads, attention=intra_attention)
        self.word_attn = pair(AttentionStep, inner=inner, heads=heads)
        self.word_mlp = pair(MLPStep, hidden=mlp_hidden)
        self.exchange_attn = pair(
            AttentionStep, inner=inner, heads=heads, attention=inter_attention
        )
        self.exchange_mlp = pair(MLPStep, hidden=mlp_hidden)

    def forward(
        self,
        t1: Tensor,
        t2: Tensor,
        t_word: Tensor,
        word_mask: Tensor | None,
        pe: Tensor | tuple[float, float],
    ) -> tuple[Tensor, Tensor]:
        """t1, t2 (B, n_t, d1), t_word (B, L, d1), pe (2, n_t, d1) -> t1, t2."""
        t = [t1, t2]
        for i in (0, 1):
            t[i] = self.self_attn[i](t[i], t[i], x_pe=pe[i], context_pe=pe[i])

        for i in (0, 1):
            t[i] = self.word_attn[i](t[i], t_word, x_pe=pe[i], context_mask=word_mask)
            t[i] = self.word_mlp[i](t[i])

        for i, other in ((0, 1), (1, 0)):
            t[i] = self.exchange_attn[i](t[i], t[other], x_pe=pe[i], context_pe=pe[other])
            t[i] = self.exchange_mlp[i](t[i])
        return t[0], t[1]


class SemanticDecomposition(nn.Module):
    """Eq. 4: n_t vectors per subspace, from the pooled words ("textpool").

    Args:
        d1: width.  n_t: vectors per subspace.  blocks: N.
        mask_words: ignore the padding of `t_word` (off only in the release's variant).
        init: what t1 and t2 start from (Table IX): the pooled words ('textpool'), 'learnable'
            vectors of each subspace, or fixed zeros ('zero').
        pe: their position embeddings (Table IX): 'learnable', or fixed zeros ('zero').
        intra_attention, inter_attention: the self-attention within a subspace and the exchange
            between the two (Table XI); one that is off leaves its LN, and the exchange its MLP.
    Raises:
        ValueError: another init or pe.
    """

    def __init__(
        self,
        *,
        d1: int,
        n_t: int,
        blocks: int,
        inner: int,
        heads: int,
        mlp_hidden: int,
        mask_words: bool = True,
        init: Literal['textpool', 'learnable', 'zero'] = 'textpool',
        pe: Literal['learnable', 'zero'] = 'learnable',
        intra_attention: bool = True,
        inter_attention: bool = True,
    ) -> None:
        super().__init__()
        self.n_t, self.mask_words, self.init = n_t, mask_words, init
        self.pe = learnable_or_zero(pe, 2, n_t, d1, name='pe')
        self.queries = (
            None if init == 'textpool' else learnable_or_zero(init, 2, n_t, d1, name='init')
        )
        self.blocks = nn.ModuleList(
            DecompositionBlock(
                d1=d1,
                inner=inner,
                heads=heads,
                mlp_hidden=mlp_hidden,
                intra_attention=intra_attention,
                inter_attention=inter_attention,
            )
            for _ in range(blocks)
        )

    @property
    def positions(self) -> Tensor | tuple[float, float]:
        """The position terms of both subspaces, (2, n_t, d1) or zeros."""
        return (0.0, 0.0) if self.pe is None else self.pe

    def start(self, t_word: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        """What t1 and t2 are before the first block, each (B, n_t, d1)."""
        if self.init == 'textpool':
            pooled = text_pool(t_word, word_mask, self.n_t)
            return pooled, pooled
        shape = (t_word.shape[0], self.n_t, t_word.shape[2])
        if self.queries is None:
            return t_word.new_zeros(shape), t_word.new_zeros(shape)
        return self.queries[0].expand(shape), self.queries[1].expand(shape)

    def forward(self, t_word: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        """t_word (B, L, d1), word_mask (B, L) bool -> t1, t2, each (B, n_t, d1)."""
        if not self.mask_words:
            word_mask = torch.ones_like(word_mask)
        t1, t2 = self.start(t_word, word_mask)
        for block in self.blocks:
            t1, t2 = block(t1, t2, t_word, word_mask, self.positions)
        return t1, t2
