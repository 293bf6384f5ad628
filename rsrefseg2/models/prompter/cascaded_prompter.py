"""Sec. III-C: the cascaded second-order prompter, from SigLIP's features to SAM's prompts."""
from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...registry import MODELS
from ..outputs import EncodedText, Prompts
from .dense_prompt import DensePrompt
from .semantic_decomposition import SemanticDecomposition
from .sparse_prompt import SparsePrompt
from .text_visual_interaction import TextVisualInteraction


@MODELS.register_module()
class CascadedPrompter(nn.Module):
    """Eq. 3: (p_sparse, p_dense) = Phi_prompter(v, t_word, t_sent).

    Sub-layers: `decomposition` (Eq. 4), `first_order` and `second_order` (Eq. 5), `sparse`
    (Eq. 6), `dense` (Eq. 7).

    Args:
        d1, d2, grid_size, prompt_size, logit_scale, logit_bias: what the towers know; `RSRefSeg2`
            injects them.
        n_t: vectors per semantic subspace.  n_p: sparse prompts.
        decomposition_blocks, interaction_blocks, prompt_blocks: N of Eqs. 4, 5 and 6.
        inner, heads, mlp_hidden: width and heads of every attention, hidden width of every MLP.
        visual_position: the learnable embedding of the h1 x w1 patches is added to the queries and
            keys of every attention ('query_key', the release), or once to v itself ('add'), so
            that it reaches values and dense prompt too.
        interleaved: second-order and prompt blocks in turn (release) instead of one stack after
            the other (paper: Table VII varies them apart).
        mask_words: ignore padding in the decomposition; False only for the release.
        dense: options of `DensePrompt`; None: no dense prompt.
    Raises:
        ValueError: interleaved with unequal numbers of blocks.
    """

    def __init__(self, *, d1: int, d2: int, grid_size: tuple[int, int],
                 prompt_size: tuple[int, int], logit_scale: float, logit_bias: float,
                 n_t: int = 3, n_p: int = 9, decomposition_blocks: int = 2,
                 interaction_blocks: int = 2, prompt_blocks: int = 2, inner: int = 512,
                 heads: int = 8, mlp_hidden: int = 512,
                 visual_position: Literal['query_key', 'add'] = 'query_key',
                 interleaved: bool = False, mask_words: bool = True,
                 dense: dict | None = None) -> None:
        super().__init__()
        if visual_position not in ('query_key', 'add'):
            raise ValueError(f"visual_position is 'query_key' or 'add', not {visual_position!r}")
        if interleaved and interaction_blocks != prompt_blocks:
            raise ValueError(f'interleaved=True needs interaction_blocks == prompt_blocks, not '
                             f'{interaction_blocks} and {prompt_blocks}')
        self.grid_size, self.interleaved = tuple(grid_size), interleaved
        self.visual_position = visual_position
        width = dict(inner=inner, heads=heads, mlp_hidden=mlp_hidden)
        self.decomposition = SemanticDecomposition(
            d1=d1, n_t=n_t, blocks=decomposition_blocks, mask_words=mask_words, **width)
        self.visual_pe = nn.Parameter(torch.randn(grid_size[0] * grid_size[1], d1) * 0.02)
        self.first_order = TextVisualInteraction(d1=d1, blocks=interaction_blocks, **width)
        self.second_order = TextVisualInteraction(d1=d1, blocks=interaction_blocks, **width)
        self.sparse = SparsePrompt(d1=d1, d2=d2, n_p=n_p, blocks=prompt_blocks, **width)
        self.dense = None if dense is None else DensePrompt(
            d1=d1, size=prompt_size, logit_scale=logit_scale, logit_bias=logit_bias, **dense)

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1), one row per sentence; text as encoded -> every symbol of Eqs. 4-7."""
        if self.visual_position == 'add':
            v, v_pe = v + self.visual_pe, 0.0
        else:
            v_pe = self.visual_pe
        pe1, pe2 = self.decomposition.pe

        t1, t2 = self.decomposition(text.t_word, text.word_mask)                  # Eq. 4

        t1_act, v1_act = self.first_order(t1, v, pe1, v_pe)                       # Eq. 5

        if self.interleaved:
            t2_act, v2_act, p_sparse = self._interleaved(t2, v1_act, pe2, v_pe)   # Eqs. 5 and 6
        else:
            t2_act, v2_act = self.second_order(t2, v1_act, pe2, v_pe)             # Eq. 5
            p_sparse = self.sparse(t2_act, v2_act, pe2, v_pe)                     # Eq. 6

        p_dense = None
        if self.dense is not None:
            p_dense = self.dense(v2_act, text.t_sent, self.grid_size)             # Eq. 7
        return Prompts(t1, t2, t1_act, v1_act, t2_act, v2_act, p_sparse, p_dense)

    def _interleaved(self, t: Tensor, v: Tensor, t_pe: Tensor, v_pe: Tensor | float
                     ) -> tuple[Tensor, Tensor, Tensor]:
        """The release's order: each second-order block is followed by a block of Eq. 6."""
        p = self.sparse.start(len(t))
        for interact, prompt in zip(self.second_order.blocks, self.sparse.blocks, strict=True):
            t, v = interact(t, v, t_pe, v_pe)
            p = prompt(p, t, v, p_pe=self.sparse.pe, t_pe=t_pe, v_pe=v_pe)
        return t, v, self.sparse.head(p)
