"""What the weights of a tiny tower start from."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fan_in_init(module: nn.Module) -> None:
    """Linear and convolution weights of std 1/sqrt(fan in), embeddings of std 1.

    transformers' flat std of 0.02 suits wide towers; tiny ones hardly start to learn from it.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            fan_in = part.weight[0].numel()
            if isinstance(part, nn.ConvTranspose2d):
                fan_in = part.in_channels  # stride = kernel size: every output has one tap
            nn.init.trunc_normal_(part.weight, std=1 / math.sqrt(fan_in))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight)


@torch.no_grad()
def whiten_patches(embedding: nn.Conv2d, images: Tensor) -> None:
    """Start a patch embedding from the principal components of patches, in a random mixture.

    Its outputs then have mean 0 and variance 1 over the patches that lie within `images` and are
    uncorrelated. Random filters mostly answer to details finer than a smooth patch has.

    Args:
        embedding: of at most as many channels as a patch has values.
        images: (U, 3, H, W), normalised for the tower.
    """
    size, width = embedding.kernel_size, embedding.out_channels
    patches = F.unfold(images, size, stride=embedding.stride).transpose(1, 2).flatten(0, 1)
    patches = patches.double()
    mean = patches.mean(0)
    variances, components = torch.linalg.eigh((patches - mean).T.cov(correction=0))
    variances, components = variances[-width:], components[:, -width:]
    mixture = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64)).Q
    weight = mixture @ (components / variances.clamp(min=1e-8).sqrt()).T
    embedding.weight.copy_(weight.view_as(embedding.weight))
    embedding.bias.copy_(-weight @ mean)
