"""The tiny SAM 2: its sizes, and what it is pretrained to do: to draw what a point or a coarse mask
points at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError
from ...models.data_preprocessor import IMAGENET_MEAN, IMAGENET_STD, normalise, squash
from ...models.losses.segmentation import upsample
from ...models.mask_generator import MaskGenerator
from .start_values import fan_in_init

SAM_SIZE = 192


def sam_config(size: int) -> dict[str, Any]:
    """The tiny SAM 2 for images of `size` x `size`, a multiple of 64; its weights fit every size."""
    return dict(
        model_type='sam2',
        vision_config=dict(
            backbone_config=dict(
                model_type='sam2_hiera_det_model',
                hidden_size=16,
                num_attention_heads=1,
                image_size=[size, size],
                patch_stride=[4, 4],
                blocks_per_stage=[1, 1, 2, 1],
                embed_dim_per_stage=[16, 32, 64, 128],
                num_attention_heads_per_stage=[1, 2, 4, 4],
                window_size_per_stage=[8, 8, size // 32, size // 32],
                global_attention_blocks=[3],
                window_positional_embedding_background_size=[8, 8],
            ),
            backbone_channel_list=[128, 64, 32, 16],
            backbone_feature_sizes=[[size // 4] * 2, [size // 8] * 2, [size // 16] * 2],
            fpn_hidden_size=64,
        ),
        prompt_encoder_config=dict(
            hidden_size=64, image_size=size, patch_size=16, mask_input_channels=16
        ),
        mask_decoder_config=dict(
            hidden_size=64,
            mlp_dim=256,
            num_attention_heads=4,
            attention_downsample_rate=1,
            iou_head_hidden_dim=64,
            iou_head_depth=3,
            dynamic_multimask_via_stability=False,
        ),
    )


class SamPretraining(nn.Module):
    """A point inside the object, in 70 % of samples with a coarse mask -> the object's mask.

    Args:
        image_size: side of what SAM sees, a multiple of 64.
    Raises:
        UserError: it is none.
    """

    def __init__(self, image_size: int = SAM_SIZE) -> None:
        super().__init__()
        if image_size % 64:
            raise UserError(f'--image-size must be a multiple of 64 for sam2, got {image_size}')
        self.image_size = image_size
        self.generator = MaskGenerator(
            checkpoint=sam_config(image_size), init='random', trainable=True
        )
        self.sam = self.generator.sam
        fan_in_init(self.sam)
        self.sam.requires_grad_(True)
        # One Fourier matrix for prompts and image, as in the released checkpoints.
        matrix = self.sam.prompt_encoder.shared_embedding.positional_embedding.data
        self.sam.shared_image_embedding.positional_embedding.data.copy_(matrix)
        for embedding in (
            self.sam.prompt_encoder.shared_embedding,
            self.sam.shared_image_embedding,
        ):
            embedding.requires_grad_(False)

    def save(self, folder: Path) -> None:
        """One folder in the hub's format."""
        self.sam.save_pretrained(folder)

    def images(self, images: list[Tensor]) -> Tensor:
        """uint8 (3, H, W), equally large -> (U, 3, image_size, image_size), normalised."""
        stacked = torch.stack(images).to(self.sam.device).float() / 255
        size = (self.image_size, self.image_size)
        return normalise(squash(stacked, size), IMAGENET_MEAN, IMAGENET_STD)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """-> `ce`, `dice`: losses at the masks' own size; `iou`: of the prediction at 0."""
        device = self.sam.device
        masks = torch.stack([s.gt_mask for s in batch['data_samples']]).to(device).float()
        embeddings, high_resolution = self.generator.encode_images(self.images(batch['inputs']))
        index = batch['image_index'].to(device)
        logits = upsample(
            self.generator(
                embeddings[index],
                [feature[index] for feature in high_resolution],
                self._points(masks),
                self._coarse(masks),
            ),
            masks.shape[1:],
        )
        p = logits.sigmoid().flatten(1)
        flat = masks.flatten(1)
        dice = 1 - (2 * (p * flat).sum(1) + 1e-3) / (p.sum(1) + flat.sum(1) + 1e-3)
        hit = (logits > 0) & (masks > 0)
        either = (logits > 0) | (masks > 0)
        iou = (hit.sum((1, 2)) / either.sum((1, 2)).clamp(min=1)).mean()
        return {
            'ce': F.binary_cross_entropy_with_logits(logits, masks),
            'dice': dice.mean(),
            'iou': iou.detach(),
        }

    def _points(self, masks: Tensor) -> Tensor:
        """A random pixel of each mask as SAM's point embedding: (B, 2, d2), with its padding.

        Raises:
            ValueError: a mask is empty.
        """
        count = masks.flatten(1).cumsum(1)
        pixels = count[:, -1:]
        if not pixels.all():
            raise ValueError('a mask is empty: there is no point in it')
        drawn = (torch.rand(len(masks), 1, device=masks.device) * pixels).floor()
        drawn = torch.minimum(drawn, pixels - 1)  # the product may be rounded up to the last
        chosen = torch.searchsorted(count, drawn + 0.5)[:, 0]
        width = masks.shape[2]
        places = torch.stack([chosen % width, chosen // width], -1).float()
        points = (places + 0.5) * self.image_size / width - 0.5
        labels = torch.ones(len(masks), 1, 1, dtype=torch.int, device=masks.device)
        sparse, _ = self.sam.prompt_encoder(points[:, None, None], labels, None, None)
        return sparse[:, 0]

    def _coarse(self, masks: Tensor) -> Tensor:
        """Logits like a dense prompt's, (B, 48, 48): the mask at 12 x 12 with noise; none in 30 %."""
        grid = self.sam.prompt_encoder.image_embedding_size
        coarse = F.interpolate(masks[:, None], grid, mode='area')
        coarse = coarse / coarse.amax((2, 3), keepdim=True).clamp(min=1e-6)
        coarse = (coarse + 0.1 * torch.randn_like(coarse)) * 6 - 3
        logits = F.interpolate(coarse, self.generator.prompt_size, mode='bilinear')[:, 0]
        absent = torch.rand(len(masks), 1, 1, device=masks.device) < 0.3
        return logits.masked_fill(absent, 0.0)
