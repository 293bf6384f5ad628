"""LAVT's light decoder (arXiv 2112.02244, Eq. 9), from the deepest features up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import PositiveInt
from ..prompter.batch_norm import SyncedBatchNorm2d
from .adaptive_rotated_conv import AdaptiveRotatedConv


class TopDownDecoder(nn.Module):
    """Y_4 = F_4;  Y_i = rho_i([up(Y_i+1); F_i]), i = 3, 2, 1;  two score maps from Y_1.

    rho is twice a 3 x 3 convolution, BatchNorm and ReLU; up is bilinear, to the next size. Pixel
    centres are aligned (the authors' code aligns the corners).

    The mask's logit is the difference of the two scores: its sigmoid is their softmax, and binary
    cross-entropy on it is the paper's cross-entropy.

    Args:
        widths: C_1 to C_4; every Y_i below 4 has half of C_4.
        rotated_kernels: RMSIN's decoder: the second convolution of each rho is an
            `AdaptiveRotatedConv` of so many kernels; None: a plain one.
    """

    def __init__(
        self, *, widths: Sequence[int], rotated_kernels: PositiveInt | None = None
    ) -> None:
        super().__init__()
        hidden = widths[-1] // 2
        self.rho = nn.ModuleList(
            _rho(width + (widths[-1] if i == 0 else hidden), hidden, rotated_kernels)
            for i, width in enumerate(reversed(widths[:-1]))
        )
        self.scores = nn.Conv2d(hidden, 2, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """F_1 to F_4, (B, C_i, H_i, W_i) -> mask logits (B, H_1, W_1)."""
        y = features[-1]
        for rho, f in zip(self.rho, reversed(features[:-1]), strict=True):
            up = F.interpolate(y, f.shape[-2:], mode='bilinear', align_corners=False)
            y = rho(torch.cat([up, f], 1))
        background, target = self.scores(y).unbind(1)
        return target - background


def _rho(width_in: int, width: int, rotated_kernels: int | None) -> nn.Sequential:
    second = (
        nn.Conv2d(width, width, 3, padding=1, bias=False)
        if rotated_kernels is None
        else AdaptiveRotatedConv(width, kernels=rotated_kernels)
    )
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, padding=1, bias=False),
        SyncedBatchNorm2d(width),
        nn.ReLU(),
        second,
        SyncedBatchNorm2d(width),
        nn.ReLU(),
    )
