"""The forms that cost less compute what is written, and a test encodes nothing twice."""

import pytest
import torch
from torch import nn

from rsrefseg2.models.losses.segmentation import upsample
from rsrefseg2.models.prompter.layers import Attention
from rsrefseg2.models.towers.lora import inject_lora
from rsrefseg2.models.towers.plain_forms import is_plain, plain_forms

from .tiny_model import PAPER_LOSSES, batch, build, stirred


def close(one, other, tolerance=1e-10, least=1e-3):
    """Up to `tolerance` of the largest number, or of `least`: some gradients are 0 but for rounding."""
    one, other = one.detach(), other.detach()
    scale = max(float(other.abs().max()), least)
    return float((one - other).abs().max()) <= tolerance * scale


def in_both_forms(compute):
    """`compute()` as it is written, and as it runs."""
    with plain_forms():
        written = compute()
    return written, compute()


@pytest.mark.parametrize(('n', 'm'), [(20, 3), (3, 20)], ids=['few keys', 'few queries'])
@pytest.mark.parametrize('masked', [False, True])
def test_attention_with_few_tokens_on_one_side(n, m, masked, monkeypatch):
    """softmax(Q K^T) V and all its gradients, in float64; and the projections of the many are not made."""
    torch.manual_seed(0)
    attention = Attention(d=10, d_context=6, inner=24, heads=2).double()
    query, key, value = (torch.randn(4, *size).double() for size in ((n, 10), (m, 6), (m, 6)))
    mask = torch.arange(m) < torch.tensor([m, 1, m - 1, 2])[:, None] if masked else None
    leaves = [query, key, value, *attention.parameters()]
    for leaf in leaves:
        leaf.requires_grad_()
    weight = torch.randn(4, n, 10).double()

    def compute():
        out = attention(query, key, value, mask)
        return [out, *torch.autograd.grad((out * weight).sum(), leaves, allow_unused=True)]

    for written, found in zip(*in_both_forms(compute), strict=True):
        assert close(found, written)
    many = attention.q_proj if n > m else attention.k_proj
    monkeypatch.setattr(many, 'forward', None)
    attention(query, key, value, mask)


def adapted(d_in, d_out, r, **options):
    tower = nn.ModuleDict({'layers': nn.ModuleList([nn.ModuleDict({'attn': nn.ModuleDict()})])})
    tower.layers[0].attn['qkv'] = nn.Linear(d_in, d_out)
    tower.layers[0].attn['proj'] = nn.Linear(d_in, d_out)
    inject_lora(tower, family='sam', r=r, **options)
    layer = tower.layers[0].attn['qkv'].double()
    nn.init.normal_(layer.lora_B['default'].weight)
    return layer


def calls_of(module):
    seen = []
    module.register_forward_hook(lambda *args: seen.append(args[1][0].shape))
    return seen


@pytest.mark.parametrize('alpha', [4, 6])
def test_the_adapter_in_one_product(alpha):
    layer = adapted(8, 24, 4, alpha=alpha)
    x = torch.randn(3, 50, 8).double().requires_grad_()
    leaves = [x, layer.lora_A['default'].weight, layer.lora_B['default'].weight]

    def compute():
        out = layer(x)
        return [out, *torch.autograd.grad(out.square().sum(), leaves)]

    for written, found in zip(*in_both_forms(compute), strict=True):
        assert close(found, written)
    seen = calls_of(layer.base_layer)
    layer(x)
    assert not seen  # W x is not made


@pytest.mark.parametrize(
    ('why', 'size', 'options', 'tokens', 'training'),
    [
        ('a rank far below the width', (64, 64, 2), {}, 500, True),
        ('dropout between A and x', (8, 24, 4), dict(dropout=0.5), 500, True),
        ('fewer tokens than the merge costs', (64, 64, 2), {}, 8, False),
    ],
)
def test_where_the_adapter_stays_apart(why, size, options, tokens, training):
    layer = adapted(*size, **options).train(training)
    seen = calls_of(layer.base_layer)
    with torch.set_grad_enabled(training):
        layer(torch.randn(tokens, size[0]).double())
        assert len(seen) == 1
        if not training:
            layer(torch.randn(500, size[0]).double())
            assert len(seen) == 1


def test_the_adapter_stays_apart_in_half_precision():
    """Its update is smaller than the rounding of W to BF16."""
    layer = adapted(8, 24, 4).float()
    seen = calls_of(layer.base_layer)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        layer(torch.randn(50, 8))
    assert len(seen) == 1


def test_the_gradient_of_the_upsampling():
    logits = torch.randn(3, 5, 7).double().requires_grad_()
    weight = torch.randn(3, 13, 28).double()

    def compute():
        out = upsample(logits, (13, 28))
        return [out, *torch.autograd.grad((out * weight).sum(), [logits])]

    for written, found in zip(*in_both_forms(compute), strict=True):
        assert close(found, written)


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_the_whole_model_in_both_forms(kind):
    """Losses and every gradient of a training step in float64: mmdet's terms, PEFT's layers and
    transformers' decoder on one side."""
    model = stirred(build(kind, losses=PAPER_LOSSES)).double().train()

    def compute():
        model.zero_grad()
        losses = model(**batch(model, training=True), mode='loss')
        sum(losses.values()).backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        return {**losses, **grads}

    written, found = in_both_forms(compute)
    assert not is_plain() and written.keys() == found.keys() and len(found) > 50
    for name, value in written.items():
        # the neck adds in float32
        assert close(found[name], value, tolerance=1e-4, least=1e-7), name


# ---- a test encodes nothing twice ---------------------------------------------------------------


def test_sentences_and_images_are_encoded_once():
    model = stirred(build()).eval()
    first, second = batch(model, [0, 2, 3]), batch(model, [3, 4, 0, 0])  # images 0, 2 and 3, 0
    with torch.no_grad():
        wanted = [model(data['inputs']) for data in (first, second)]
    texts, images = (
        calls_of_tower(model.encoder.text_model),
        calls_of_tower(model.encoder.vision_model),
    )
    with model.remembering():
        found = [model(data['inputs']) for data in (first, second)]
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one.mask_logits, other.mask_logits, rtol=1e-4, atol=1e-5)
        assert one.text.t_word.shape == other.text.t_word.shape
        assert torch.equal(one.text.word_mask, other.text.word_mask)
    assert texts == [3, 1]  # of the second batch sentence 4 alone
    assert sum(images) == len(first['inputs'].images_siglip) + new_images(first, second)
    model(first['inputs'])
    assert texts[-1] == 3  # outside nothing is kept


def calls_of_tower(tower):
    """The rows of each of its passes."""
    seen = []
    tower.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(len(next(iter(kwargs.values())))),
        with_kwargs=True,
    )
    return seen


def new_images(first, second):
    known = {int(i) for i in first['inputs'].image_ids}
    return len({int(i) for i in second['inputs'].image_ids} - known)


def test_an_image_is_known_by_its_pixels():
    """Another one under the same id is encoded."""
    model = stirred(build()).eval()
    inputs = batch(model, [0])['inputs']
    other = inputs._replace(images_sam=inputs.images_sam.flip(-1))
    with model.remembering():
        model(inputs)
        found = model(other)
    with torch.no_grad():
        assert torch.equal(found.images.image_embeddings, model(other).images.image_embeddings)
