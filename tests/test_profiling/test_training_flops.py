"""FLOP of a training step: against those of a real step, and by what is frozen."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rsrefseg2.models.data_preprocessor import ModelInputs
from rsrefseg2.profiling.complexity import build_on_meta, count_flops
from rsrefseg2.profiling.training_flops import count_training_flops
from rsrefseg2.registry import MODELS
from tests import tiny_towers


def tiny_model(lora: dict | None) -> dict:
    return dict(
        type='RSRefSeg2',
        siglip=dict(checkpoint=tiny_towers.siglip_config(), vision_lora=lora, text_lora=lora),
        sam=dict(checkpoint=tiny_towers.sam2_config(), lora=lora),
        prompter=dict(type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16, dense=dict()),
    )


def real_step(model, images: int, sentences: int) -> int:
    """FLOP of one forward and backward pass on the CPU."""
    encoder, size = model.encoder, model.mask_generator.input_size
    inputs = ModelInputs(
        torch.randn(images, 3, encoder.image_size, encoder.image_size),
        torch.randn(images, 3, *size),
        torch.arange(sentences) % images,
        torch.ones(sentences, encoder.max_length, dtype=torch.int64),
        torch.full((sentences,), encoder.max_length),
        torch.zeros(sentences, dtype=torch.int64),
    )
    # Attention as products, which the counter knows on the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(inputs).mask_logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize('lora', [None, dict(r=2)])
def test_a_real_step_takes_as_much(lora):
    config = tiny_model(lora)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = MODELS.build(dict(copy.deepcopy(config), init='random')).eval()
    counted = count_training_flops(build_on_meta(config))
    one, two, more = (real_step(model, *sizes) for sizes in ((1, 1), (2, 2), (1, 2)))
    assert two - one == pytest.approx(counted.image + counted.sentence, rel=0.02)
    assert more - one == pytest.approx(counted.sentence, rel=0.02)


def test_a_frozen_tower_without_adapters_is_only_run_forward():
    model = build_on_meta(tiny_model(None))
    forward = count_flops(model)
    # SAM's decoder trains two convolutions on the image encoder's maps; the rest takes no gradient.
    towers = forward['vision_tower'] + forward['sam_image_encoder']
    assert towers <= count_training_flops(model).image < 1.2 * towers


def test_with_adapters_a_frozen_layer_counts_twice_and_no_more_than_three_times():
    forward = count_flops(build_on_meta(tiny_model(dict(r=2))))
    counted = count_training_flops(build_on_meta(tiny_model(dict(r=2))))
    ratio = (counted.image + counted.sentence) / forward['total']
    assert 1.7 < ratio < 3
    more = count_training_flops(build_on_meta(tiny_model(dict(r=8))))
    assert more.image > counted.image and more.sentence > counted.sentence
