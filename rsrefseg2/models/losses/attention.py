"""Supervision of Eq. 5: the image tokens of the target should read the text most."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...bounds import NonNegativeFloat
from ...errors import UserError
from ...registry import MODELS
from ..distributed import mean_over_ranks
from ..symbols import RefSegOutputs, Targets, at_least_float32


def attention_loss(scores: Tensor, area: Tensor) -> Tensor:
    """For each sentence with a mask -sum_n q_n log softmax(scores)_n, q = area / sum(area).

    Args:
        scores: (B, N) logits of the patches.
        area: (B, N), the share of each patch that the target covers.
    Returns:
        (k,), of the k sentences whose mask is not empty.
    """
    kept = area.sum(1) > 0
    q = area[kept] / area[kept].sum(1, keepdim=True)
    return -(q * scores[kept].log_softmax(1)).sum(1)


@MODELS.register_module()
class AttentionLoss(nn.Module):
    """Cross-entropy of Eq. 5's image attention and the target's covered area. Off in the paper.

    The image tokens are the queries and the n_t text vectors the keys. The logits
    q_n . k_j / sqrt(inner / heads) of a stack's last block, averaged over the heads and over j, are
    a map over the h1 x w1 patches. Its softmax over the patches is compared with the covered area
    (`attention_loss`); the term is the mean over all ranks' sentences with a mask.

    Needs `model.prompter.interaction=dict(image_scores=True)`.

    Args:
        stacks: 'first_order' and 'second_order', or one of them; 'single_stage' of the prompter of
            that name. Each is a term of its own.
    """

    over_all_ranks = True  # weighs its own mean: over the sentences with a mask

    def __init__(
        self,
        *,
        loss_weight: NonNegativeFloat = 1.0,
        stacks: Sequence[str] = ('first_order', 'second_order'),
    ) -> None:
        super().__init__()
        self.loss_weight, self.stacks = loss_weight, tuple(stacks)

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_attention_{stack}`, scalars.

        Raises:
            UserError: the prompter does not give the scores, or has no such stack.
        """
        found = outputs.prompts.image_scores
        if found is None:
            raise UserError(
                'AttentionLoss needs the scores of the image attention: set '
                'model.prompter.interaction=dict(image_scores=True)'
            )
        terms = {}
        for stack in self.stacks:
            if stack not in found:
                raise UserError(
                    f'AttentionLoss: stacks are of {", ".join(found)} with this prompter, '
                    f'not {stack!r}'
                )
            scores = at_least_float32(found[stack])
            area = targets.area(outputs.grid_size).flatten(1).to(scores.dtype)
            loss = mean_over_ranks(attention_loss(scores, area))
            terms[f'loss_attention_{stack}'] = self.loss_weight * loss
        return terms
