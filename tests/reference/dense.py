"""Eq. 7, literally: every one of the d1 channels is upsampled before anything is normed."""

import math

import torch

from .layers import ACTIVATIONS, part

BATCH_NORM_EPS = 1e-5
NORM_FLOOR = 1e-12  # of the L2 norm, so that a zero vector stays zero


def conv3x3(x, weights):
    """y_o(i, j) = b_o + sum_c sum_uv W_ocuv x_c(i + u - 1, j + v - 1), zero outside."""
    batch, _, h, w = x.shape
    padded = x.new_zeros(batch, x.shape[1], h + 2, w + 2)
    padded[:, :, 1 : h + 1, 1 : w + 1] = x
    y = weights['bias'][None, :, None, None]
    for u in range(3):
        for v in range(3):
            y = y + torch.einsum(
                'oc,bcij->boij', weights['weight'][:, :, u, v], padded[:, :, u : u + h, v : v + w]
            )
    return y


def batch_norm(x, weights, training=False):
    """Per channel; the batch's own mean and biased variance in training, the running ones else."""
    if training:
        mean = x.mean(dim=(0, 2, 3))
        var = ((x - mean[None, :, None, None]) ** 2).mean(dim=(0, 2, 3))
    else:
        mean, var = weights['running_mean'], weights['running_var']

    def cast(z):
        return z[None, :, None, None]

    x = (x - cast(mean)) / torch.sqrt(cast(var) + BATCH_NORM_EPS)
    return x * cast(weights['weight']) + cast(weights['bias'])


def bilinear_matrix(n_in, n_out, align_corners, dtype=torch.float64):
    """(n_out, n_in): row i holds the two weights with which output i reads the inputs."""
    matrix = torch.zeros(n_out, n_in, dtype=dtype)
    for i in range(n_out):
        if align_corners:
            position = i * (n_in - 1) / (n_out - 1) if n_out > 1 else 0.0
        else:
            position = max((i + 0.5) * n_in / n_out - 0.5, 0.0)
        low = min(math.floor(position), n_in - 1)
        high = min(low + 1, n_in - 1)
        matrix[i, low] += 1 - (position - low)
        matrix[i, high] += position - low
    return matrix


def bilinear(x, out_size, align_corners):
    """(B, C, h, w) -> (B, C, H, W)."""
    rows = bilinear_matrix(x.shape[2], out_size[0], align_corners, x.dtype)
    columns = bilinear_matrix(x.shape[3], out_size[1], align_corners, x.dtype)
    return torch.einsum('xj,bcyj->bcyx', columns, torch.einsum('yi,bcij->bcyj', rows, x))


def unit(x, dim):
    """x / max(|x|, floor) along ``dim``; a zero vector has a zero gradient, not NaN."""
    squared = (x * x).sum(dim=dim, keepdim=True)
    tiny = squared <= NORM_FLOOR**2
    norm = torch.sqrt(torch.where(tiny, torch.full_like(squared, NORM_FLOOR**2), squared))
    return x / norm


def dense_map(v, weights, size, activation, training=False):
    """conv-BN-act-conv: (B, h1*w1, d1) -> (B, d1, h1, w1); weights ``0``, ``1``, ``3``."""
    h, w = size
    x = torch.stack([v[:, i * w : (i + 1) * w] for i in range(h)], dim=1)  # B h w d1
    x = torch.einsum('bijc->bcij', x)
    x = conv3x3(x, part(weights, '0'))
    x = batch_norm(x, part(weights, '1'), training)
    x = ACTIVATIONS[activation](x)
    return conv3x3(x, part(weights, '3'))


def cosine_map(features, t_sent, out_size, align_corners):
    """(B, d1, h1, w1), (B, d1) -> (B, 1, H, W): upsample, norm over channels, dot product."""
    upsampled = bilinear(features, out_size, align_corners)
    return torch.einsum('bcyx,bc->byx', unit(upsampled, 1), unit(t_sent, 1))[:, None]


def dense_prompt(
    v,
    t_sent,
    weights,
    *,
    scale,
    bias,
    size,
    out_size,
    activation='relu',
    align_corners=False,
    training=False,
):
    """Eq. 7: exp(scale) * cos(upsampled map, t_sent) + bias, (B, 1, H2/4, W2/4) logits."""
    features = dense_map(v, weights, size, activation, training)
    return torch.exp(scale) * cosine_map(features, t_sent, out_size, align_corners) + bias
