"""What is read otherwise in the families of towers beside SigLIP: NaFlex SigLIP2 and CLIP."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, PreTrainedConfig

SIGLIP_PIXELS = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
CLIP_PIXELS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pixel_statistics(config: PreTrainedConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel that the family's images were normalised with."""
    return CLIP_PIXELS if isinstance(config, CLIPConfig) else SIGLIP_PIXELS


def pretrained_image_size(vision: PreTrainedConfig) -> int:
    """Side in pixels of the images that the position embeddings belong to."""
    if hasattr(vision, 'num_patches'):  # NaFlex: a budget of patches, a square of them at most
        return int(vision.num_patches**0.5) * vision.patch_size
    return vision.image_size


def share_space(clip: CLIPModel) -> None:
    """Hang CLIP's two projections into its towers as `head`, as SigLIP's text tower has its own:
    they are then frozen, moved and stored with the tower that they belong to."""
    clip.vision_model.head = clip.visual_projection
    clip.text_model.head = clip.text_projection


def naflex_inputs(images: Tensor, patch: int) -> dict[str, Tensor]:
    """(U, 3, H, W) -> what a NaFlex image tower takes: every patch as a row of its pixels, and the
    grid; none is padding."""
    count, _, height, width = images.shape
    h1, w1 = height // patch, width // patch
    cells = images[:, :, : h1 * patch, : w1 * patch].unflatten(2, (h1, patch))
    cells = cells.unflatten(4, (w1, patch))  # (U, 3, h1, p, w1, p)
    pixels = cells.permute(0, 2, 4, 3, 5, 1).flatten(3)  # (U, h1, w1, p * p * 3)
    return {
        'pixel_values': pixels.flatten(1, 2),
        'pixel_attention_mask': torch.ones(count, h1 * w1, dtype=torch.int64, device=images.device),
        'spatial_shapes': torch.tensor([[h1, w1]] * count, device='cpu'),
    }  # read as numbers
