"""What predicts alone: towers in BF16 or int8, near float32, and never trained so."""

from types import SimpleNamespace

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from rsrefseg2.engine.loops import encoding_once
from rsrefseg2.engine.trained_as import function_of
from rsrefseg2.errors import UserError
from rsrefseg2.models.towers import prediction_weights
from rsrefseg2.models.towers.lean_sam import TokenNeck
from rsrefseg2.models.towers.plain_forms import plain_forms

from .test_memory import whole
from .tiny_model import batch, build, stirred

QUANTISED = torch.ao.nn.quantized.dynamic.Linear


def outputs(model):
    with torch.no_grad():
        return model(batch(model)['inputs'])


def difference(one, other):
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
@pytest.mark.parametrize(('dtype', 'rounding'), [('bfloat16', 2**-8), ('int8', 2**-7)])
def test_the_towers_agree_within_a_few_roundings(kind, dtype, rounding):
    """A BF16 number has 8 bits, an 8-bit one 7 and a sign; a tower rounds some ten times."""
    plain, model = whole(kind).eval(), whole(kind, prediction_dtype=dtype).eval()
    assert model.for_prediction() is model and model.for_prediction() is model  # once and for all
    wanted, found = outputs(plain), outputs(model)
    for name, one, other in (
        ('v', found.images.v, wanted.images.v),
        ('embeddings', found.images.image_embeddings, wanted.images.image_embeddings),
        ('t_word', found.text.t_word, wanted.text.t_word),
        ('t_sent', found.text.t_sent, wanted.text.t_sent),
        *zip('ab', found.images.high_resolution_features, wanted.images.high_resolution_features),
    ):
        assert one.dtype == torch.float32, name
        assert 0 < difference(one, other) < 10 * rounding, name


def test_what_is_converted():
    half, small = (
        whole(prediction_dtype=dtype).eval().for_prediction() for dtype in ('bfloat16', 'int8')
    )
    for model in (half, small):
        for tower in model.towers():
            assert not any(isinstance(layer, BaseTunerLayer) for layer in tower.modules())
        for part in (model.prompter, model.mask_generator.sam.mask_decoder):
            assert {p.dtype for p in part.parameters()} == {torch.float32}
    for tower in half.towers():
        assert {p.dtype for p in tower.parameters()} == {torch.bfloat16}
    for tower in small.towers():
        linear = [one for one in tower.modules() if isinstance(one, (nn.Linear, QUANTISED))]
        assert len(linear) > 3 and all(isinstance(one, QUANTISED) for one in linear)


def test_bf16_towers_run_under_autocast_too():
    model = whole(prediction_dtype='bfloat16', autocast='bfloat16').eval().for_prediction()
    assert difference(outputs(model).images.v, outputs(whole().eval()).images.v) < 0.1


def test_what_does_not_go_together_is_one_line():
    with pytest.raises(UserError, match='float32 activations: set model.autocast=None'):
        whole(prediction_dtype='int8', autocast='bfloat16')
    with pytest.raises(UserError, match="set model.frozen_dtype='float32'"):
        whole(prediction_dtype='bfloat16', autocast='bfloat16', frozen_dtype='bfloat16')


def test_training_and_a_wrong_type_are_one_line():
    model = whole(prediction_dtype='int8')
    with pytest.raises(UserError, match="prediction_dtype='int8' is for tests and predictions"):
        model.train()
    assert not model.eval().training
    with pytest.raises(ValueError, match="'bfloat16' or 'int8', not 'int4'"):
        whole(prediction_dtype='int4')


def test_int8_off_the_cpu_and_without_torchs_quantisation_is_one_line(monkeypatch):
    with torch.device('meta'):
        tower = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(UserError, match="runs on CPUs alone, not on meta: take 'bfloat16'"):
        prediction_weights.convert_for_prediction([tower], 'int8')
    monkeypatch.delattr('torch.ao.quantization.quantize_dynamic')
    with pytest.raises(UserError, match='needs torch.ao.quantization, which torch .* lacks'):
        prediction_weights.convert_for_prediction([nn.Sequential(nn.Linear(2, 2))], 'int8')


def test_weights_compute_the_same_whatever_the_type():
    """A checkpoint may be tested in each."""
    plain = dict(type='rsrefseg2.RSRefSeg2', siglip={}, sam={}, prompter={})
    assert function_of(plain) == function_of({**plain, 'prediction_dtype': 'int8'})


def test_the_neck_on_tokens_is_the_neck():
    """In float64, with the addition across levels, which is made in float32."""
    model = stirred(build()).double().eval()
    neck = model.mask_generator.sam.vision_encoder.neck
    assert isinstance(neck, TokenNeck)
    widths = [conv.in_channels for conv in reversed(neck.convs)]
    states = [torch.randn(2, side, side, d).double() for side, d in zip((16, 8, 4, 2), widths)]
    with torch.no_grad():
        found, _ = neck(tuple(states))
        with plain_forms():
            written, _ = neck(tuple(states))
    for one, other in zip(found, written, strict=True):
        assert one.shape == other.shape and difference(one, other) < 1e-7


def test_an_adapted_neck_is_transformers_own():
    """LoRA's layers are called as layers."""
    model = stirred(build(sam=dict(lora=dict(r=2, extra_layers='neck')))).eval()
    with plain_forms():
        written = outputs(model)
    assert difference(outputs(model).mask_logits, written.mask_logits) < 1e-4


def test_a_test_converts_what_it_tests():
    model = whole(prediction_dtype='bfloat16').eval()
    with encoding_once(SimpleNamespace(model=model)):
        assert {p.dtype for p in model.towers()[0].parameters()} == {torch.bfloat16}
