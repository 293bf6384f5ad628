"""What Table IX varies: learnable vectors, fixed zeros, and sine and cosine of the coordinates."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def learnable_or_zero(kind: str, *shape: int, name: str, std: float = 1.0) -> nn.Parameter | None:
    """Normal start values for kind 'learnable'; None, to be read as fixed zeros, for 'zero'.

    Raises:
        ValueError: another kind; `name` says of which option.
    """
    if kind not in ('learnable', 'zero'):
        raise ValueError(f"{name} is 'learnable' or 'zero', not {kind!r}")
    return nn.Parameter(torch.randn(*shape) * std) if kind == 'learnable' else None


def sine_positions(grid_size: tuple[int, int], d1: int, longest: float = 10000.0) -> Tensor:
    """(h1*w1, d1): sine and cosine of each patch's row in the first half of the channels, of its
    column in the second, at wavelengths from 2 pi to 2 pi * longest patches."""
    h1, w1 = grid_size
    rows, columns = _sines(h1, d1 // 2, longest), _sines(w1, d1 - d1 // 2, longest)
    return torch.cat(
        [rows[:, None].expand(-1, w1, -1), columns[None].expand(h1, -1, -1)], -1
    ).flatten(0, 1)


def _sines(n: int, width: int, longest: float) -> Tensor:
    """(n, width): sin(x / longest^(k/K)) for K frequencies, then their cosines."""
    count = (width + 1) // 2
    frequencies = longest ** (-torch.arange(count) / count)
    angles = torch.arange(n)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width]
