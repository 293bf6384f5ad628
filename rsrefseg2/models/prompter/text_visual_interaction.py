"""Eq. 5: the image is activated by one semantic subspace; used twice, first and second order."""

from __future__ import annotations

from torch import Tensor, nn

from ...errors import UserError
from .layers import AttentionStep, MLPStep


class InteractionBlock(nn.Module):
    """One block of Eq. 5, every step residual and post-norm.

    Sub-layers: self-attention of the text vectors; the image tokens attend to them; with
    `patch_attention` the image tokens attend to each other; an MLP.
    """

    def __init__(
        self,
        *,
        d1: int,
        inner: int,
        heads: int,
        mlp_hidden: int,
        text_attention: bool = True,
        image_attention: bool = True,
        patch_attention: bool = False,
    ) -> None:
        super().__init__()
        self.text_attn = AttentionStep(d=d1, inner=inner, heads=heads, attention=text_attention)
        self.image_attn = AttentionStep(d=d1, inner=inner, heads=heads, attention=image_attention)
        self.patch_attn = AttentionStep(d=d1, inner=inner, heads=heads) if patch_attention else None
        self.image_mlp = MLPStep(d=d1, hidden=mlp_hidden)

    def forward(
        self,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """t (B, n_t, d1), v (B, h1*w1, d1), their position terms -> t', v'.

        t_mask (B, n_t) bool: which text vectors are read; None: all.
        """
        t = self.text_attn(t, t, x_pe=t_pe, context_pe=t_pe, context_mask=t_mask)

        v = self.image_attn(v, t, x_pe=v_pe, context_pe=t_pe, context_mask=t_mask)
        if self.patch_attn is not None:
            v = self.patch_attn(v, v, x_pe=v_pe, context_pe=v_pe)
        v = self.image_mlp(v)
        return t, v


class TextVisualInteraction(nn.Module):
    """Eq. 5: N blocks; the text of one block feeds the next.

    Args:
        d1: width.  blocks: N.
        text_attention, image_attention: the two attentions of Table XII; one that is off leaves
            its LN. Without both, v passes LN and MLP only.
        patch_attention: off in the paper: Eq. 5 compares each patch with the text alone, so that no
            part of the prompter that has read the text compares two places; with it the patches
            attend to each other in every block.
        image_scores: also return where the image reads the text, which AttentionLoss supervises.
    Raises:
        UserError: image_scores without image_attention.
    """

    def __init__(
        self,
        *,
        d1: int,
        blocks: int,
        inner: int,
        heads: int,
        mlp_hidden: int,
        text_attention: bool = True,
        image_attention: bool = True,
        patch_attention: bool = False,
        image_scores: bool = False,
    ) -> None:
        super().__init__()
        self.check_values(image_attention=image_attention, image_scores=image_scores)
        self.image_scores = image_scores
        self.blocks = nn.ModuleList(
            InteractionBlock(
                d1=d1,
                inner=inner,
                heads=heads,
                mlp_hidden=mlp_hidden,
                text_attention=text_attention,
                image_attention=image_attention,
                patch_attention=patch_attention,
            )
            for _ in range(blocks)
        )

    @staticmethod
    def check_values(*, image_attention: bool, image_scores: bool) -> None:
        """Raise a UserError where options do not fit each other."""
        if image_scores and not image_attention:
            raise UserError('interaction.image_scores needs interaction.image_attention')

    def forward(
        self,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """t (B, n_t, d1), v (B, h1*w1, d1) -> t_act, v_act of the same shapes, `scores`."""
        for block in self.blocks:
            v_read = v
            t, v = block(t, v, t_pe, v_pe, t_mask)
        return t, v, self.scores(t, v_read, t_pe, v_pe, t_mask)

    def scores(
        self,
        t: Tensor,
        v: Tensor,
        t_pe: Tensor | float,
        v_pe: Tensor | float,
        t_mask: Tensor | None = None,
    ) -> Tensor | None:
        """Where the last block's image attention reads: (B, h1*w1), the logits of each image token
        against the text vectors, mean over heads and vectors; None unless `image_scores`.

        Args:
            t: the text that the last block reads, which is the text that it returns.
            v: the image that the last block gets.
        """
        if not self.image_scores:
            return None
        return self.blocks[-1].image_attn.attn.mean_scores(v + v_pe, t + t_pe, t_mask)
