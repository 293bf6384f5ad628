"""Eq. 10: how well the mask is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError
from ...registry import MODELS
from ..symbols import RefSegOutputs, Targets, at_least_float32


@MODELS.register_module()
class SegmentationLoss(nn.Module):
    """Eq. 10: L_seg = CE + Dice on the upsampled mask logits.

    Args:
        ce, dice: mmdet's losses as configs (`mmdet.CrossEntropyLoss` with use_sigmoid,
            `mmdet.DiceLoss` with `naive_dice` set); None: that term is off.
        loss_resolution: 'input': at H2 x W2, the mask brought there by nearest neighbour (paper);
            'annotation': at each annotation's own size (release).
    """

    def __init__(
        self,
        *,
        ce: dict | None = None,
        dice: dict | None = None,
        loss_resolution: Literal['input', 'annotation'] = 'input',
    ) -> None:
        super().__init__()
        if loss_resolution not in ('input', 'annotation'):
            raise ValueError(f"loss_resolution is 'input' or 'annotation', not {loss_resolution!r}")
        self.check_values(ce=ce, dice=dice)
        self.loss_resolution = loss_resolution
        self.terms = nn.ModuleDict(
            {
                name: MODELS.build(loss)
                for name, loss in (('ce', ce), ('dice', dice))
                if loss is not None
            }
        )

    @staticmethod
    def check_values(*, ce: dict | None, dice: dict | None) -> None:
        """Raises a UserError where no term is left."""
        if ce is None and dice is None:
            raise UserError('SegmentationLoss needs ce, dice or both')

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_ce`, `loss_dice`: scalars, the mean over the B sentences."""
        if self.loss_resolution == 'input':
            return self._terms(
                upsample(outputs.mask_logits, outputs.input_size), targets.at(outputs.input_size)
            )
        per_sample = [
            self._terms(upsample(logits[None], mask.shape), mask[None].float())
            for logits, mask in zip(outputs.mask_logits, targets.masks, strict=True)
        ]
        return {
            name: sum(terms[name] for terms in per_sample) / len(per_sample)
            for name in per_sample[0]
        }

    def _terms(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """logits, masks (B, H, W)."""
        return {
            f'loss_{name}': loss(logits.flatten(1), masks.flatten(1))
            for name, loss in self.terms.items()
        }


def upsample_each(maps: Iterable[Tensor], sizes: Iterable[tuple[int, int]]) -> list[Tensor]:
    """B maps (h, w), each to its own size (H, W); see `upsample`."""
    return [upsample(one[None], size)[0] for one, size in zip(maps, sizes, strict=True)]


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, *size), at least float32, bilinear with align_corners=False."""
    return F.interpolate(
        at_least_float32(logits)[:, None], tuple(size), mode='bilinear', align_corners=False
    )[:, 0]
