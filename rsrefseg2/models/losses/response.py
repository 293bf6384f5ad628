"""Supervision of the dense prompt at the cells that say where: centre, background, other objects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import NonNegativeFloat, NonNegativeInt
from ...errors import UserError
from ...registry import MODELS
from ..distributed import mean_over_ranks
from ..symbols import RefSegOutputs, Targets, at_least_float32


def depth_of(area: Tensor) -> Tensor:
    """How deep each cell lies in the covered area: the sum over k = 0, 1, ... of e_k, where
    e_0 = area and e_{k+1} is the least e_k of a cell and its 8 neighbours, 0 beyond the map.

    Of whole cells it is the chessboard distance to the outside; partly covered cells count in part.

    Args:
        area: (B, h, w) in [0, 1].
    Returns:
        (B, h, w), 0 outside.
    """
    depth = eroded = area
    while eroded.any():
        eroded = -F.max_pool2d(F.pad(-eroded, (1, 1, 1, 1)), 3, stride=1)
        depth = depth + eroded
    return depth


def compact_centre(area: Tensor) -> Tensor:
    """The cells at least half as deep (`depth_of`) as the deepest of their connected part of the
    covered area: (B, h, w) in [0, 1] -> (B, h, w) bool. Each part has at least one.

    Per part, not per map: a small object keeps its centre beside a large one.
    """
    depth = depth_of(area)
    deepest, spread = torch.zeros_like(depth), depth
    while not torch.equal(deepest, spread):
        deepest, spread = spread, F.max_pool2d(spread, 3, stride=1, padding=1) * (area > 0)
    return (area > 0) & (2 * depth >= deepest)


def far_background(area: Tensor, margin: int) -> Tensor:
    """The cells more than `margin` cells (chessboard) from every covered one: (B, h, w) -> bool."""
    covered = (area > 0).to(area.dtype)
    return F.max_pool2d(covered, 2 * margin + 1, stride=1, padding=margin) == 0


def mean_over_cells(values: Tensor, cells: Tensor) -> Tensor:
    """The mean of values (B, h, w) over each sentence's cells (B, h, w) bool: (k,), of the k
    sentences that have any."""
    count = cells.flatten(1).sum(1)
    total = (values * cells).flatten(1).sum(1)
    return total[count > 0] / count[count > 0]


@MODELS.register_module()
class ResponseLoss(nn.Module):
    """Supervision of p_dense by sure cells alone, at H2/4 x W2/4. Off in the paper's configs.

    ::

        centre      mean over C         of softplus(-p),  C = compact_centre(target)
        background  mean over F         of softplus(p),   F = far_background(target, margin)
        negatives   mean over N         of softplus(p),   N = compact_centre(others), not covered by
                                                              the target

    Each is the mean over a sentence's cells, then over all ranks' sentences that have such cells:
    those without a mask have no C, those without other objects no N.

    DiCoR supervises its response map so; its authors give, for RISBench's mIoU, 67.26 with the whole
    mask, 68.21 with a compact centre, 68.35 with the far background, too, and 69.15 with hard
    negatives of the same picture. Its equations were not available; these are ours.

    Args:
        centre, background, negatives: the weights; None: that term is off. `negatives` needs
            `other_objects=True` of the training dataset.
        margin: of the background, in cells of 4 SAM pixels.
    Raises:
        UserError: no term is left.
    """

    over_all_ranks = True  # weighs its own means: over the sentences that have such cells

    def __init__(
        self,
        *,
        centre: NonNegativeFloat | None = 1.0,
        background: NonNegativeFloat | None = 1.0,
        negatives: NonNegativeFloat | None = 1.0,
        margin: NonNegativeInt = 2,
    ) -> None:
        super().__init__()
        self.check_values(centre=centre, background=background, negatives=negatives)
        self.centre, self.background, self.negatives = centre, background, negatives
        self.margin = margin

    @staticmethod
    def check_values(
        *, centre: float | None, background: float | None, negatives: float | None
    ) -> None:
        """Raises a UserError where no term is left."""
        if centre is None and background is None and negatives is None:
            raise UserError('ResponseLoss needs centre, background or negatives')

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_response_centre`, `_background`, `_negatives`, scalars.

        Raises:
            UserError: the model has no dense prompt, or the other objects are not known.
        """
        if outputs.prompts.p_dense is None:
            raise UserError(
                'ResponseLoss needs a dense prompt: set prompter.dense, or losses.response to None'
            )
        p = at_least_float32(outputs.prompts.p_dense)
        area = targets.area(p.shape[1:]).to(p.dtype)
        terms = {}
        if self.centre is not None:
            terms['centre'] = self.centre * self._mean(-p, compact_centre(area))
        if self.background is not None:
            terms['background'] = self.background * self._mean(p, far_background(area, self.margin))
        if self.negatives is not None:
            if targets.others is None:
                raise UserError(
                    "ResponseLoss's negatives need the other objects of each picture: set "
                    'train_dataloader.dataset.other_objects=True, or '
                    'model.losses.response.negatives=None'
                )
            others = targets._replace(masks=targets.others).area(p.shape[1:]).to(p.dtype)
            terms['negatives'] = self.negatives * self._mean(
                p, compact_centre(others) & (area == 0)
            )
        return {f'loss_response_{name}': loss for name, loss in terms.items()}

    @staticmethod
    def _mean(logits: Tensor, cells: Tensor) -> Tensor:
        return mean_over_ranks(mean_over_cells(F.softplus(logits), cells))
