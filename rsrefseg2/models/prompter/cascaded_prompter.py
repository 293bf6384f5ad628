"""Sec. III-C: the cascaded second-order prompter, from SigLIP's features to SAM's prompts."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ...bounds import PositiveInt
from ...registry import MODELS
from ..symbols import EncodedText, Prompts, TowerSpec
from .base_prompter import BasePrompter, Position, PositionKind
from .semantic_decomposition import SemanticDecomposition
from .text_visual_interaction import TextVisualInteraction


def orders_of(blocks: int | tuple[int, int]) -> tuple[int, int]:
    """`interaction_blocks` -> depths of the first and the second order."""
    first, second = (blocks, blocks) if isinstance(blocks, int) else blocks
    return first, second


@MODELS.register_module()
class CascadedPrompter(BasePrompter):
    """Eq. 3: (p_sparse, p_dense) = Phi_prompter(v, t_word, t_sent).

    Sub-layers: `decomposition` (Eq. 4), `first_order` and `second_order` (Eq. 5), `sparse`
    (Eq. 6), `dense` (Eq. 7).

    Args:
        towers: what the towers are; `RSRefSeg2` gives it.
        n_t: vectors per semantic subspace.  n_p: sparse prompts.
        decomposition_blocks, interaction_blocks, prompt_blocks: N of Eqs. 4, 5 and 6; a pair of
            interaction_blocks is the depth of the first and of the second order.
        inner, heads, mlp_hidden: width and heads of every attention, hidden width of every MLP.
        visual_position: the embedding of the h1 x w1 patches is added to the queries and keys of
            every attention ('query_key', the release), to the values too ('attention'), or once to
            v itself ('add'), so that it reaches the dense prompt as well.
        visual_pe: that embedding (Table IX): 'learnable', fixed sine and cosine of the patch's
            row and column ('sine'), or fixed zeros ('zero').
        decomposition, interaction, sparse: further options of `SemanticDecomposition` (Tables IX
            and XI), `TextVisualInteraction` (Table XII) and `SparsePrompt` (Table IX).
        dense: options of `DensePrompt`; None: no dense prompt.

    Raises:
        UserError: `inner` is not a multiple of `heads`.
        ValueError: another visual_position or visual_pe.
    """

    STACKS: ClassVar[tuple[str, ...]] = ('first_order', 'second_order')

    def __init__(
        self,
        *,
        towers: TowerSpec,
        n_t: PositiveInt = 3,
        n_p: PositiveInt = 9,
        decomposition_blocks: PositiveInt = 2,
        interaction_blocks: PositiveInt | tuple[PositiveInt, PositiveInt] = 2,
        prompt_blocks: PositiveInt = 2,
        inner: PositiveInt = 512,
        heads: PositiveInt = 8,
        mlp_hidden: PositiveInt = 512,
        visual_position: Position = 'query_key',
        visual_pe: PositionKind = 'learnable',
        decomposition: dict | None = None,
        interaction: dict | None = None,
        sparse: dict | None = None,
        dense: dict | None = None,
    ) -> None:
        super().__init__()
        self.check_values(
            inner=inner,
            heads=heads,
            interaction_blocks=interaction_blocks,
            prompt_blocks=prompt_blocks,
        )
        width: dict[str, Any] = dict(inner=inner, heads=heads, mlp_hidden=mlp_hidden)
        self.decomposition = SemanticDecomposition(
            d1=towers.d1, n_t=n_t, blocks=decomposition_blocks, **width, **(decomposition or {})
        )
        self.add_positions(towers, visual_position, visual_pe)
        self.first_order, self.second_order = (
            TextVisualInteraction(d1=towers.d1, blocks=blocks, **width, **(interaction or {}))
            for blocks in orders_of(interaction_blocks)
        )
        sparse = dict(blocks=prompt_blocks, **width, **(sparse or {}))
        self.add_prompts(towers, n_p=n_p, sparse=sparse, dense=dense)

    @staticmethod
    def check_values(  # type: ignore[override]  # each class is asked by its own arguments
        *, inner: int, heads: int, interaction_blocks: int | tuple[int, int], prompt_blocks: int
    ) -> None:
        """Raise a UserError where options do not fit each other."""
        BasePrompter.check_values(inner=inner, heads=heads)

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1), one row per sentence; text as encoded -> every symbol of Eqs. 4-7."""
        v, v_pe = self.position(v)
        pe1, pe2 = self.decomposition.positions

        t1, t2 = self.decomposition(text.t_word, text.word_mask)  # Eq. 4

        t1_act, v1_act, scores1 = self.first_order(t1, v, pe1, v_pe)  # Eq. 5
        t2_act, v2_act, scores2 = self.second_order(t2, v1_act, pe2, v_pe)  # Eq. 5 again

        p = self.sparse(t2_act, *self.read_by_prompts(v2_act, pe2, v_pe))  # Eq. 6
        p_sparse, t = self.split_prompts(p, t_sent=text.t_sent, t2=t2, t2_act=t2_act)

        p_dense = self.dense_prompt(t, v=v, v2_act=v2_act)  # Eq. 7
        scores = self.scores_by_stack(scores1, scores2)
        return Prompts(t1, t2, t1_act, v1_act, t2_act, v2_act, p_sparse, p_dense, scores)
