"""RSRefSeg2 on tiny towers with random weights, and batches for it."""

from __future__ import annotations

import torch
from mmengine.registry import DefaultScope

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.registry import MODELS
from rsrefseg2.structures import RefSegDataSample
from tests import tiny_towers

PAPER_LOSSES = dict(
    seg=dict(
        type='SegmentationLoss',
        ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
        dice=dict(type='mmdet.DiceLoss', naive_dice=True),
    ),
    ortho=dict(type='OrthogonalLoss', loss_weight=0.5),
    sample=dict(type='SampleContrastLoss', loss_weight=0.5),
)
LORA = dict(r=2)
SENTENCES = [
    'a ship',
    'the red car on the upper left of the blue plane',
    'the blue car',
    'the car on the right, on the left of a ship',
    'ship',
    'a plane on the left',
]
# Two sentences of one image, and images of several sizes.
IMAGES = [0, 1, 0, 2, 3, 1]
SIZES = [(48, 64), (30, 20), (64, 64), (70, 90)]


def build(
    kind: str = 'sam2',
    *,
    lora: dict | None = LORA,
    losses: dict | None = None,
    seed: int = 0,
    **changes,
):
    """The model with SAM 2 or SAM 1; `changes` go over the config's siglip, sam and prompter."""
    sam_config = dict(sam2=tiny_towers.sam2_config, sam=tiny_towers.sam_config)
    config = dict(
        type='RSRefSeg2',
        init='random',
        losses=losses,
        siglip=dict(checkpoint=tiny_towers.siglip_config(), vision_lora=lora, text_lora=lora),
        sam=dict(checkpoint=sam_config[kind](), lora=lora),
        prompter=dict(type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16, dense=dict()),
    )
    for part, options in changes.items():
        config[part].update(options)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(config)


def stirred(model, *, seed: int = 1):
    """LoRA's B not 0; and SAM's decoder larger, whose logits are differences of nearly equal
    numbers while its weights are as small as transformers draws them."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'lora_B' in name:
                parameter.normal_(std=0.1)
            elif 'mask_decoder' in name and parameter.ndim > 1:
                parameter.mul_(8)
    return model


def items(which=range(len(SENTENCES)), *, shared: bool = True) -> list[dict]:
    """Dataset items; with `shared` the sentences of an image hold the same tensor, as the dataset
    gives them."""
    tensors = {}
    found = []
    for i in which:
        number = IMAGES[i]
        height, width = SIZES[number]
        generator = torch.Generator().manual_seed(number)
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[3 + i : 15 + 2 * i, 2 + i : 12 + i] = True
        sample = RefSegDataSample(
            metainfo=dict(
                sample_id=str(i),
                img_path=f'{number}.png',
                text=SENTENCES[i],
                category=None,
                ori_shape=(height, width),
            )
        )
        sample.gt_mask = mask
        found.append(
            dict(inputs=tensors.setdefault(number, image) if shared else image, data_samples=sample)
        )
    return found


def batch(
    model, which=range(len(SENTENCES)), *, shared: bool = True, training: bool = False
) -> dict:
    """What `model.forward` takes."""
    return model.data_preprocessor(unique_images_collate(items(which, shared=shared)), training)
