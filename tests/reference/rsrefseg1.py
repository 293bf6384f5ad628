"""RSRefSeg (arXiv 2501.06809): the single stage, one sentence and one patch at a time."""

import math

import torch
import torch.nn.functional as F


def activations(v, words, t_sent, *, scale, bias):
    """v (h1*w1, d1), a sentence's own words (L, d1), t_sent (d1,) -> v_local, v_global, v side by
    side (h1*w1, 3 d1), and g (h1*w1,)."""
    rows, g = [], []
    for patch in v:
        a = []
        for word in words:
            cosine = torch.dot(patch, word) / (patch.norm() * word.norm())
            a.append(1 / (1 + torch.exp(-(math.exp(scale) * cosine + bias))))
        local = (patch + sum(one * patch for one in a) / len(a)) / 2
        cosine = torch.dot(patch, t_sent) / (patch.norm() * t_sent.norm())
        logit = math.exp(scale) * cosine + bias
        rows.append(torch.cat([local, patch / (1 + torch.exp(-logit)), patch]))
        g.append(logit)
    return torch.stack(rows), torch.stack(g)


def batch_norm(x, weight, bias, eps=1e-5):
    """(B, C, h, w) by the batch's own statistics."""
    mean = x.mean((0, 2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / (var + eps).sqrt() * weight[:, None, None] + bias[:, None, None]


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def convolutions(channels, w, *, grid, positions, down):
    """channels (B, h1*w1, 3 d1), positions (h1*w1, d2) -> p_sparse (B, n_p, d2)."""
    x = channels @ w['reduce.0.weight'][:, :, 0, 0].T  # a 1x1 convolution
    x = x.mT.reshape(len(channels), -1, *grid)
    x = gelu(batch_norm(x, w['reduce.1.weight'], w['reduce.1.bias']))
    x = x + positions.T.reshape(1, -1, *grid)
    for step in range(down):
        x = F.conv2d(x, w[f'shrink.{step}.0.weight'], stride=2, padding=1)
        x = gelu(batch_norm(x, w[f'shrink.{step}.1.weight'], w[f'shrink.{step}.1.bias']))
    last = w[f'shrink.{down}.weight'][:, :, 0, 0]
    x = x.flatten(2).mT @ last.T + w[f'shrink.{down}.bias']
    return x


def upsampled(g, grid, size):
    """g (h1*w1,) -> (H, W), bilinear by hand, pixel centres aligned, the border repeated."""
    cells = g.reshape(grid)
    out = torch.zeros(size, dtype=g.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * grid[0] / size[0] - 0.5, 0), grid[0] - 1)
            x = min(max((j + 0.5) * grid[1] / size[1] - 0.5, 0), grid[1] - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, grid[0] - 1), min(left + 1, grid[1] - 1)
            dy, dx = y - top, x - left
            out[i, j] = (1 - dy) * ((1 - dx) * cells[top, left] + dx * cells[top, right]) + dy * (
                (1 - dx) * cells[below, left] + dx * cells[below, right]
            )
    return out
