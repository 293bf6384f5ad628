"""What every prompter of Sec. III-C has: positions of the patches, sparse and dense prompts."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...errors import UserError
from ..symbols import TowerSpec
from .dense_prompt import DensePrompt
from .init import learnable_or_zero, sine_positions
from .sparse_prompt import SparsePrompt

Position = Literal['query_key', 'attention', 'add']
PositionKind = Literal['learnable', 'sine', 'zero']


class BasePrompter(nn.Module):
    """The parts that do not depend on how the image is activated.

    Sub-layers: `visual_pe` (h1*w1, d1), `sparse` (Eq. 6), `dense` (Eq. 7) or None. A subclass adds
    its stacks of Eq. 5, between `add_positions` and `add_prompts`, and names them in STACKS.
    """

    STACKS: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def check_values(*, inner: int, heads: int) -> None:
        """Raise a UserError where options do not fit each other."""
        if inner % heads:
            raise UserError(f'attention width inner={inner} is not a multiple of heads={heads}')

    def add_positions(self, towers: TowerSpec, use: Position, kind: PositionKind) -> None:
        """Set `visual_pe` (h1*w1, d1), fixed or learnable; None is read as zeros.

        Raises:
            ValueError: another `use` or `kind`.
        """
        if use not in ('query_key', 'attention', 'add'):
            raise ValueError(f"visual_position is 'query_key', 'attention' or 'add', not {use!r}")
        h1, w1 = self.grid_size = towers.grid_size
        self.visual_position = use
        if kind == 'sine':  # a constant: no checkpoint needs it
            positions = sine_positions(self.grid_size, towers.d1)
            self.register_buffer('visual_pe', positions, persistent=False)
        else:
            self.visual_pe = learnable_or_zero(
                kind, h1 * w1, towers.d1, name="visual_pe is 'sine', or it", std=0.02
            )

    def add_prompts(self, towers: TowerSpec, *, n_p: int, sparse: dict, dense: dict | None) -> None:
        """Set `sparse` and `dense`, which last of all draw their initial weights.

        Args:
            n_p: sparse prompts for SAM; T-sparse (Table XIII) is one more.
            sparse, dense: further arguments of `SparsePrompt` and `DensePrompt`.
        """
        self.dense_reads_sparse = dense is not None and dense.get('text') == 't_sparse'
        n_p += self.dense_reads_sparse
        self.sparse = SparsePrompt(d1=towers.d1, d2=towers.d2, n_p=n_p, **sparse)
        self.dense = None
        if dense is not None:
            self.dense = DensePrompt(
                d1=towers.d1,
                d2=towers.d2,
                size=towers.prompt_size,
                logit_scale=towers.logit_scale,
                logit_bias=towers.logit_bias,
                **dense,
            )

    def position(self, v: Tensor) -> tuple[Tensor, Tensor | float]:
        """v (B, h1*w1, d1) -> v, and what attention adds to its queries and keys, or 0."""
        v_pe = 0.0 if self.visual_pe is None else self.visual_pe
        return (v + v_pe, 0.0) if self.visual_position == 'add' else (v, v_pe)

    def read_by_prompts(
        self, v: Tensor, t_pe: Tensor | float, v_pe: Tensor | float
    ) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """v (B, h1*w1, d1), t_pe (n_t, d1), v_pe (h1*w1, d1) as Eq. 6 reads them: 'attention' adds
        the image's position to the values too, which only Eq. 6 takes from v."""
        return (v + v_pe, t_pe, 0.0) if self.visual_position == 'attention' else (v, t_pe, v_pe)

    def split_prompts(self, p: Tensor, **texts: Tensor) -> tuple[Tensor, Tensor]:
        """p (B, n_p or n_p + 1, d2) -> p_sparse (B, n_p, d2), and the text of Eq. 7: t_sent (B, d1)
        or, by Table XIII, the mean of t2 or t2_act (B, n_t, d1) over n_t, or T-sparse (B, d2)."""
        if self.dense_reads_sparse:
            return p[:, :-1], p[:, -1]
        text = texts['t_sent' if self.dense is None else self.dense.text]
        return p, text if text.ndim == 2 else text.mean(1)

    def dense_prompt(self, text: Tensor, **maps: Tensor) -> Tensor | None:
        """Eq. 7: text (B, d1 or d2), maps by name (B, h1*w1, d1), of which v2_act is read, or v by
        Table XIII -> logits (B, H2/4, W2/4); None: off."""
        if self.dense is None:
            return None
        return self.dense(maps[self.dense.visual], text, self.grid_size)

    def scores_by_stack(self, *scores: Tensor | None) -> dict[str, Tensor] | None:
        """`TextVisualInteraction.scores` of each of STACKS, by name; None: not asked for."""
        found = zip(self.STACKS, scores, strict=True)
        return {stack: score for stack, score in found if score is not None} or None

    def identity_start(self) -> dict[str, Tensor]:
        """{name: zeros} of what Eq. 5 adds to v: with these every step leaves v to its LN."""
        ends = ('image_attn.attn.out_proj.', 'patch_attn.attn.out_proj.', 'image_mlp.mlp.2.')
        return {
            name: torch.zeros_like(value)
            for name, value in self.state_dict().items()
            if name.startswith(self.STACKS) and any(end in name for end in ends)
        }
