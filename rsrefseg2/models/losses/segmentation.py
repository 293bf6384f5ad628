"""Eq. 10: how well the mask is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...errors import UserError
from ...registry import MODELS
from ..symbols import RefSegOutputs, Targets, at_least_float32
from ..towers.plain_forms import is_plain


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
            masks = targets.at(outputs.input_size)
            if self._is_papers and not is_plain():
                logits = at_least_float32(outputs.mask_logits)
                ce, dice = CrossEntropyAndDice.apply(
                    logits, masks.to(logits.dtype), self.terms['dice'].eps
                )
                found = dict(loss_ce=ce, loss_dice=dice)
                return {
                    f'loss_{name}': found[f'loss_{name}'] * loss.loss_weight
                    for name, loss in self.terms.items()
                }
            return self._terms(upsample(outputs.mask_logits, outputs.input_size), masks)
        per_sample = [
            self._terms(upsample(logits[None], mask.shape), mask[None].float())
            for logits, mask in zip(outputs.mask_logits, targets.masks, strict=True)
        ]
        return {
            name: sum(terms[name] for terms in per_sample) / len(per_sample)
            for name in per_sample[0]
        }

    @property
    def _is_papers(self) -> bool:
        """The two terms of the paper, which `CrossEntropyAndDice` computes together."""
        if set(self.terms) != {'ce', 'dice'}:
            return False
        ce, dice = self.terms['ce'], self.terms['dice']
        return (
            (type(ce).__name__, type(dice).__name__) == ('CrossEntropyLoss', 'DiceLoss')
            and ce.use_sigmoid
            and ce.class_weight is None
            and ce.reduction == dice.reduction == 'mean'
            and dice.use_sigmoid
            and dice.activate
            and dice.naive_dice
        )

    def _terms(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """logits, masks (B, H, W)."""
        return {
            f'loss_{name}': loss(logits.flatten(1), masks.flatten(1))
            for name, loss in self.terms.items()
        }


class CrossEntropyAndDice(torch.autograd.Function):
    """Both terms of Eq. 10 on upsampled logits x, p = sigmoid(x), masks y of 0 and 1:

        CE = mean log(1 + e^x) - x y,    Dice = mean_b 1 - (2 sum p y + eps) / (sum p + sum y + eps)

    with the gradient in closed form, which mmdet's two losses take through some twenty maps of
    H2 x W2 numbers. That of the upsampling is U_y^T g U_x, U the weights of one axis.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, masks: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """logits (B, h, w), masks (B, H, W) of the same dtype -> two scalars."""
        x = upsample(logits, masks.shape[1:])
        p = x.sigmoid()
        ce = F.softplus(x).addcmul_(x, masks, value=-1).mean()
        both = torch.mul(p, masks, out=x).sum((1, 2))
        either = p.sum((1, 2)) + masks.sum((1, 2)) + eps
        ctx.save_for_backward(p, masks, both, either)
        ctx.size, ctx.eps = logits.shape[1:], eps
        return ce, (1 - (2 * both + eps) / either).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_ce: Tensor, of_dice: Tensor) -> tuple[Tensor, None, None]:
        """-> the gradient of the logits (B, h, w)."""
        p, masks, both, either = ctx.saved_tensors
        # d Dice / d p = (2 both + eps) / either^2 - 2 y / either, by sentence
        fixed = of_dice / len(p) * (2 * both + ctx.eps) / either.square()
        at_mask = of_dice / len(p) * -2 / either
        g = torch.addcmul(fixed[:, None, None], masks, at_mask[:, None, None])
        g = g.mul_(p).addcmul_(g, p, value=-1)  # d p / d x = p (1 - p)
        g = g.addcmul_(p - masks, of_ce / p.numel())
        y, x = (
            _weights(n_in, n_out, like=g)
            for n_in, n_out in zip(ctx.size, p.shape[1:], strict=True)
        )
        return y.T @ g @ x, None, None


def _weights(n_in: int, n_out: int, *, like: Tensor) -> Tensor:
    """(n_out, n_in): what `upsample` takes of each input along one axis."""
    unit = torch.eye(n_in, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(unit, n_out, mode='linear', align_corners=False)[0].T


def upsample_each(maps: Iterable[Tensor], sizes: Iterable[tuple[int, int]]) -> list[Tensor]:
    """B maps (h, w), each to its own size (H, W); see `upsample`."""
    return [upsample(one[None], size)[0] for one, size in zip(maps, sizes, strict=True)]


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, *size), at least float32, bilinear with align_corners=False."""
    return F.interpolate(
        at_least_float32(logits)[:, None], tuple(size), mode='bilinear', align_corners=False
    )[:, 0]
