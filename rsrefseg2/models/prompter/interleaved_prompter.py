"""The public release's order of Eq. 3: blocks of Eq. 5 and of Eq. 6 in turn."""

from __future__ import annotations

from torch import Tensor

from ...errors import UserError
from ...registry import MODELS
from ..symbols import EncodedText, Prompts
from .base_prompter import BasePrompter
from .cascaded_prompter import CascadedPrompter, orders_of


@MODELS.register_module()
class InterleavedPrompter(CascadedPrompter):
    """Eq. 3 in the release's order: each block of the second order is followed by one of Eq. 6.

    Arguments, sub-layers and weights are those of `CascadedPrompter`, where the whole second order
    comes before the first block of Eq. 6 (the paper varies their depths apart, Table VII).

    Raises:
        UserError: the second order and Eq. 6 differ in depth.
    """

    @staticmethod
    def check_values(  # type: ignore[override]  # each class is asked by its own arguments
        *, inner: int, heads: int, interaction_blocks: int | tuple[int, int], prompt_blocks: int
    ) -> None:
        """Raise a UserError where options do not fit each other."""
        BasePrompter.check_values(inner=inner, heads=heads)
        second = orders_of(interaction_blocks)[1]
        if second != prompt_blocks:
            raise UserError(
                'InterleavedPrompter needs as many blocks of the second order as prompt_blocks, '
                f'not {second} and {prompt_blocks}'
            )

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1), one row per sentence; text as encoded -> every symbol of Eqs. 4-7."""
        v, v_pe = self.position(v)
        pe1, pe2 = self.decomposition.positions

        t1, t2 = self.decomposition(text.t_word, text.word_mask)  # Eq. 4

        t1_act, v1_act, scores1 = self.first_order(t1, v, pe1, v_pe)  # Eq. 5

        t2_act, v2_act, p = t2, v1_act, self.sparse.start(t2.shape[0])
        for activate, prompt in zip(self.second_order.blocks, self.sparse.blocks, strict=True):
            v_read = v2_act
            t2_act, v2_act = activate(t2_act, v2_act, pe2, v_pe)  # Eq. 5 again
            read = self.read_by_prompts(v2_act, pe2, v_pe)
            p = self.sparse.step(prompt, p, t2_act, *read)  # Eq. 6
        p_sparse, t = self.split_prompts(
            self.sparse.head(p), t_sent=text.t_sent, t2=t2, t2_act=t2_act
        )

        p_dense = self.dense_prompt(t, v=v, v2_act=v2_act)  # Eq. 7
        scores = self.scores_by_stack(scores1, self.second_order.scores(t2_act, v_read, pe2, v_pe))
        return Prompts(t1, t2, t1_act, v1_act, t2_act, v2_act, p_sparse, p_dense, scores)
