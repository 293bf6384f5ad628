"""A prompter of one's own: no interaction at all, the dense prompt compares v with the sentence."""

from torch import Tensor

from rsrefseg2.models.prompter.base_prompter import BasePrompter
from rsrefseg2.models.symbols import EncodedText, Prompts, TowerSpec
from rsrefseg2.registry import MODELS


@MODELS.register_module()
class PlainPrompter(BasePrompter):
    """The prompts straight from the towers' features: a baseline for the cascade."""

    def __init__(
        self,
        *,
        towers: TowerSpec,
        n_p: int = 9,
        blocks: int = 2,
        inner: int = 512,
        heads: int = 8,
        mlp_hidden: int = 512,
    ) -> None:
        super().__init__()
        self.add_positions(towers, 'query_key', 'learnable')
        sparse = dict(blocks=blocks, inner=inner, heads=heads, mlp_hidden=mlp_hidden)
        self.add_prompts(towers, n_p=n_p, sparse=sparse, dense={})

    def forward(self, v: Tensor, text: EncodedText) -> Prompts:
        """v (B, h1*w1, d1); text as encoded -> Prompts without t1 and t2."""
        v, v_pe = self.position(v)
        p = self.sparse(text.t_word, *self.read_by_prompts(v, 0.0, v_pe), text.word_mask)
        p_sparse, t = self.split_prompts(p, t_sent=text.t_sent)
        p_dense = self.dense_prompt(t, v=v, v2_act=v)
        return Prompts(None, None, None, None, text.t_word, v, p_sparse, p_dense)
