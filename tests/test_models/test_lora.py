"""Eq. 2, third line: which layers are adapted, by name; W* = W + B A."""

import pytest
import torch
from torch import nn
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel, SiglipConfig, SiglipModel

from rsrefseg2.models.towers.lora import LoRALinear, inject_lora
from tests import tiny_towers

from .tiny_model import PAPER_LOSSES, batch, build


def without_type(config):
    return {key: value for key, value in config.items() if key != 'model_type'}


@pytest.fixture
def siglip():
    """As the hub has it, with the pooling head and its own attention."""
    return SiglipModel(SiglipConfig(**without_type(tiny_towers.siglip_config())))


@pytest.fixture
def sam2():
    return Sam2Model(Sam2Config(**without_type(tiny_towers.named_sam2(tiny_towers.sam2_config()))))


def test_siglip_attention_and_not_its_pooling_head(siglip):
    heads = [name for name, _ in siglip.vision_model.named_modules() if name.startswith('head.')]
    assert any(name.endswith('out_proj') for name in heads)  # which a bare name would hit
    for tower in (siglip.vision_model, siglip.text_model):
        assert inject_lora(tower, family='siglip', r=2) == sorted(
            f'encoder.layers.{layer}.self_attn.{projection}'
            for layer in (0, 1)
            for projection in ('q_proj', 'k_proj', 'v_proj', 'out_proj')
        )


def test_hiera_attention_and_not_its_dimension_changes(sam2):
    encoder = sam2.vision_encoder
    changes = [
        name
        for name, _ in encoder.named_modules()
        if name.endswith('.proj') and '.attn.' not in name
    ]
    assert changes  # which a bare name would hit
    assert inject_lora(encoder, family='sam2', r=2) == sorted(
        f'backbone.blocks.{block}.attn.{projection}'
        for block in range(5)
        for projection in ('qkv', 'proj')
    )


def test_sam_1_attention():
    encoder = SamModel(SamConfig(**without_type(tiny_towers.sam_config()))).vision_encoder
    assert inject_lora(encoder, family='sam', r=2) == sorted(
        f'layers.{layer}.attn.{projection}' for layer in (0, 1) for projection in ('qkv', 'proj')
    )


def test_the_update_is_b_a_and_starts_at_zero(siglip):
    tower = siglip.text_model
    layer = tower.encoder.layers[0].self_attn.q_proj
    x = torch.randn(3, 32)
    before = layer(x).detach()
    inject_lora(tower, family='siglip', r=2)
    adapted = tower.encoder.layers[0].self_attn.q_proj
    assert adapted.base_layer is layer
    a, b = adapted.lora_A.default.weight, adapted.lora_B.default.weight
    assert a.shape == (2, 32) and b.shape == (32, 2)
    assert not b.any() and a.any() and torch.equal(adapted(x), before)
    torch.nn.init.normal_(b)
    expected = before + x @ (b @ a).T  # alpha = r: scale 1
    assert torch.allclose(adapted(x), expected, atol=1e-5)


def test_alpha_scales_the_update(siglip):
    tower = siglip.text_model
    inject_lora(tower, family='siglip', r=2, alpha=6)
    assert tower.encoder.layers[0].self_attn.q_proj.scaling['default'] == 3


def test_only_the_adapters_are_trained(sam2):
    inject_lora(sam2.vision_encoder, family='sam2', r=2)
    assert {name for name, p in sam2.vision_encoder.named_parameters() if p.requires_grad} == {
        name for name, _ in sam2.vision_encoder.named_parameters() if '.lora_' in name
    }


def test_the_release_adapts_the_text_head_and_the_neck_too(siglip, sam2):
    text, encoder = siglip.text_model, sam2.vision_encoder
    assert 'head' in inject_lora(text, family='siglip', r=2, extra_layers='head')
    adapted = inject_lora(encoder, family='sam2', r=2, extra_layers='neck')
    assert [name for name in adapted if 'blocks' not in name] == [
        f'neck.convs.{i}' for i in range(4)
    ]
    # W + B A is a convolution too
    layer, x = encoder.neck.convs[0], torch.randn(2, 64, 3, 3)
    torch.nn.init.normal_(layer.lora_B.default.weight)
    before = layer.base_layer(x)
    update = layer.lora_B.default.weight.flatten(1) @ layer.lora_A.default.weight.flatten(1)
    wanted = before + torch.einsum('oi,bihw->bohw', update, x)
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_what_cannot_be_adapted_too(siglip, sam2):
    del siglip.vision_model.head  # as our image tower is
    with pytest.raises(ValueError, match="matches 'head'"):
        inject_lora(siglip.vision_model, family='siglip', r=2, extra_layers='head')
    with pytest.raises(ValueError, match="'head', 'neck' or None, not 'tail'"):
        inject_lora(sam2.vision_encoder, family='sam2', r=2, extra_layers='tail')


def test_wrong_rank_and_wrong_architecture(siglip, sam2):
    with pytest.raises(ValueError, match='rank r must be at least 1, not 0'):
        inject_lora(siglip.text_model, family='siglip', r=0)
    with pytest.raises(ValueError, match='self_attn'):
        inject_lora(sam2.vision_encoder, family='siglip', r=2)


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
@pytest.mark.parametrize('again', [False, True])
def test_no_gradient_work_below_the_first_adapter(kind, again):
    """What enters the first adapted layer of each tower asks for no gradient, so nothing below it
    is in the backward pass; what enters the next one does."""
    options = dict(
        siglip=dict(vision_recompute=again, text_recompute=again), sam=dict(recompute=again)
    )
    model = build(kind, losses=PAPER_LOSSES, **options).train()
    asked = {}
    for name, tower in zip(('vision', 'text', 'sam'), model.towers(), strict=True):
        for layer in tower.modules():
            if isinstance(layer, LoRALinear):
                layer.register_forward_pre_hook(
                    lambda _, args, name=name: asked.setdefault(name, []).append(
                        args[0].requires_grad
                    )
                )
    below, backward = [], []
    for tower in model.towers():
        for module in tower.modules():
            if isinstance(module, (nn.Conv2d, nn.Embedding)):
                module.register_forward_hook(lambda _, __, out: below.append(out.requires_grad))
                module.register_full_backward_hook(lambda *_: backward.append(1))
                break  # the patches' or tokens' embedding: the first of the tower
    losses = model(**batch(model, training=True), mode='loss')
    sum(losses.values()).backward()
    assert below == [False] * 3 and backward == []
    for name, flags in asked.items():
        # q, k and v of the first block read one input; SAM has one layer for the three
        first = 1 if name == 'sam' else 3
        assert flags[:first] == [False] * first and flags[first] is True, (name, flags)
