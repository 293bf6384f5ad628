"""A loss of one's own: focal cross-entropy on the mask logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsrefseg2.models.losses.segmentation import upsample
from rsrefseg2.models.symbols import RefSegOutputs, Targets
from rsrefseg2.registry import MODELS


@MODELS.register_module()
class FocalLoss(nn.Module):
    """(1 - p)^gamma -log p of the right answer at every pixel, the mean over pixels."""

    def __init__(self, *, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.gamma, self.loss_weight = gamma, loss_weight

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_focal`, a scalar."""
        logits = upsample(outputs.mask_logits, outputs.input_size)
        masks = targets.at(outputs.input_size).to(logits.dtype)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction='none')
        loss = ((1 - torch.exp(-cross_entropy)) ** self.gamma * cross_entropy).mean()
        return {'loss_focal': self.loss_weight * loss}
