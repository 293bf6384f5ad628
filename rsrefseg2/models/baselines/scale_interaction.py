"""RMSIN's interactions (arXiv 2312.12470): within a scale (IIM) and between scales (CIM)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import PositiveInt
from ..prompter.batch_norm import SyncedBatchNorm2d
from .pixel_word_attention import LanguageGate


class IntraScaleInteraction(nn.Module):
    """IIM: what the image itself adds to a stage, beside language.

        m   = mean of V_i over its channels
        a   = sigmoid(R_2(ReLU(R_1(m)))),  R(x) = BN(w x) + BN(k * BN(w' x)) + BN(x)
        V'  = a * V_i
        E_i = V_i + F_i * gamma(F_i) + V' * gamma'(V')

    w and w' are numbers (1 x 1 convolutions of one channel), k is a 3 x 3 kernel; gamma' is a gate
    like LAVT's. As the authors' code has it; `forward` gives the last term.

    Args:
        width: C_i.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = ReceptiveField(), ReceptiveField()
        self.gate = LanguageGate(width)

    def forward(self, v: Tensor, size: tuple[int, int]) -> Tensor:
        """V_i (B, H W, C_i), its (H, W) -> V' * gamma'(V') (B, H W, C_i)."""
        m = v.mean(-1).unflatten(1, size)[:, None]  # (B, 1, H, W)
        a = self.second(self.first(m).relu()).sigmoid()
        return self.gate.passed(a.flatten(2).mT * v)


class ReceptiveField(nn.Module):
    """R(x) = BN(w x) + BN(k * BN(w' x)) + BN(x) of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), SyncedBatchNorm2d(1))
        self.wide = nn.Sequential(
            nn.Conv2d(1, 1, 1, bias=False),
            SyncedBatchNorm2d(1),
            nn.Conv2d(1, 1, 3, padding=1, bias=False),
            SyncedBatchNorm2d(1),
        )
        self.same = SyncedBatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) -> the same shape."""
        return self.point(x) + self.wide(x) + self.same(x)


class CrossScaleInteraction(nn.Module):
    """CIM: the four scales at the coarsest size, mixed, and given back to each.

        X   = W_d [pool(F_1); ...; F_4]
        X  <- X + CSA(X);  X <- X + FF_by_scale(X);  X <- X + CSA(X);  X <- X + FF(X)
        X_1, ..., X_4 = split(W_u BN(X))
        F_i <- BN(w_i F_i) * up(hsigmoid(BN(w'_i X_i))) + up(BN(w''_i X_i))

    X has a quarter of the channels of all F; FF_by_scale has one FF for each scale's share of
    them, C_i / 4. FF is BN, 1 x 1 to twice the width, BN, 3 x 3 in groups of two channels, ReLU6,
    1 x 1. As the authors' code has it, but for the queries of `CrossScaleAttention`.

    Args:
        widths: C_1 to C_4, multiples of 4.
        heads, key_width: of the attention; values are twice as wide as keys.
        expansion: of FF's width, and of its groups.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        heads: PositiveInt = 8,
        key_width: PositiveInt = 32,
        expansion: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.widths, total = list(widths), sum(widths)
        hidden = total // 4
        self.down, self.up = nn.Conv2d(total, hidden, 1), nn.Conv2d(hidden, total, 1)
        attention = dict(heads=heads, key_width=key_width)
        self.first = CrossScaleAttention(hidden, **attention)
        self.by_scale = nn.ModuleList(_feed_forward(width // 4, expansion) for width in widths)
        self.second = CrossScaleAttention(hidden, **attention)
        self.feed_forward = _feed_forward(hidden, expansion)
        self.norm = SyncedBatchNorm2d(hidden)
        self.gates = nn.ModuleList(ScaleAwareGate(width) for width in widths)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """F_1 to F_4, (B, C_i, H_i, W_i) -> the same shapes."""
        size = features[-1].shape[-2:]
        x = self.down(torch.cat([F.adaptive_avg_pool2d(f, size) for f in features], 1))

        x = x + self.first(x)
        shares = x.split([width // 4 for width in self.widths], 1)
        parts = [ff(share) for ff, share in zip(self.by_scale, shares, strict=True)]
        x = x + torch.cat(parts, 1)
        x = x + self.second(x)
        x = x + self.feed_forward(x)

        scales = self.up(self.norm(x)).split(self.widths, 1)
        return [gate(f, x) for gate, f, x in zip(self.gates, features, scales, strict=True)]


class CrossScaleAttention(nn.Module):
    """CSA: every position reads X at three scales.

        X_0 = BN(X),  X_1 = BN(DW_3x3, stride 2 (X_0)),  X_2 = BN(DW_5x5, stride 3 (X_0))
        Q from X_0;  K, V from [X_0; X_1; X_2], each a linear map with BN
        CSA(X) = W hswish(BN(W_o (softmax(Q K^T / sqrt(d_k)) V + DW_3x3(hswish(V_0)))))

    V_0 are the values of X_0. Ours: the authors' code takes queries of all three scales, too, and
    maps their tokens to the first scale's by a matrix that belongs to one image size.
    """

    def __init__(self, width: int, *, heads: int, key_width: int) -> None:
        super().__init__()
        self.heads, self.key_width = heads, key_width
        values = 2 * key_width * heads
        self.norm = SyncedBatchNorm2d(width)
        self.coarse = _depthwise(width, kernel=3, stride=2)
        self.coarser = _depthwise(width, kernel=5, stride=3)
        self.query = _conv_bn(width, key_width * heads)
        self.key = _conv_bn(width, key_width * heads)
        self.value = _conv_bn(width, values)
        self.local = nn.Conv2d(values, values, 3, padding=1, groups=values)
        self.out = nn.Conv2d(values, width, 1)
        self.out_norm = SyncedBatchNorm2d(width)
        self.last = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        x_0 = self.norm(x)
        size = x.shape[-2:]
        tokens = torch.cat([s.flatten(2) for s in (x_0, self.coarse(x_0), self.coarser(x_0))], 2)
        row = tokens[:, :, None]  # (B, C, 1, N): a map of one row, for 1 x 1 convolutions

        q = self._by_head(self.query(x_0).flatten(2))
        k = self._by_head(self.key(row).flatten(2))
        v = self.value(row).flatten(2)  # (B, values, N)
        read = (q @ k.mT / math.sqrt(self.key_width)).softmax(-1) @ self._by_head(v)
        read = read.transpose(2, 3).flatten(1, 2).unflatten(2, size)  # (B, values, h, w)
        own = v[:, :, : size.numel()].unflatten(2, size)
        read = self.out(read + self.local(F.hardswish(own)))
        return self.last(F.hardswish(self.out_norm(read)))

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, heads * d, N) -> (B, heads, N, d)."""
        return x.unflatten(1, (self.heads, -1)).transpose(2, 3)


class ScaleAwareGate(nn.Module):
    """F <- BN(w F) * up(hsigmoid(BN(w' X))) + up(BN(w'' X)), up bilinear to F's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = _conv_bn(width, width, bias=True)
        self.weight = _conv_bn(width, width, bias=True)
        self.shared = _conv_bn(width, width, bias=True)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """F (B, C, H, W), X (B, C, h, w) -> (B, C, H, W)."""
        size = features.shape[-2:]

        def up(maps: Tensor) -> Tensor:
            return F.interpolate(maps, size, mode='bilinear', align_corners=False)

        return self.own(features) * up(F.relu6(self.weight(x) + 3) / 6) + up(self.shared(x))


def _conv_bn(width_in: int, width: int, *, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width_in, width, 1, bias=bias), SyncedBatchNorm2d(width))


def _depthwise(width: int, *, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(width, width, kernel, stride, padding=kernel // 2, groups=width)
    return nn.Sequential(conv, SyncedBatchNorm2d(width))


def _feed_forward(width: int, expansion: int) -> nn.Sequential:
    inner = expansion * width
    return nn.Sequential(
        SyncedBatchNorm2d(width),
        nn.Conv2d(width, inner, 1),
        SyncedBatchNorm2d(inner),
        nn.Conv2d(inner, inner, 3, padding=1, groups=width),
        nn.ReLU6(),
        nn.Conv2d(inner, width, 1),
    )
