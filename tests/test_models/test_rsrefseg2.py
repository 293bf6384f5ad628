"""The whole model: what is trained, that it trains, and that a prediction is its sample's own."""

import copy

import pytest
import torch

from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.losses import (
    DenseLoss,
    OrthogonalLoss,
    SampleContrastLoss,
    SegmentationLoss,
    SpatialLoss,
)
from rsrefseg2.models.mask_generator import UNREACHED_HEADS
from rsrefseg2.models.symbols import Targets
from tests import tiny_towers

from .tiny_model import PAPER_LOSSES, SENTENCES, batch, build, stirred

DECODER = 'mask_generator.sam.mask_decoder.'
# Prefixes of what is frozen in the decoder: no loss reaches it (only mask token 0 is read).
FROZEN_HEADS = {
    'sam2': (
        'iou_prediction_head',
        'pred_obj_score_head',
        'output_hypernetworks_mlps.1',
        'output_hypernetworks_mlps.2',
        'output_hypernetworks_mlps.3',
    ),
    'sam': (
        'iou_prediction_head',
        'output_hypernetworks_mlps.1',
        'output_hypernetworks_mlps.2',
        'output_hypernetworks_mlps.3',
    ),
}


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def expected_to_train(model, sam):
    """By the paper's words, from the names alone."""
    found = set()
    for name, _ in model.named_parameters():
        lora = name.split('.')[-3:-1] in (['lora_A', 'default'], ['lora_B', 'default'])
        decoder = name.startswith(DECODER) and not any(
            name.startswith(f'{DECODER}{head}.') for head in FROZEN_HEADS[sam]
        )
        if lora or decoder or name.startswith('prompter.') or name.endswith('logit_scale'):
            found.add(name)
    return found


@pytest.mark.parametrize('sam', ['sam2', 'sam'])
def test_the_trainable_set_by_name(sam):
    model = build(sam, losses=PAPER_LOSSES)
    names = trained(model)
    assert names == expected_to_train(model, sam)
    # and it is neither empty nor everything, part by part
    every = {name for name, _ in model.named_parameters()}
    for prefix in (
        'encoder.vision_model.',
        'encoder.text_model.',
        'mask_generator.sam.vision_encoder.',
    ):
        inside = {name for name in names if name.startswith(prefix)}
        assert inside and all('.lora_' in name for name in inside)
        assert len(inside) < sum(name.startswith(prefix) for name in every)
    assert not any(name.startswith('mask_generator.sam.prompt_encoder.') for name in names)
    assert {name for name in names if name.startswith('losses.')} == {'losses.sample.logit_scale'}
    assert {'prompter.dense.logit_scale', 'prompter.dense.logit_bias'} <= names
    for head in FROZEN_HEADS[sam]:
        assert head in UNREACHED_HEADS
        assert any(name.startswith(DECODER + head) for name in every), f'{head} is not there'


def test_named_variants_train_what_they_say():
    frozen = trained(build(lora=None))
    assert not any(
        name.startswith(('encoder.', 'mask_generator.sam.vision_encoder.')) for name in frozen
    )
    whole = build(lora=None, siglip=dict(trainable=True), sam=dict(trainable=True))
    for prefix in (
        'encoder.vision_model.',
        'encoder.text_model.',
        'mask_generator.sam.vision_encoder.',
    ):
        assert all(p.requires_grad for n, p in whole.named_parameters() if n.startswith(prefix))
    with pytest.raises(ValueError, match='vision_lora'):
        build(siglip=dict(trainable=True))
    with pytest.raises(ValueError, match='lora'):
        build(sam=dict(trainable=True))


RELEASE = dict(
    siglip=dict(text_lora=dict(r=2, extra_layers='head'), keep_padding_tokens=True),
    sam=dict(lora=dict(r=2, extra_layers='neck'), train_prompt_encoder=True),
    prompter=dict(type='InterleavedPrompter', dense=dict(activation='gelu', align_corners=True)),
)
RELEASE_LOSSES = dict(PAPER_LOSSES, sample=dict(type='SampleContrastLoss', variant='release'))


def test_the_release_trains_more():
    more = trained(build(losses=RELEASE_LOSSES, **RELEASE)) - trained(build(losses=PAPER_LOSSES))
    mask_embed = 'mask_generator.sam.prompt_encoder.mask_embed.'
    assert {name for name in more if name.startswith(mask_embed)} == {
        f'{mask_embed}{layer}.{kind}'
        for kind in ('weight', 'bias')
        for layer in ('conv1', 'conv2', 'conv3', 'layer_norm1', 'layer_norm2')
    }
    assert {name for name in more if not name.startswith(mask_embed)} == {
        f'{layer}.lora_{ab}.default.weight'
        for ab in 'AB'
        for layer in (
            'encoder.text_model.head',
            *(f'mask_generator.sam.vision_encoder.neck.convs.{i}' for i in range(4)),
        )
    }


# ------------------------------------------------------------------ two steps of training

# Trained parameters whose gradient is 0, as (part of the name, why).
NO_GRADIENT = [
    ('k_proj.bias', 'a softmax over keys does not see what is added to every score of a row'),
    ('dense.conv.0.bias', 'the BatchNorm after it takes every mean out'),
]


def steps(model, n, lr=1e-2):
    """The gradients of step n, by name, after n - 1 updates and before the n-th."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(n):
        optimizer.zero_grad(set_to_none=True)
        loss, _ = model.parse_losses(model(**batch(model, training=True), mode='loss'))
        loss.backward()
        gradients = {
            name: None if p.grad is None else p.grad.clone()
            for name, p in model.named_parameters()
            if p.requires_grad
        }
        optimizer.step()
    return gradients


VARIANTS = {
    'sam2': dict(losses=PAPER_LOSSES),
    'sam': dict(kind='sam', losses=PAPER_LOSSES),
    'release': dict(losses=RELEASE_LOSSES, **RELEASE),
}


@pytest.mark.parametrize('variant', VARIANTS)
def test_two_steps_reach_everything_that_is_trained_and_nothing_else(variant):
    model = build(**VARIANTS[variant]).double()  # a true zero stands far below the rest
    frozen = {
        name: value.clone()
        for name, value in model.state_dict().items()
        if name not in trained(model)
        and 'running_' not in name
        and not name.endswith('num_batches_tracked')
    }
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    gradients = steps(model, 2)

    assert all(
        gradient is not None and gradient.isfinite().all() for gradient in gradients.values()
    )
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    zero = {
        name
        for name, gradient in gradients.items()
        if float(gradient.abs().max()) <= 1e-16 * largest
    }
    expected = {name for name in gradients if any(part in name for part, _ in NO_GRADIENT)}
    assert zero - expected == set(), 'no gradient, without a reason'
    assert expected - zero == set(), 'a gradient, though there is a reason for none'

    after = dict(model.named_parameters())
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still <= expected
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in frozen.items())


def test_step_one_reaches_lora_b_alone():
    """While B is 0, A has no gradient: the reason why two steps are looked at."""
    gradients = steps(build(losses=PAPER_LOSSES), 1)
    for name, gradient in gradients.items():
        if 'lora_A' in name:
            assert not gradient.any(), name
        elif 'lora_B' in name:
            assert gradient.any(), name


# ------------------------------------------------------------------ predictions


def logits(model, which, **options):
    with torch.no_grad():
        return model.eval()(**batch(model, which, **options)).mask_logits


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope='module', params=['sam2', 'sam'])
def model(request):
    return stirred(build(request.param))


def test_a_prediction_does_not_depend_on_its_batch(model):
    every = range(len(SENTENCES))
    together = logits(model, every)
    assert together.dtype == torch.float32
    alone = torch.cat([logits(model, [i]) for i in every])
    assert relative(alone, together) < 1e-5
    order = [3, 0, 5, 2, 4, 1]
    assert relative(logits(model, order), together[order]) < 1e-5
    # a pair without the longest sentence: L differs
    assert relative(logits(model, [4, 0]), together[[4, 0]]) < 1e-5
    exact = copy.deepcopy(model).double()  # what is left in float32 is rounding
    assert relative(logits(exact, [4]), logits(exact, every)[[4]]) < 1e-12
    # the measure would see a difference: other sentences, other images
    assert relative(together[[0]], together[[2]]) > 1e-3
    assert relative(together[[4]], together[[5]]) > 1e-3


def test_padding_matters_where_it_is_not_masked():
    """The control of the test above: without the mask the batch would show."""
    model = stirred(build(prompter=dict(decomposition=dict(mask_words=False))))
    together = logits(model, range(len(SENTENCES)))
    assert relative(logits(model, [4]), together[[4]]) > 1e-4


def test_equal_path_means_equal_image(model):
    """U < B: towers run on the images, once each."""
    shared, separate = batch(model), batch(model, shared=False)
    assert len(shared['inputs'].images_siglip) == len(shared['inputs'].images_sam) == 4
    assert shared['inputs'].image_index.tolist() == [0, 1, 0, 2, 3, 1]
    assert len(separate['inputs'].images_siglip) == len(SENTENCES)
    # either way the losses know which images are one
    assert shared['inputs'].image_ids.tolist() == separate['inputs'].image_ids.tolist()
    assert len(shared['inputs'].image_ids.unique()) == 4
    with torch.no_grad():
        found = model.eval()(**shared).mask_logits
        assert relative(found, model(**separate).mask_logits) < 1e-5


def test_many_sentences_on_one_encoded_image_equal_full_forwards(model):
    data = batch(model, [0])['inputs']
    with torch.no_grad():
        model.eval()
        images = model.encode_images(data.images_siglip, data.images_sam)
        ids, lengths = model.data_preprocessor.tokenize(SENTENCES)
        zeros = torch.zeros(len(SENTENCES), dtype=torch.int64)
        many = model.segment(images, zeros, ids, lengths).mask_logits
        for i, sentence in enumerate(SENTENCES):
            ids, lengths = model.data_preprocessor.tokenize([sentence])
            inputs = data._replace(input_ids=ids, lengths=lengths)
            assert relative(many[[i]], model(inputs).mask_logits) < 1e-5


def test_predict_writes_to_the_samples(model):
    data = batch(model)
    with torch.no_grad():
        outputs = model.eval()(data['inputs'])
        samples = model(**data, mode='predict')
    for i, sample in enumerate(samples):
        expected = model.masks(outputs.mask_logits[[i]], [sample.ori_shape])[0] > 0
        assert sample.pred_mask.dtype == torch.bool and sample.pred_mask.shape == sample.ori_shape
        assert torch.equal(sample.pred_mask, expected)
        assert torch.equal(sample.dense_prompt, outputs.prompts.p_dense[i])


def test_masks_via_sams_input_size():
    """The release's variant: two bilinear steps, which differ from one at fine structures."""
    model = build()
    logits = torch.randn(2, 16, 16)
    shapes = [(48, 48), (30, 80)]
    direct = model.masks(logits, shapes)
    model.upsample_via_sam_input = True
    large = torch.nn.functional.interpolate(logits[:, None], (64, 64), mode='bilinear')
    for i, (found, shape) in enumerate(zip(model.masks(logits, shapes), shapes, strict=True)):
        wanted = torch.nn.functional.interpolate(large[[i]], shape, mode='bilinear')[0, 0]
        assert torch.allclose(found, wanted, atol=1e-6)
        assert (found - direct[i]).abs().max() > 1e-2


def test_no_dense_prompt_and_unknown_choices():
    model = build(prompter=dict(dense=None))
    with torch.no_grad():
        assert model.eval()(**batch(model, [0])).prompts.p_dense is None
        assert 'dense_prompt' not in model(**batch(model, [0]), mode='predict')[0]
    with pytest.raises(ValueError, match="'guess'"):
        model(**batch(model, [0]), mode='guess')
    for mode in ('predict', 'loss'):
        with pytest.raises(ValueError, match='data_samples'):
            model(batch(model, [0])['inputs'], mode=mode)


def test_losses_by_name_and_off():
    model = build(losses=dict(PAPER_LOSSES, dense=None, spatial=None))
    losses = model(**batch(model, training=True), mode='loss')
    assert set(losses) == {'loss_ce', 'loss_dice', 'loss_ortho', 'loss_sample'}
    assert all(value.ndim == 0 and value.dtype == torch.float32 for value in losses.values())
    more = dict(
        PAPER_LOSSES, dense=dict(type='DenseLoss'), spatial=dict(type='SpatialLoss', kind='mil')
    )
    model = build(losses=more)
    assert {'loss_dense', 'loss_spatial'} <= set(model(**batch(model), mode='loss'))


def test_eq9_is_the_weighted_sum():
    """Each term computed alone with weight 1, the weights and the sum by hand."""
    model = build(
        losses=dict(
            seg=dict(
                type='SegmentationLoss',
                ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=2.0),
                dice=dict(type='mmdet.DiceLoss', naive_dice=True, loss_weight=3.0),
            ),
            ortho=dict(type='OrthogonalLoss', loss_weight=0.5),
            sample=dict(type='SampleContrastLoss', loss_weight=0.25),
            dense=dict(type='DenseLoss', loss_weight=1.5),
            spatial=dict(type='SpatialLoss', kind='mil', loss_weight=0.125),
        )
    ).eval()
    data = batch(model)
    with torch.no_grad():
        outputs = model(data['inputs'])
        targets = Targets([s.gt_mask for s in data['data_samples']], data['inputs'].image_ids)
        alone = {}
        for loss in (
            SegmentationLoss(ce=PAPER_LOSSES['seg']['ce'], dice=PAPER_LOSSES['seg']['dice']),
            OrthogonalLoss(),
            SampleContrastLoss(),
            DenseLoss(),
            SpatialLoss(kind='mil'),
        ):
            alone |= {name: float(value) for name, value in loss(outputs, targets).items()}
        losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
    expected = dict(
        loss_ce=2.0 * alone['loss_ce'],
        loss_dice=3.0 * alone['loss_dice'],
        loss_ortho=0.5 * alone['loss_ortho'],
        loss_sample=0.25 * alone['loss_sample'],
        loss_dense=1.5 * alone['loss_dense'],
        loss_spatial=0.125 * alone['loss_spatial'],
    )
    assert min(alone.values()) > 1e-3  # a term of 0 would hide its weight
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected)
    assert float(total) == pytest.approx(sum(expected.values()))


def test_the_dense_prompts_scale_and_bias_start_from_siglips(tmp_path):
    siglip = tiny_towers.write_siglip(tmp_path / 'siglip')
    tiny_towers.edit_weights(
        siglip, add=dict(logit_scale=torch.tensor([4.75]), logit_bias=torch.tensor([-16.5]))
    )
    model = RSRefSeg2(
        siglip=dict(checkpoint=str(siglip)),
        sam=dict(checkpoint=str(tiny_towers.write_sam2(tmp_path / 'sam'))),
        prompter=dict(
            type='rsrefseg2.CascadedPrompter', inner=16, heads=2, mlp_hidden=16, dense=dict()
        ),
    )
    assert model.prompter.dense.logit_scale.item() == 4.75
    assert model.prompter.dense.logit_bias.item() == -16.5
