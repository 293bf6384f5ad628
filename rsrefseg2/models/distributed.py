"""Features of all ranks, with gradient; and means over all ranks' samples."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


def _gather(x: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of every rank (their numbers may differ), and how many each has."""
    rows = torch.tensor([len(x)], device=x.device)
    counts = [torch.zeros_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, rows)
    counts = [int(count) for count in counts]
    padded = x.new_zeros((max(counts), *x.shape[1:]))
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]), counts


class _GatherWithGradient(torch.autograd.Function):
    """Backward sums what every rank's loss asks of this rank's rows.

    With the same loss on every rank and gradients averaged over ranks afterwards (DDP, ZeRO),
    that is the gradient of one process with the whole batch.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """(b, ...) on each rank -> (sum of b, ...) in rank order."""
        gathered, ctx.counts = _gather(x)
        return gathered

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        """(sum of b, ...) of this rank's loss -> (b, ...), summed over the ranks' losses."""
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad.split(ctx.counts)[dist.get_rank()]


def gather_with_gradient(x: Tensor, *, through_others: bool = True) -> Tensor:
    """(b, ...) on each rank -> (sum of b, ...) in rank order; x itself on one process.

    Args:
        through_others: let other ranks' losses reach this rank's rows; False only for the
            release's variant, where each rank keeps the gradient of its own rows alone.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    if through_others and x.is_floating_point():
        return _GatherWithGradient.apply(x)
    gathered, counts = _gather(x.detach())
    start = sum(counts[: dist.get_rank()])
    return torch.cat([gathered[:start], x, gathered[start + len(x) :]])


def weight_of_rank(count: int, *, like: Tensor) -> Tensor:
    """What a mean over this rank's `count` samples is multiplied with, so that the mean over the
    ranks (DDP, ZeRO and FSDP average gradients so) is the mean over all samples: count x ranks /
    all samples. 1 on one process, and where every rank has as many.

    Args:
        like: gives the device and the dtype.
    """
    total = like.new_tensor(float(count))
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return torch.ones_like(total)
    dist.all_reduce(total)
    return count * dist.get_world_size() / total.clamp(min=1)


def mean_over_ranks(values: Tensor) -> Tensor:
    """(k,) on each rank -> a scalar whose mean over the ranks is that of all ranks' values; 0
    where no rank has any."""
    share = weight_of_rank(len(values), like=values)
    return share * values.sum() / max(len(values), 1)
