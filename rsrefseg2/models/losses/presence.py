"""Supervision of SAM 2's object score: is there what the sentence names?"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import NonNegativeFloat
from ...errors import UserError
from ...registry import MODELS
from ..distributed import mean_over_ranks
from ..symbols import RefSegOutputs, Targets, at_least_float32


@MODELS.register_module()
class PresenceLoss(nn.Module):
    """Binary cross-entropy of SAM 2's object score and whether the target's mask holds anything,
    the mean over all ranks' sentences. Off in the paper's configs.

    The object-score token reads the prompts and the image in SAM's decoder: both prompts have read
    the sentence, so it can say that no object fulfils it. It learns that from sentences without a
    target alone (`no_target=True` of a data set, `AbsentSentences`).

    Needs `model.sam.score_heads` with 'object'.
    """

    over_all_ranks = True  # weighs its own mean

    def __init__(self, *, loss_weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_presence`, a scalar.

        Raises:
            UserError: the model does not give the score.
        """
        if outputs.object_score is None:
            raise UserError(
                "PresenceLoss needs SAM 2's object score: set model.sam.score_heads=['object'], or "
                'losses.presence to None'
            )
        score = at_least_float32(outputs.object_score)
        errors = F.binary_cross_entropy_with_logits(
            score, targets.present.to(score), reduction='none'
        )
        return {'loss_presence': self.loss_weight * mean_over_ranks(errors)}
