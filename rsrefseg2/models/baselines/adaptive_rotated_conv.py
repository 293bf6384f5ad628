"""RMSIN's adaptive rotated convolution (arXiv 2312.12470, after arXiv 2303.07820): kernels turned
by an angle that the image itself gives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import PositiveInt

LARGEST_ANGLE = math.radians(40)


class AdaptiveRotatedConv(nn.Module):
    """Y = sum_k lambda_k Rotate(W_k, theta_k) * X, with lambda and theta of each image.

        x_r     = mean over positions of ReLU(LN(DWConv_3x3(X)))
        lambda  = sigmoid(A x_r + a)
        theta   = 40 degrees * softsign(B x_r)
        Rotate(W, theta)[p] = W at R(theta) p, p in {-1, 0, 1}^2

    W is read bilinearly at the turned places, those outside of its square at the nearest point of
    the border. Kernels are summed before the one convolution.

    Args:
        width: channels in and out.
        kernels: K.
    """

    def __init__(self, width: int, *, kernels: PositiveInt = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernels, width, width, 3, 3))
        for weight in self.weight:
            nn.init.kaiming_normal_(weight, mode='fan_out', nonlinearity='relu')
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.share = nn.Linear(width, kernels)
        self.angle = nn.Linear(width, kernels, bias=False)
        for linear in (self.share, self.angle):
            nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(self.share.bias)

    def routing(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> lambda (B, K), theta (B, K) in radians."""
        read = self.norm(self.depthwise(x).movedim(1, -1)).relu().mean((1, 2))
        return self.share(read).sigmoid(), LARGEST_ANGLE * F.softsign(self.angle(read))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        share, theta = self.routing(x)
        turn = share[..., None, None] * rotation_matrices(theta)  # (B, K, 9, 9)
        kernels = torch.einsum(
            'bkpq,koiq->boip', turn.to(x.dtype), self.weight.flatten(3).to(x.dtype)
        )
        batch, width, height, breadth = x.shape
        kernels = kernels.reshape(batch * width, width, 3, 3)
        x = x.reshape(1, batch * width, height, breadth)
        x = F.conv2d(x, kernels, padding=1, groups=batch)  # an image, a group
        return x.reshape(batch, width, height, breadth)


def rotation_matrices(theta: Tensor) -> Tensor:
    """Angles (...) -> (..., 9, 9), rows and columns over the kernel's cells: how much of cell q
    goes into the turned kernel's cell p."""
    cells = torch.arange(-1.0, 2, device=theta.device, dtype=theta.dtype)
    y, x = torch.meshgrid(cells, cells, indexing='ij')
    y, x = y.flatten(), x.flatten()  # (9,)
    cos, sin = theta.cos()[..., None], theta.sin()[..., None]
    turned_x = (cos * x - sin * y).clamp(-1, 1)[..., None]  # (..., 9, 1)
    turned_y = (sin * x + cos * y).clamp(-1, 1)[..., None]
    return (1 - (turned_x - x).abs()).clamp(min=0) * (1 - (turned_y - y).abs()).clamp(min=0)
