"""Eq. 11: the two semantic subspaces should differ."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import NonNegativeFloat
from ...errors import UserError
from ...registry import MODELS
from ..symbols import RefSegOutputs, Targets, at_least_float32


def orthogonal_loss(t1: Tensor, t2: Tensor) -> Tensor:
    """Eq. 11: mean over the batch of cos^2(mean(t1), mean(t2)), the means over n_t.

    Args:
        t1, t2: (B, n_t, d1).
    """
    return (
        F.cosine_similarity(at_least_float32(t1).mean(1), at_least_float32(t2).mean(1), dim=-1)
        .square()
        .mean()
    )


@MODELS.register_module()
class OrthogonalLoss(nn.Module):
    """Eq. 11 as a module."""

    def __init__(self, *, loss_weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_ortho`, a scalar.

        Raises:
            ValueError: the prompter decomposes nothing.
        """
        prompts = outputs.prompts
        if prompts.t1 is None or prompts.t2 is None:
            raise UserError(
                'OrthogonalLoss needs t1 and t2: use CascadedPrompter, or losses.ortho to None'
            )
        return {'loss_ortho': self.loss_weight * orthogonal_loss(prompts.t1, prompts.t2)}
