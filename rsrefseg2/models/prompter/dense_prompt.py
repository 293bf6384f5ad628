"""Eq. 7: where the sentence is, as a map of logits for SAM's mask prompt."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..symbols import at_least_float32
from .batch_norm import SyncedBatchNorm2d
from .layers import ACTIVATIONS

SHIFT = 3.0  # standard deviations, see `DensePrompt.tower_start`


def interpolation_matrix(
    n_in: int, n_out: int, *, align_corners: bool, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Bilinear interpolation along one axis, as matrices in float64.

    Output i is w0_i f[j_i] + w1_i f[j_i + 1].

    Returns:
        U and A, (n_out, n_in), with rows w0, w1 (f -> interpolated f) and w0^2, w1^2; and
        C, (n_out, n_in - 1), with w0 w1 at j, which weighs the product of the neighbours j, j + 1.
    """
    i = torch.arange(n_out, dtype=torch.float64, device=device)
    if align_corners:
        x = i * ((n_in - 1) / (n_out - 1)) if n_out > 1 else i * 0
    else:
        x = ((i + 0.5) * (n_in / n_out) - 0.5).clamp(min=0)
    j = x.floor().long().clamp(max=max(n_in - 2, 0))
    w1 = (x - j).clamp(max=1)
    at_j = F.one_hot(j, n_in).double()
    at_next = F.one_hot((j + 1).clamp(max=n_in - 1), n_in).double()
    w0, w1 = (1 - w1)[:, None], w1[:, None]
    if n_in == 1:
        return at_j, at_j, at_j[:, :-1]
    return w0 * at_j + w1 * at_next, w0**2 * at_j + w1**2 * at_next, (w0 * w1 * at_j)[:, :-1]


def upsampled_cosine(
    features: Tensor,
    text: Tensor,
    size: tuple[int, int],
    *,
    align_corners: bool = False,
    eps: float = 1e-12,
) -> Tensor:
    """cos(up(features), text) at every pixel, without making the upsampled map.

    Bilinear upsampling is linear, so it commutes with the dot product; and the squared norm of an
    upsampled pixel is a quadratic form in its four neighbours, given by five maps of inner
    products at low resolution: self, right, below and the two diagonals. In float64, because
    neighbours may nearly cancel; outside autocast.

    Args:
        features: (B, C, h, w).  text: (B, C).  size: (H, W).
        eps: least norm, as in `F.normalize`.
    Returns:
        (B, H, W) float32 in [-1, 1].
    """
    with torch.autocast(features.device.type, enabled=False):
        f = features.permute(0, 2, 3, 1).contiguous().double()  # sums over C run along memory
        t = F.normalize(text.double(), dim=-1, eps=eps)
        up_y, square_y, cross_y = interpolation_matrix(
            f.shape[1], size[0], align_corners=align_corners, device=f.device
        )
        up_x, square_x, cross_x = interpolation_matrix(
            f.shape[2], size[1], align_corners=align_corners, device=f.device
        )

        def inner(a: Tensor, b: Tensor) -> Tensor:  # (B, h, w, C) twice -> (B, h, w)
            return (a * b).sum(-1)

        above, below, left, right = f[:, :-1], f[:, 1:], f[:, :, :-1], f[:, :, 1:]
        norm2 = (
            square_y @ inner(f, f) @ square_x.T
            + 2 * square_y @ inner(left, right) @ cross_x.T
            + 2 * cross_y @ inner(above, below) @ square_x.T
            + 2
            * cross_y
            @ (inner(left[:, :-1], right[:, 1:]) + inner(right[:, :-1], left[:, 1:]))
            @ cross_x.T
        )
        dot = up_y @ torch.einsum('bhwc,bc->bhw', f, t) @ up_x.T
        return (
            (dot / norm2.clamp(min=eps**2).sqrt())
            .clamp(-1, 1)
            .to(torch.promote_types(features.dtype, torch.float32))
        )


def cosine_map(features: Tensor, text: Tensor) -> Tensor:
    """cos(features, text) at every cell: (B, C, h, w), (B, C) -> (B, h, w), at least float32."""
    with torch.autocast(features.device.type, enabled=False):
        features, text = at_least_float32(features), at_least_float32(text)
        return torch.einsum('bchw,bc->bhw', F.normalize(features, dim=1), F.normalize(text, dim=1))


class DensePrompt(nn.Module):
    """Eq. 7: p_dense = exp(scale) cos(up(Conv(v2_act)), t_sent) + bias.

    Sub-layers: 3x3 convolution d1 -> d1/2, BatchNorm, activation, 3x3 convolution back to d1; then
    the cosine with the sentence at SAM's mask-prompt size. Scale and bias are learnable and start
    from SigLIP's.

    Args:
        size: (H2/4, W2/4).
        activation: 'relu' (paper) or 'gelu' (release).
        align_corners: of the upsampling; False, or True in the release's variant.
        conv: the two convolutions' kernel, or None for none of them (Table XIII, V-soft).
        text: what the image is compared with (Table XIII): the sentence 't_sent', the mean over
            n_t of 't2' or 't2_act', or 't_sparse', a sparse prompt of width d2 more than SAM gets,
            projected to d1. The prompter picks it.
        text_mlp: an MLP d1 -> d1/2 -> d1 on the text (Table XIII, T-soft).
        visual: the map that is compared (Table XIII): 'v2_act', or 'v' as the tower made it. The
            prompter picks it.
        upsample: the features before the dot product ('pre', Eq. 7), or the cosine after it
            ('post', Table XIII).
    Raises:
        ValueError: another conv, text, visual or upsample; 't_sparse' without d2.
    """

    def __init__(
        self,
        *,
        d1: int,
        size: tuple[int, int],
        logit_scale: float,
        logit_bias: float,
        d2: int | None = None,
        activation: Literal['relu', 'gelu'] = 'relu',
        align_corners: bool = False,
        conv: Literal['3x3', '1x1'] | None = '3x3',
        text: Literal['t_sent', 't2', 't2_act', 't_sparse'] = 't_sent',
        text_mlp: bool = False,
        visual: Literal['v2_act', 'v'] = 'v2_act',
        upsample: Literal['pre', 'post'] = 'pre',
    ) -> None:
        super().__init__()
        if text not in ('t_sent', 't2', 't2_act', 't_sparse') or (text == 't_sparse' and not d2):
            raise ValueError(
                f"text is 't_sent', 't2', 't2_act', or 't_sparse' with d2, not {text!r}"
            )
        if visual not in ('v2_act', 'v') or upsample not in ('pre', 'post'):
            raise ValueError(
                "visual is 'v2_act' or 'v', upsample 'pre' or 'post', "
                f'not {visual!r} and {upsample!r}'
            )
        self.text, self.visual, self.upsample = text, visual, upsample
        self.size, self.align_corners = (size[0], size[1]), align_corners
        self.conv = _convolutions(d1, conv, activation)
        self.text_proj = nn.Linear(d2, d1) if text == 't_sparse' else None
        self.text_mlp = _text_mlp(d1, activation) if text_mlp else None
        self.logit_scale = nn.Parameter(torch.tensor([float(logit_scale)]))
        self.logit_bias = nn.Parameter(torch.tensor([float(logit_bias)]))

    def forward(self, v: Tensor, text: Tensor, grid_size: tuple[int, int]) -> Tensor:
        """v (B, h1*w1, d1), text (B, d1) or t_sparse (B, d2) -> logits (B, H2/4, W2/4)."""
        grid = v.transpose(1, 2).unflatten(2, grid_size)  # (B, N, d1) -> (B, d1, h1, w1)
        if self.text_proj is not None:
            text = self.text_proj(text)
        if self.text_mlp is not None:
            text = self.text_mlp(text)
        features = self.conv(grid)
        if self.upsample == 'pre':
            cosine = upsampled_cosine(features, text, self.size, align_corners=self.align_corners)
        else:
            cosine = F.interpolate(
                cosine_map(features, text)[:, None],
                self.size,
                mode='bilinear',
                align_corners=self.align_corners,
            )[:, 0]
        return at_least_float32(self.logit_scale).exp() * cosine + self.logit_bias

    @torch.no_grad()
    def tower_start(self, v: Tensor, t_sent: Tensor) -> dict[str, Tensor]:
        """Values with which the convolutions keep of v what sentences can ask for.

        Conv(v) = U U^T v in the mean, U the d1/2 leading principal directions of t_sent: the middle
        tap of the first convolution is U^T, BatchNorm lifts its outputs by SHIFT standard
        deviations over the activation's bend, the second undoes both. Then cos(Conv(v), t_sent) is
        nearly cos(v, t_sent), which is what a contrastively trained tower answers by itself.

        Args:
            v: (B, h1*w1, d1).  t_sent: (B, d1).
        Returns:
            {name in this module: values}; empty without convolutions.
        """
        if not isinstance(self.conv, nn.Sequential):
            return {}
        first, _, _, second = self.conv
        t = F.normalize(t_sent.double(), dim=-1)
        u = torch.linalg.eigh(t.T @ t).eigenvectors[:, -first.out_channels :]  # (d1, d1/2)
        projected = v.double().flatten(0, 1) @ u
        mean, std = projected.mean(0), projected.std(0).clamp(min=1e-6)
        middle = first.kernel_size[0] // 2
        down, up = (u.new_zeros(conv.weight.shape) for conv in (first, second))
        down[:, :, middle, middle], up[:, :, middle, middle] = u.T, u * std
        ones = torch.ones_like(mean)
        values = {
            '0.weight': down,
            '0.bias': 0 * mean,
            '1.weight': ones,
            '1.bias': SHIFT * ones,
            '1.running_mean': mean,
            '1.running_var': std**2,
            '3.weight': up,
            '3.bias': u @ (mean - SHIFT * std),
        }
        return {f'conv.{name}': value.float() for name, value in values.items()}


def _text_mlp(d1: int, activation: str) -> nn.Module:
    """(B, d1) -> (B, d1), as wide inside as the convolutions."""
    return nn.Sequential(nn.Linear(d1, d1 // 2), ACTIVATIONS[activation](), nn.Linear(d1 // 2, d1))


def _convolutions(d1: int, kernel: str | None, activation: str) -> nn.Module:
    """d1 -> d1/2 -> d1, (B, d1, h1, w1) to the same; the identity for None."""
    if kernel is None:
        return nn.Identity()
    if kernel not in ('3x3', '1x1'):
        raise ValueError(f"conv is '3x3', '1x1' or None, not {kernel!r}")
    size = int(kernel[0])
    return nn.Sequential(
        nn.Conv2d(d1, d1 // 2, size, padding=size // 2),
        SyncedBatchNorm2d(d1 // 2),
        ACTIVATIONS[activation](),
        nn.Conv2d(d1 // 2, d1, size, padding=size // 2),
    )
