"""Eq. 7's cosine from low-resolution inner products against the literal, upsampled form: also
where neighbours cancel, so that the norm of an upsampled pixel is (nearly) zero."""

import math

import pytest
import torch

from rsrefseg2.models.prompter.dense_prompt import DensePrompt, upsampled_cosine
from tests.reference import dense as ref

CHANNELS, OUT = 6, (256, 256)
# float64: what cancellation leaves of 16 digits; 'checkerboard' cancels in both directions at once
TOLERANCE = {
    'random': 1e-12,
    'zero patch': 1e-12,
    'all zero': 1e-12,
    'opposite': 1e-10,
    'checkerboard': 1e-6,
    'nearly opposite 1e-3': 1e-10,
    'nearly opposite 1e-6': 1e-10,
}
TOLERANCE_FLOAT32 = 1e-6


def features(kind, n, dtype):
    """(1, C, n, n) of a kind in TOLERANCE, and a sentence (1, C)."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    noise, one, text = random(1, CHANNELS, n, n), random(1, CHANNELS, 1, 1), random(1, CHANNELS)
    column = torch.arange(n).expand(n, n)
    sign = 1.0 - 2.0 * (column % 2)
    if kind == 'random':
        f = noise
    elif kind == 'zero patch':
        f = noise.clone()
        f[:, :, 2:5, 3:9] = 0
    elif kind == 'all zero':
        f = torch.zeros_like(noise)
    elif kind == 'checkerboard':
        f = one * (sign * sign.T)
    else:  # columns of opposite signs
        f = one * sign + float(kind.split()[-1]) * noise if 'nearly' in kind else one * sign
    return f.to(dtype), text.to(dtype)


def errors(f, text, size, align_corners):
    """Largest difference to the literal form in float64: of the map, and of both gradients
    relative to the largest entry."""
    leaves = [x.clone().requires_grad_() for x in (f, text)]
    literal_leaves = [x.double().requires_grad_() for x in (f, text)]
    found = upsampled_cosine(*leaves, size, align_corners=align_corners)
    expected = ref.cosine_map(*literal_leaves, size, align_corners)[:, 0]
    weights = torch.randn(
        expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    result = [(found - expected).detach().abs().max()]
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), literal_leaves),
        strict=True,
    ):
        assert torch.isfinite(a).all()
        result.append((a - b).abs().max() / b.abs().max().clamp(min=1))
    assert found.abs().max() <= 1
    return [float(x) for x in result]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('n', [32, 27])
@pytest.mark.parametrize('kind', TOLERANCE)
def test_equals_the_literal_form(kind, n, align_corners):
    found = errors(*features(kind, n, torch.float64), OUT, align_corners)
    assert max(found) < TOLERANCE[kind], found


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('kind', TOLERANCE)
def test_float32_features(kind, align_corners):
    """Float32 in, float32 out; the literal form is taken in float64 of the same numbers."""
    f, text = features(kind, 27, torch.float32)
    assert upsampled_cosine(f, text, OUT, align_corners=align_corners).dtype == torch.float32
    found = errors(f, text, OUT, align_corners)
    assert max(found) < TOLERANCE_FLOAT32, found


@pytest.mark.parametrize(
    'delta, tolerance', [(0.0, 1e-12), (1e-2, 1e-10), (1e-4, 1e-6), (1e-6, 1e-2), (1e-9, None)]
)
def test_exactly_halfway_between_opposite_neighbours(delta, tolerance):
    """2 -> 3 with align_corners reads the midpoint: the norm there is delta itself.

    Its square has an error of about 1e-16 / delta^2; below 1e-8 only finite numbers within
    [-1, 1] can be asked for, which `errors` does. Float32 features differ by more than that.
    """
    one, noise = features('random', 2, torch.float64)[0].chunk(2, dim=3)
    f = torch.cat([one, -one + delta * noise], dim=3)
    text = features('random', 2, torch.float64)[1]
    found = errors(f, text, (3, 3), True)
    assert tolerance is None or found[0] < tolerance, found


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    'size, out',
    [
        ((1, 1), (4, 4)),
        ((1, 5), (3, 20)),
        ((3, 4), (3, 4)),
        ((5, 3), (7, 16)),
        ((8, 8), (4, 4)),
        ((2, 3), (1, 1)),
    ],
)
def test_odd_sizes(size, out, align_corners):
    """One row, the same size, no whole factor, and shrinking."""
    f = torch.randn(
        2, CHANNELS, *size, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    text = f.mean((2, 3)).flip(0)
    found = errors(f, text, out, align_corners)
    assert max(found) < 1e-10, found


def test_outside_autocast():
    """Under bf16 autocast the inner products stay in float64: only the features are rounded."""
    f, text = features('nearly opposite 1e-3', 27, torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        found = upsampled_cosine(f, text, OUT)
    expected = ref.cosine_map(f.double(), text.double(), OUT, False)[:, 0]
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < TOLERANCE_FLOAT32


def test_scale_and_bias_are_learnable_and_exponentiated():
    dense = DensePrompt(d1=4, size=(8, 8), logit_scale=2.0, logit_bias=-3.0).eval()
    v, text = torch.randn(2, 4, 4), torch.randn(2, 4)
    logits = dense(v, text, (2, 2))
    assert logits.shape == (2, 8, 8)
    logits.sum().backward()
    assert dense.logit_scale.grad is not None and dense.logit_bias.grad == 2 * 8 * 8
    assert (logits.detach() + 3).abs().max() <= math.exp(2.0) + 1e-4


def test_the_scale_of_a_bf16_model_is_exponentiated_in_float32():
    """Rounded to BF16, exp(2.34375) = 10.42 would be 10.44."""
    torch.manual_seed(0)
    dense = DensePrompt(d1=4, size=(8, 8), logit_scale=2.34375, logit_bias=-3.0)
    dense = dense.eval().bfloat16()
    v, text = torch.randn(2, 4, 4).bfloat16(), torch.randn(2, 4).bfloat16()
    with torch.no_grad():
        logits = dense(v, text, (2, 2))
        grid = dense.conv(v.transpose(1, 2).unflatten(2, (2, 2)))
        cosine = ref.cosine_map(grid.double(), text.double(), (8, 8), False)[:, 0]
    assert logits.dtype == torch.float32
    assert (logits - (math.exp(2.34375) * cosine - 3)).abs().max() < 1e-5
