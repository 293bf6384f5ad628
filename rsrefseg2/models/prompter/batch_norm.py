"""BatchNorm whose result does not depend on the number of ranks, nor on the tower's precision."""

from __future__ import annotations

from collections.abc import Callable

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather_with_gradient
from ..symbols import at_least_float32


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the batch of all ranks, on every backend, in at least float32.

    Mean and variance come from count-weighted sums over the ranks, with gradient through them.
    torch's SyncBatchNorm refuses the CPU. The running statistics stay in float32 under bf16.
    """

    running_mean: Tensor
    running_var: Tensor

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        self.running_mean = at_least_float32(self.running_mean)
        self.running_var = at_least_float32(self.running_var)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same, in x's dtype."""
        dtype, x = x.dtype, at_least_float32(x)
        weight, bias = at_least_float32(self.weight), at_least_float32(self.bias)
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if ranks == 1 or not self.training:
            if self.training:
                self.num_batches_tracked += 1
                if not x.is_cuda:  # channels last, torch sums a channel 40 times less exactly
                    x = x.contiguous()
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                weight,
                bias,
                self.training,
                self.momentum,
                self.eps,
            ).to(dtype)

        def total(rows: Tensor) -> Tensor:
            return gather_with_gradient(rows[None]).sum(0)

        count = total(x.new_tensor([x.numel() / x.shape[1]]))
        mean = total(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        var = total(centred.square().sum((0, 2, 3))) / count
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(var.detach() * count / (count - 1), self.momentum)
        normed = centred * (var + self.eps).rsqrt()[:, None, None]
        return (normed * weight[:, None, None] + bias[:, None, None]).to(dtype)
