"""Compiled blocks compute what eager ones do, with the same names."""

import pytest
import torch
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters
from transformers.modeling_layers import GradientCheckpointingLayer

from rsrefseg2.errors import UserError
from rsrefseg2.models.towers.compiling import compile_towers

from .tiny_model import PAPER_LOSSES, batch, build, stirred


def blocks(model):
    encoder, sam = model.encoder, model.mask_generator.sam
    towers = encoder.vision_model, encoder.text_model, sam.vision_encoder
    return [
        module
        for tower in towers
        for module in tower.modules()
        if isinstance(module, GradientCheckpointingLayer)
    ]


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
@pytest.mark.parametrize('training', [False, True])
def test_compiled_blocks_give_the_same_numbers(kind, training):
    """With the backend that runs what was traced, operator by operator; in training gradients, too."""
    plain, compiled = (stirred(build(kind, losses=PAPER_LOSSES)) for _ in range(2))
    compile_towers(compiled, 'eager')
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert all(block._compiled_call_impl is not None for block in blocks(compiled))
    assert len(blocks(compiled)) >= 3
    found = []
    for model in (plain, compiled):
        model.train(training)
        data = batch(model, training=training)
        if training:
            losses = model(**data, mode='loss')
            sum(losses.values()).backward()
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            found.append([*losses.values(), *grads])
        else:
            with torch.no_grad():
                found.append([model(data['inputs']).mask_logits])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@dynamo.patch(recompile_limit=1)
def test_no_form_of_a_block_is_left_out():
    """However few forms torch compiles by itself: here 1, where prediction and training have many."""
    torch._dynamo.reset()
    model = build(losses=PAPER_LOSSES)
    compile_towers(model, 'eager')
    counters.clear()
    with torch.no_grad():
        model.eval()(batch(model)['inputs'])
    model.train()(**batch(model, training=True), mode='loss')
    assert 1 < counters['frames']['ok'] == counters['frames']['total']


def test_an_unknown_backend_is_one_line():
    with pytest.raises(UserError, match="compile_blocks is one of .*inductor.*, not 'fast'"):
        compile_towers(build(), 'fast')


@pytest.mark.slow
def test_inductor_agrees_within_rounding():
    plain, compiled = (stirred(build()).eval() for _ in range(2))
    compile_towers(compiled, 'inductor')
    with torch.no_grad():
        one, other = (model(batch(model)['inputs']).mask_logits for model in (plain, compiled))
    assert (one - other).abs().max() < 1e-4 * one.abs().max()
