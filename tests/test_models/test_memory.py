"""Less memory: the same gradients, the same features, the same names."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rsrefseg2.errors import UserError
from rsrefseg2.registry import MODELS
from tests import tiny_towers
from tests.test_models.tiny_model import PAPER_LOSSES, batch, build, stirred

LORA = dict(r=2, dropout=0.3)
RECOMPUTE = dict(siglip=dict(vision_recompute=True, text_recompute=True), sam=dict(recompute=True))


def whole(kind='sam2', *, lora=LORA, **top):
    """The tiny model with keys of the model itself."""
    sam = dict(sam2=tiny_towers.sam2_config, sam=tiny_towers.sam_config)[kind]()
    torch.manual_seed(0)
    return stirred(
        MODELS.build(
            dict(
                type='rsrefseg2.RSRefSeg2',
                init='random',
                losses=PAPER_LOSSES,
                siglip=dict(
                    checkpoint=tiny_towers.siglip_config(), vision_lora=lora, text_lora=lora
                ),
                sam=dict(checkpoint=sam, lora=lora),
                _scope_='rsrefseg2',
                prompter=dict(
                    type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16, dense=dict()
                ),
                **top,
            )
        )
    )


def gradients(model):
    """After one backward pass with dropout, and the bytes that were kept for it."""
    torch.manual_seed(5)
    data, kept = batch(model, training=True), {}

    def keep(x):
        kept[x.untyped_storage()._cdata] = x.untyped_storage()
        return x.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        losses = model.train()(**data, mode='loss')
    sum(losses.values()).backward()
    return (
        {name: p.grad for name, p in model.named_parameters() if p.requires_grad},
        sum(storage.nbytes() for storage in kept.values()),
    )


@pytest.mark.parametrize(
    ('kind', 'changes'),
    [('sam2', RECOMPUTE), ('sam', RECOMPUTE), ('sam2', dict(sam=dict(recompute=[1, 2])))],
)
@pytest.mark.parametrize('autocast', [None, 'bfloat16'])
def test_recomputed_layers_have_the_same_gradients(kind, changes, autocast):
    """Bit for bit, dropout included; less is kept; the names are the same."""
    plain, spared = (
        stirred(build(kind, lora=LORA, losses=PAPER_LOSSES, **options)) for options in ({}, changes)
    )
    assert list(plain.state_dict()) == list(spared.state_dict())
    for model in (plain, spared):
        model.autocast = autocast
    (expected, before), (found, after) = gradients(plain), gradients(spared)
    assert after < before
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any(value.any() for name, value in expected.items() if 'lora_A' in name)


def calls_of(layers, model, data):
    """How often each layer is computed in a forward and, in training, a backward pass."""
    counts = [0] * len(layers)

    def count(k):
        def hook(*_):
            counts[k] += 1

        return hook

    handles = [layer.attn.register_forward_hook(count(k)) for k, layer in enumerate(layers)]
    if model.training:
        sum(model(**data, mode='loss').values()).backward()
    else:  # with gradients on: it is the mode that counts
        model(**data)
    for handle in handles:
        handle.remove()
    return counts


def test_stages_are_hieras_and_eval_computes_nothing_twice():
    """Tiny Hiera has stages of 1, 1, 2 and 1 blocks."""
    model = build(losses=PAPER_LOSSES, sam=dict(recompute=[2, 3]))
    blocks = list(model.mask_generator.sam.vision_encoder.backbone.blocks)
    assert calls_of(blocks, model.train(), batch(model, training=True)) == [1, 2, 2, 2, 1]
    assert calls_of(blocks, model.eval(), batch(model)) == [1] * 5


@pytest.mark.parametrize(
    ('kind', 'recompute', 'says'),
    [
        ('sam2', [0], r'stages from 1 to 4, not \[0\]'),
        ('sam2', [5], 'from 1 to 4'),
        ('sam2', 1, 'from 1 to 4, not 1'),
        ('sam', [1], 'has no stages: set recompute=True'),
    ],
)
def test_stages_that_are_not_there(kind, recompute, says):
    with pytest.raises(ValueError, match=says):
        build(kind, sam=dict(recompute=recompute))


# ---------------------------------------------------------------- BF16


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_autocast_rounds_products_and_nothing_that_is_kept(kind):
    plain, half = whole(kind), whole(kind, autocast='bfloat16')
    outputs = []
    for model in (plain, half):
        with torch.no_grad():
            outputs.append(model.eval()(**batch(model)))
    a, b = outputs
    assert b.mask_logits.dtype == torch.bfloat16 and a.mask_logits.dtype == torch.float32
    assert b.prompts.p_dense.dtype == torch.float32  # its cosine leaves autocast
    difference = (a.images.v - b.images.v).norm() / a.images.v.norm()
    assert 1e-4 < float(difference) < 2e-2  # BF16 has 8 bits
    found, _ = gradients(half)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(value.isfinite().all() for value in found.values())
    losses = half(**batch(half, training=True), mode='loss')
    assert {value.dtype for value in losses.values()} == {torch.float32}
    norm = half.prompter.dense.conv[1]
    assert norm.running_var.dtype == torch.float32 and norm.num_batches_tracked > 0
    assert not torch.equal(norm.running_var, norm.running_var.bfloat16().float())


def test_prediction_in_parts_has_the_precision_of_the_whole():
    """As Predictor asks: images once, then sentences."""
    model = whole(autocast='bfloat16', frozen_dtype='bfloat16').eval()
    inputs = batch(model)['inputs']
    with torch.no_grad():
        images = model.encode_images(inputs.images_siglip, inputs.images_sam)
        parts = model.segment(images, inputs.image_index, inputs.input_ids, inputs.lengths)
        assert torch.equal(parts.mask_logits, model(inputs).mask_logits)


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_frozen_weights_in_bf16_leave_the_image_features_to_the_bit(kind):
    kept, stored = (
        whole(kind, autocast='bfloat16'),
        whole(kind, autocast='bfloat16', frozen_dtype='bfloat16'),
    )
    outputs = []
    for model in (kept, stored):
        with torch.no_grad():
            outputs.append(model.eval()(**batch(model)))
    a, b = outputs
    assert torch.equal(a.images.v, b.images.v)
    assert torch.equal(a.images.image_embeddings, b.images.image_embeddings)
    difference = (a.text.t_word - b.text.t_word).norm() / a.text.t_word.norm()
    assert 0 < float(difference) < 2e-2  # the table of tokens


def test_what_is_stored_in_bf16():
    """The towers' frozen products with their biases and the table of tokens; not LoRA, norms,
    positions, prompts."""
    model = whole(autocast='bfloat16', frozen_dtype='bfloat16')
    table = model.encoder.text_model.embeddings.token_embedding
    towers = (
        model.encoder.vision_model,
        model.encoder.text_model,
        model.mask_generator.sam.vision_encoder,
    )
    products = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    expected = {
        id(value)
        for tower in towers
        for module in tower.modules()
        if isinstance(module, products) or module is table
        for value in module.parameters(recurse=False)
        if not value.requires_grad
    }
    assert len(expected) > 80
    assert {id(p) for p in model.parameters() if p.dtype == torch.bfloat16} == expected
    assert {b.dtype for b in model.buffers() if b.is_floating_point()} == {torch.float32}
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


class Casts(TorchDispatchMode):
    """The names of a model's parameters that are copied to another type, each time."""

    def __init__(self, model):
        super().__init__()
        self.owner = {p.untyped_storage()._cdata: name for name, p in model.named_parameters()}
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            name = self.owner.get(args[0].untyped_storage()._cdata)
            self.names += [] if name is None else [name]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_no_frozen_weight_is_cast_in_a_step(kind):
    """Of a forward pass under autocast: with the lever only what is trained is cast, each weight
    once; without it every frozen product and bias of the towers, too."""
    cast, frozen = {}, {}
    for dtype in ('float32', 'bfloat16'):
        model = whole(kind, autocast='bfloat16', frozen_dtype=dtype).train()
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        data = batch(model, training=True)
        with Casts(model) as casts:
            model(**data, mode='loss')
        in_towers = [n for n in casts.names if n.startswith('encoder.') or 'vision_encoder' in n]
        frozen[dtype] = [name for name in in_towers if name not in trained]
        cast[dtype] = [name for name in in_towers if name in trained]
        assert len(cast[dtype]) == len(set(cast[dtype])) > 20
    assert frozen['bfloat16'] == []
    assert len(frozen['float32']) >= 60 and set(cast['float32']) == set(cast['bfloat16'])


def test_towers_that_are_trained_whole_stay_in_float32():
    sam = dict(checkpoint=tiny_towers.sam2_config(), trainable=True)
    siglip = dict(checkpoint=tiny_towers.siglip_config(), trainable=True)
    model = MODELS.build(
        dict(
            type='rsrefseg2.RSRefSeg2',
            _scope_='rsrefseg2',
            init='random',
            siglip=siglip,
            sam=sam,
            prompter=dict(type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16),
            autocast='bfloat16',
            frozen_dtype='bfloat16',
        )
    )
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_frozen_weights_in_bf16_need_autocast():
    with pytest.raises(UserError, match="set model.autocast='bfloat16', too"):
        whole(frozen_dtype='bfloat16')
    with pytest.raises(ValueError, match="not 'float16' and 'float32'"):
        whole(autocast='float16')


# ---------------------------------------------------------------- accumulation


def accumulated(parts, *, losses, norm_in_eval):
    """Mean gradient over the parts of one batch."""
    model = stirred(build(lora=dict(r=2), losses=losses)).double().train()
    if norm_in_eval:
        model.prompter.dense.conv[1].eval()
    for part in parts:
        terms = model(**batch(model, part, training=True), mode='loss')
        (sum(terms.values()) / len(parts)).backward()
    return nn.utils.parameters_to_vector(p.grad for p in model.parameters() if p.grad is not None)


ALONE = {name: PAPER_LOSSES[name] for name in ('seg', 'ortho')}


@pytest.mark.parametrize(
    ('losses', 'norm_in_eval', 'equal'),
    [(ALONE, True, True), (ALONE, False, False), (PAPER_LOSSES, True, False)],
)
def test_accumulation_is_a_larger_batch_where_no_term_sees_the_batch(losses, norm_in_eval, equal):
    """Two batches of three sentences, or one of six; BatchNorm, and the sample contrast, differ."""
    halves = ((0, 2, 3), (1, 4, 5))  # an image's sentences together: Hiera rounds to float32
    options = dict(losses=losses, norm_in_eval=norm_in_eval)
    one, two = accumulated([range(6)], **options), accumulated(halves, **options)
    difference = float((one - two).norm() / one.norm())
    assert difference < 1e-6 if equal else difference > 1e-3, difference
