"""The modules of LAVT, RMSIN and LGCE against their transcriptions, forward and gradient."""

import pytest
import torch

from rsrefseg2.errors import UserError
from rsrefseg2.models.baselines.adaptive_rotated_conv import AdaptiveRotatedConv, rotation_matrices
from rsrefseg2.models.baselines.bert_encoder import Words
from rsrefseg2.models.baselines.language_guided_enhancement import LanguageGuidedEnhancement
from rsrefseg2.models.baselines.pixel_word_attention import LanguageGate, PixelWordAttention
from rsrefseg2.models.baselines.scale_interaction import (
    CrossScaleInteraction,
    IntraScaleInteraction,
)
from rsrefseg2.models.baselines.top_down_decoder import TopDownDecoder
from tests.reference import lavt as ref
from tests.reference.rsrefseg1 import gelu
from tests.test_models.prompter_cases import assert_same

LENGTHS, TEXT, GRID = (5, 2), 6, (3, 4)
WIDTHS = (4, 8, 8, 12)
SIZES = ((8, 12), (4, 6), (4, 6), (4, 6))  # at the coarsest 2 x 2 for BatchNorm


def random(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def stirred(module):
    """In float64, every weight random, so that none can hide; BatchNorm reads the batch."""
    generator = torch.Generator().manual_seed(5)
    for p in module.double().parameters():
        p.data.add_(0.4 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return module.train()


def words():
    features = random(len(LENGTHS), max(LENGTHS), TEXT)
    return Words(features, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None])


def maps():
    return [random(2, width, *size, seed=i) for i, (width, size) in enumerate(zip(WIDTHS, SIZES))]


def compare(module, ours, theirs, **leaves):
    """Lists of outputs agree, and the gradients of every weight and every input."""
    named = [{f'{i}': one for i, one in enumerate(found)} for found in (ours, theirs)]
    assert_same(*named, dict(module.named_parameters()) | leaves)


@pytest.mark.parametrize(('heads', 'activation'), [(1, 'relu'), (2, 'gelu')])
def test_pixel_word_attention(heads, activation):
    module = stirred(
        PixelWordAttention(width=8, text_width=TEXT, heads=heads, activation=activation)
    )
    v, told = random(2, 12, 8), words()
    w = dict(module.named_parameters())
    theirs = [
        ref.pwam(
            v[b],
            told.features[b, :n],
            w,
            heads=heads,
            activation=dict(relu=ref.relu, gelu=gelu)[activation],
        )
        for b, n in enumerate(LENGTHS)
    ]
    compare(module, module(v, told), theirs, v=v, words=told.features)


def test_pixel_word_attention_refuses():
    with pytest.raises(ValueError, match="activation is 'relu' or 'gelu', not 'tanh'"):
        PixelWordAttention(width=8, text_width=TEXT, activation='tanh')
    with pytest.raises(ValueError, match='a width of 8 is no multiple of 3 heads'):
        PixelWordAttention(width=8, text_width=TEXT, heads=3)


def test_language_gate():
    module, f = stirred(LanguageGate(8)), random(2, 12, 8)
    w = dict(module.named_parameters())
    compare(module, module(f), [ref.gate(one, w) for one in f], f=f)
    compare(module, module.passed(f), [ref.gate(one, w) * one for one in f], f=f)


@pytest.mark.parametrize('kernels', [None, 2])
def test_decoder(kernels):
    module, features = stirred(TopDownDecoder(widths=WIDTHS, rotated_kernels=kernels)), maps()
    w = dict(module.named_parameters())
    second = None
    if kernels is not None:
        second = lambda x, name: ref.adaptive_rotated_conv(x, ref.sub(w, name))  # noqa: E731
    theirs = ref.decoder(features, w, second=second)
    compare(module, [module(features)], [theirs], **{f'f{i}': f for i, f in enumerate(features)})


def test_intra_scale_interaction():
    module, v = stirred(IntraScaleInteraction(8)), random(2, 12, 8)
    theirs = ref.intra_scale(v, dict(module.named_parameters()), GRID)
    compare(module, [module(v, GRID)], [theirs], v=v)


def test_cross_scale_interaction():
    module, features = stirred(CrossScaleInteraction(widths=WIDTHS, heads=2, key_width=3)), maps()
    theirs = ref.cross_scale(features, dict(module.named_parameters()), heads=2, key_width=3)
    compare(module, module(features), theirs, **{f'f{i}': f for i, f in enumerate(features)})


def test_adaptive_rotated_convolution():
    module, x = stirred(AdaptiveRotatedConv(3, kernels=2)), random(2, 3, 4, 5)
    theirs = ref.adaptive_rotated_conv(x, dict(module.named_parameters()))
    compare(module, [module(x)], [theirs], x=x)


def test_a_kernel_turned_by_nothing_is_itself_and_by_a_right_angle_is_rot90():
    kernel = random(1, 1, 3, 3).detach()
    for theta, expected in ((0.0, kernel), (torch.pi / 2, kernel.rot90(1, (2, 3)))):
        turn = rotation_matrices(torch.tensor(theta, dtype=torch.float64))
        found = (turn @ kernel.reshape(9)).reshape(1, 1, 3, 3)
        torch.testing.assert_close(found, expected)
    # a share of 1 in all at every angle: a constant kernel stays constant
    turn = rotation_matrices(torch.linspace(-0.7, 0.7, 9, dtype=torch.float64))
    torch.testing.assert_close(turn.sum(-1), torch.ones(9, 9, dtype=torch.float64))


def test_language_guided_enhancement():
    module = stirred(LanguageGuidedEnhancement(widths=WIDTHS, text_width=TEXT, inner=8, heads=2))
    features, told = maps(), words()
    sentences = [told.features[b, :n] for b, n in enumerate(LENGTHS)]
    theirs = ref.enhancement(features, sentences, dict(module.named_parameters()), heads=2)
    compare(
        module,
        module(features, told),
        theirs,
        words=told.features,
        **{f'f{i}': f for i, f in enumerate(features)},
    )
    with pytest.raises(UserError, match='inner=8 is not a multiple of heads=3'):
        LanguageGuidedEnhancement(widths=WIDTHS, text_width=TEXT, inner=8, heads=3)
