"""Table X without the cascade: the image reads the words themselves, once."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ...bounds import PositiveInt
from ...errors import UserError
from ...registry import MODELS
from ..symbols import EncodedText, Prompts, TowerSpec
from .base_prompter import BasePrompter, Position, PositionKind
from .text_visual_interaction import TextVisualInteraction


@MODELS.register_module()
class SingleStagePrompter(BasePrompter):
    """Eq. 3 without Eq. 4: one stack of Eq. 5 on (t_word, v). There is no t1 and no t2.

    Sub-layers: `single_stage` (Eq. 5), `sparse` (Eq. 6), `dense` (Eq. 7).

    Args:
        interaction_blocks, prompt_blocks: N of Eqs. 5 and 6.
        the others: as in `CascadedPrompter`.
    Raises:
        UserError: `inner` is not a multiple of `heads`.
        ValueError: another visual_position or visual_pe.
    """

    STACKS: ClassVar[tuple[str, ...]] = ('single_stage',)

    def __init__(
        self,
        *,
        towers: TowerSpec,
        n_p: PositiveInt = 9,
        interaction_blocks: PositiveInt = 2,
        prompt_blocks: PositiveInt = 2,
        inner: PositiveInt = 512,
        heads: PositiveInt = 8,
        mlp_hidden: PositiveInt = 512,
        visual_position: Position = 'query_key',
        visual_pe: PositionKind = 'learnable',
        interaction: dict | None = None,
        sparse: dict | None = None,
        dense: dict | None = None,
    ) -> None:
        super().__init__()
        self.check_values(inner=inner, heads=heads, dense=dense)
        width: dict[str, Any] = dict(inner=inner, heads=heads, mlp_hidden=mlp_hidden)
        self.add_positions(towers, visual_position, visual_pe)
        self.single_stage = TextVisualInteraction(
            d1=towers.d1, blocks=interaction_blocks, **width, **(interaction or {})
        )
        sparse = dict(blocks=prompt_blocks, **width, **(sparse or {}))
        self.add_prompts(towers, n_p=n_p, sparse=sparse, dense=dense)

    @staticmethod
    def check_values(  # type: ignore[override]  # each class is asked by its own arguments
        *, inner: int, heads: int, dense: dict | None
    ) -> None:
        """Raise a UserError where options do not fit each other."""
        BasePrompter.check_values(inner=inner, heads=heads)
        if (dense or {}).get('text') in ('t2', 't2_act'):
            raise UserError('SingleStagePrompter makes no t2 for the dense prompt to read')

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1), one row per sentence; text as encoded -> every symbol of Eqs. 5-7;
        t2_act are the words (B, L, d1)."""
        v, v_pe = self.position(v)

        t_act, v_act, scores = self.single_stage(  # Eq. 5
            text.t_word, v, 0.0, v_pe, text.word_mask
        )

        p = self.sparse(t_act, *self.read_by_prompts(v_act, 0.0, v_pe), text.word_mask)  # Eq. 6
        p_sparse, t = self.split_prompts(p, t_sent=text.t_sent)

        p_dense = self.dense_prompt(t, v=v, v2_act=v_act)  # Eq. 7
        scores_by_stack = self.scores_by_stack(scores)
        return Prompts(None, None, None, None, t_act, v_act, p_sparse, p_dense, scores_by_stack)
