"""Sec. III-C: the cascaded second-order prompter, from SigLIP's features to SAM's prompts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...bounds import PositiveInt
from ...errors import UserError
from ...registry import MODELS
from ..symbols import EncodedText, Prompts
from .dense_prompt import DensePrompt
from .init import learnable_or_zero, sine_positions
from .semantic_decomposition import SemanticDecomposition
from .sparse_prompt import SparsePrompt
from .text_visual_interaction import TextVisualInteraction


@MODELS.register_module()
class CascadedPrompter(nn.Module):
    """Eq. 3: (p_sparse, p_dense) = Phi_prompter(v, t_word, t_sent).

    Sub-layers: `decomposition` (Eq. 4), `first_order` and `second_order` (Eq. 5), `sparse`
    (Eq. 6), `dense` (Eq. 7); without the cascade `single_stage` in place of the first three.

    Args:
        d1, d2, grid_size, prompt_size, logit_scale, logit_bias: what the towers know; `RSRefSeg2`
            injects them.
        n_t: vectors per semantic subspace.  n_p: sparse prompts.
        decomposition_blocks, interaction_blocks, prompt_blocks: N of Eqs. 4, 5 and 6.
        inner, heads, mlp_hidden: width and heads of every attention, hidden width of every MLP.
        visual_position: the embedding of the h1 x w1 patches is added to the queries and keys of
            every attention ('query_key', the release), to the values too ('attention'), or once to
            v itself ('add'), so that it reaches the dense prompt as well.
        visual_pe: that embedding (Table IX): 'learnable', fixed sine and cosine of the patch's
            row and column ('sine'), or fixed zeros ('zero').
        cascade: False (Table X): one stack of interaction of v with the words themselves, nothing
            decomposed; then there is no t1, no t2, and n_t and decomposition_blocks do nothing.
        interleaved: second-order and prompt blocks in turn (release) instead of one stack after
            the other (paper: Table VII varies them apart).
        mask_words: ignore padding in the decomposition; False only for the release.
        decomposition, interaction, sparse: further options of `SemanticDecomposition` (Tables IX
            and XI), `TextVisualInteraction` (Table XII) and `SparsePrompt` (Table IX).
        dense: options of `DensePrompt`; None: no dense prompt.
    Raises:
        UserError: `inner` is not a multiple of `heads`; interleaved with unequal numbers of
            blocks; options of a decomposition that cascade=False leaves out.
    """

    def __init__(
        self,
        *,
        d1: int,
        d2: int,
        grid_size: tuple[int, int],
        prompt_size: tuple[int, int],
        logit_scale: float,
        logit_bias: float,
        n_t: PositiveInt = 3,
        n_p: PositiveInt = 9,
        decomposition_blocks: PositiveInt = 2,
        interaction_blocks: PositiveInt = 2,
        prompt_blocks: PositiveInt = 2,
        inner: PositiveInt = 512,
        heads: PositiveInt = 8,
        mlp_hidden: PositiveInt = 512,
        visual_position: Literal['query_key', 'attention', 'add'] = 'query_key',
        visual_pe: Literal['learnable', 'sine', 'zero'] = 'learnable',
        cascade: bool = True,
        interleaved: bool = False,
        mask_words: bool = True,
        decomposition: dict | None = None,
        interaction: dict | None = None,
        sparse: dict | None = None,
        dense: dict | None = None,
    ) -> None:
        super().__init__()
        if visual_position not in ('query_key', 'attention', 'add'):
            raise ValueError(
                f"visual_position is 'query_key', 'attention' or 'add', not {visual_position!r}"
            )
        self.check_values(
            inner=inner,
            heads=heads,
            interleaved=interleaved,
            cascade=cascade,
            interaction_blocks=interaction_blocks,
            prompt_blocks=prompt_blocks,
            decomposition=decomposition,
        )
        self.grid_size, self.interleaved = tuple(grid_size), interleaved
        self.visual_position, self.cascade = visual_position, cascade
        width = dict(inner=inner, heads=heads, mlp_hidden=mlp_hidden)

        def stack() -> TextVisualInteraction:
            return TextVisualInteraction(
                d1=d1, blocks=interaction_blocks, **width, **(interaction or {})
            )

        if cascade:
            self.decomposition = SemanticDecomposition(
                d1=d1,
                n_t=n_t,
                blocks=decomposition_blocks,
                mask_words=mask_words,
                **width,
                **(decomposition or {}),
            )
        self._set_visual_pe(visual_pe, d1)
        if cascade:
            self.first_order, self.second_order = stack(), stack()
        else:
            self.single_stage = stack()
        self._dense_reads_sparse = dense is not None and dense.get('text') == 't_sparse'
        self.sparse = SparsePrompt(
            d1=d1,
            d2=d2,
            n_p=n_p + self._dense_reads_sparse,
            blocks=prompt_blocks,
            **width,
            **(sparse or {}),
        )
        self.dense = (
            None
            if dense is None
            else DensePrompt(
                d1=d1,
                d2=d2,
                size=prompt_size,
                logit_scale=logit_scale,
                logit_bias=logit_bias,
                **dense,
            )
        )

    @staticmethod
    def check_values(
        *,
        inner: int,
        heads: int,
        interleaved: bool,
        interaction_blocks: int,
        prompt_blocks: int,
        cascade: bool,
        decomposition: dict | None,
    ) -> None:
        """Raises a UserError where options do not fit each other."""
        if inner % heads:
            raise UserError(f'attention width inner={inner} is not a multiple of heads={heads}')
        if interleaved and interaction_blocks != prompt_blocks:
            raise UserError(
                f'interleaved=True needs interaction_blocks == prompt_blocks, not '
                f'{interaction_blocks} and {prompt_blocks}'
            )
        if decomposition and not cascade:
            raise UserError(
                f'cascade=False has no decomposition, but its options are {decomposition}'
            )

    def _set_visual_pe(self, kind: str, d1: int) -> None:
        if kind == 'sine':  # a constant: no checkpoint needs it
            self.register_buffer('visual_pe', sine_positions(self.grid_size, d1), persistent=False)
        else:
            h1, w1 = self.grid_size
            self.visual_pe = learnable_or_zero(
                kind, h1 * w1, d1, name="visual_pe is 'sine', or it", std=0.02
            )

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1), one row per sentence; text as encoded -> every symbol of Eqs. 4-7."""
        v_pe = 0.0 if self.visual_pe is None else self.visual_pe
        if self.visual_position == 'add':
            v, v_pe = v + v_pe, 0.0

        if self.cascade:
            pe1, pe2 = self.decomposition.positions
            t1, t2 = self.decomposition(text.t_word, text.word_mask)  # Eq. 4
            t1_act, v1_act = self.first_order(t1, v, pe1, v_pe)  # Eq. 5
            last = (self.second_order, t2, v1_act, pe2, v_pe)
        else:
            t1 = t2 = t1_act = v1_act = None
            last = (self.single_stage, text.t_word, v, 0.0, v_pe, text.word_mask)
        step = self._interleaved if self.interleaved else self._in_turn
        t2_act, v2_act, p = step(*last)  # Eqs. 5 and 6

        p_dense, t_dense = None, text.t_sent
        if self._dense_reads_sparse:
            p, t_dense = p[:, :-1], p[:, -1]
        if self.dense is not None:
            p_dense = self.dense(v2_act, t_dense, self.grid_size)  # Eq. 7
        return Prompts(t1, t2, t1_act, v1_act, t2_act, v2_act, p, p_dense)

    def identity_start(self) -> dict[str, Tensor]:
        """{name: zeros} of what Eq. 5 adds to v: with these every step leaves v to its LN."""
        stacks = ('first_order', 'second_order') if self.cascade else ('single_stage',)
        ends = ('image_attn.attn.out_proj.', 'image_mlp.mlp.2.')
        return {
            name: torch.zeros_like(value)
            for name, value in self.state_dict().items()
            if name.startswith(stacks) and any(end in name for end in ends)
        }

    def _in_turn(
        self,
        interaction: TextVisualInteraction,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The last stack of Eq. 5, then that of Eq. 6: t' (B, n_t, d1), v' (B, h1*w1, d1), p."""
        t, v = interaction(t, v, t_pe, v_pe, t_mask)
        return t, v, self.sparse(t, *self._for_prompts(v, t_pe, v_pe), t_mask)

    def _for_prompts(
        self, v: Tensor, t_pe: Tensor | float, v_pe: Tensor | float
    ) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """v, t_pe, v_pe as Eq. 6 reads them: the only step that takes values from v."""
        return (v + v_pe, t_pe, 0.0) if self.visual_position == 'attention' else (v, t_pe, v_pe)

    def _interleaved(
        self,
        interaction: TextVisualInteraction,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The release's order: each interaction is followed by a block of Eq. 6."""
        p = self.sparse.start(len(t))
        for interact, prompt in zip(interaction.blocks, self.sparse.blocks, strict=True):
            t, v = interact(t, v, t_pe, v_pe, t_mask)
            p = self.sparse.step(prompt, p, t, *self._for_prompts(v, t_pe, v_pe), t_mask)
        return t, v, self.sparse.head(p)
