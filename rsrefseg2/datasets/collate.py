"""From items to the batch of U unique images and B sentences."""

from __future__ import annotations

import zlib

import torch

from ..errors import UserError
from ..registry import FUNCTIONS


@FUNCTIONS.register_module()
def unique_images_collate(items: list[dict]) -> dict:
    """`{'inputs': [U tensors (3, H, W) uint8], 'image_index': (B,) int64, 'image_ids': (B,) int64,
    'data_samples': [B]}`.

    Images are one where their tensors are the same object, which the dataset's `__getitems__`
    sees to. So each image crosses to the main process once, however many sentences ask about it.
    `image_ids` are checksums of the pixels: equal for equal images, under whatever names they are
    stored, in every batch and on every rank.
    Images of a batch may differ in size; the data preprocessor resizes them.
    """
    images: list[torch.Tensor] = []
    checksums: list[int] = []
    position: dict[int, int] = {}
    index = []
    for item in items:
        if 'inputs' not in item:
            raise UserError(
                'a sample has no inputs for the model: end the pipeline of the dataset '
                'with PackRefSegInputs'
            )
        image = item['inputs']
        if id(image) not in position:
            position[id(image)] = len(images)
            images.append(image)
            checksums.append(zlib.crc32(image.contiguous().numpy()))
        index.append(position[id(image)])
    return {
        'inputs': images,
        'image_index': torch.tensor(index, dtype=torch.int64),
        'image_ids': torch.tensor([checksums[u] for u in index], dtype=torch.int64),
        'data_samples': [item['data_samples'] for item in items],
    }
