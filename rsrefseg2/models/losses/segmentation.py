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
        if self._is_papers and not is_plain():
            terms = CrossEntropyAndDice.apply(logits, masks, self.terms['dice'].eps)
            ce, dice = (
                self.terms[name].loss_weight * term
                for name, term in zip(('ce', 'dice'), terms, strict=True)
            )
            return {'loss_ce': ce, 'loss_dice': dice}
        return {
            f'loss_{name}': loss(logits.flatten(1), masks.flatten(1))
            for name, loss in self.terms.items()
        }


class CrossEntropyAndDice(torch.autograd.Function):
    """Both terms of Eq. 10 of logits x, p = sigmoid(x), and masks y of 0 and 1:

        CE = mean log(1 + e^x) - x y,    Dice = mean_b 1 - (2 sum p y + eps) / (sum p + sum y + eps)

    with the gradient in closed form; mmdet's two losses take it through some twenty maps of H2 x W2.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, masks: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """logits, masks (B, H, W) -> two scalars."""
        masks = masks.to(logits.dtype)
        p = logits.sigmoid()
        ce = F.softplus(logits).addcmul_(logits, masks, value=-1).mean()
        both = (p * masks).sum((1, 2))
        either = p.sum((1, 2)) + masks.sum((1, 2)) + eps
        ctx.save_for_backward(p, masks, both, either)
        ctx.eps = eps
        return ce, (1 - (2 * both + eps) / either).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_ce: Tensor, of_dice: Tensor) -> tuple[Tensor, None, None]:
        """-> the gradient of the logits (B, H, W)."""
        p, masks, both, either = ctx.saved_tensors
        # d Dice / d p = (2 both + eps) / either^2 - 2 y / either, by sentence
        fixed = of_dice / len(p) * (2 * both + ctx.eps) / either.square()
        at_mask = of_dice / len(p) * -2 / either
        g = torch.addcmul(fixed[:, None, None], masks, at_mask[:, None, None])
        g = g.mul_(p).addcmul_(g, p, value=-1)  # d p / d x = p (1 - p)
        return g.addcmul_(p - masks, of_ce / p.numel()), None, None


class Upsample(torch.autograd.Function):
    """`upsample` whose gradient is U_y^T g U_x, U the weights along one axis: two products, where
    torch scatters pixel by pixel."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, h, w) -> (B, *size)."""
        ctx.size = logits.shape[1:]
        return _interpolate(logits, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        """(B, *size) -> (B, h, w)."""
        y, x = (
            _interpolate(torch.eye(n_in, dtype=g.dtype, device=g.device)[None], (n_out, n_in))[0]
            for n_in, n_out in zip(ctx.size, g.shape[1:], strict=True)
        )
        return y.T @ g @ x, None


def upsample_each(maps: Iterable[Tensor], sizes: Iterable[tuple[int, int]]) -> list[Tensor]:
    """B maps (h, w), each to its own size (H, W); see `upsample`."""
    return [upsample(one[None], size)[0] for one, size in zip(maps, sizes, strict=True)]


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, *size), at least float32, bilinear with align_corners=False."""
    logits = at_least_float32(logits)
    if logits.requires_grad and torch.is_grad_enabled() and not is_plain():
        return Upsample.apply(logits, (size[0], size[1]))
    return _interpolate(logits, (size[0], size[1]))


def _interpolate(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits[:, None], size, mode='bilinear', align_corners=False)[:, 0]
