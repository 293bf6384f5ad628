"""Supervision of SAM's IoU head: how good is the mask that was drawn?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...bounds import NonNegativeFloat
from ...errors import UserError
from ...registry import MODELS
from ..distributed import mean_over_ranks
from ..symbols import RefSegOutputs, Targets, at_least_float32
from .segmentation import upsample


def drawn_iou(logits: Tensor, masks: Tensor, *, empty: float = 0.0) -> Tensor:
    """(B, H, W) logits, (B, H, W) masks of 0 and 1 -> (B,) IoU of logits > 0 and the masks; `empty`
    where both are empty."""
    drawn, target = logits.flatten(1) > 0, masks.flatten(1) > 0
    intersection, union = (drawn & target).sum(1), (drawn | target).sum(1)
    iou = intersection.to(at_least_float32(logits).dtype) / union.clamp(min=1)
    return torch.where(union > 0, iou, empty)


@MODELS.register_module()
class PredictedIoULoss(nn.Module):
    """The squared error of SAM's predicted IoU. Off in the paper's configs.

    ::

        (s - IoU(mask_logits > 0, target))^2,   s = iou_score, at H2 x W2

    The mean over all ranks' sentences with a target: whether there is one is for `PresenceLoss` to
    say, so the score is the IoU to expect given that there is. No gradient flows through the IoU.

    Needs `model.sam.score_heads` with 'iou'.
    """

    over_all_ranks = True  # weighs its own mean: over the sentences with a mask

    def __init__(self, *, loss_weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_iou`, a scalar.

        Raises:
            UserError: the model does not give the score.
        """
        if outputs.iou_score is None:
            raise UserError(
                "PredictedIoULoss needs SAM's IoU score: set model.sam.score_heads=['iou'], or "
                'losses.iou to None'
            )
        score = at_least_float32(outputs.iou_score)
        with torch.no_grad():
            logits = upsample(outputs.mask_logits, outputs.input_size)
            iou = drawn_iou(logits, targets.at(outputs.input_size)).to(score.dtype)
        errors = (score - iou).square()[targets.present]
        return {'loss_iou': self.loss_weight * mean_over_ranks(errors)}
