"""RSRefSeg's single stage against its transcription, and as a config that trains."""

import pytest
import torch

from rsrefseg2.errors import UserError
from rsrefseg2.models.prompter import AttnPrompter
from tests.reference import rsrefseg1 as ref
from tests.test_models import tiny_model
from tests.test_models.prompter_cases import D2, GRID, LENGTHS, PROMPT, TOWERS, assert_same, inputs


def tiny(**options):
    """In float64 and in training, where BatchNorm reads the batch."""
    torch.manual_seed(3)
    positions = torch.randn(GRID[0] * GRID[1], D2, dtype=torch.float64)
    prompter = AttnPrompter(towers=TOWERS._replace(sam_positions=positions), dense={}, **options)
    for p in prompter.double().parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    return prompter


def transcribed(prompter, v, text, down):
    w = dict(prompter.named_parameters())
    found = [
        ref.activations(
            v[b],
            text.t_word[b, :n],
            text.t_sent[b],
            scale=TOWERS.logit_scale,
            bias=TOWERS.logit_bias,
        )
        for b, n in enumerate(LENGTHS)
    ]
    channels, g = (torch.stack(one) for one in zip(*found, strict=True))
    p_sparse = ref.convolutions(channels, w, grid=GRID, positions=prompter.positions, down=down)
    p_dense = torch.stack([ref.upsampled(one, GRID, PROMPT) for one in g])
    return dict(p_sparse=p_sparse, p_dense=p_dense, v2_act=channels[..., : v.shape[-1]])


@pytest.mark.parametrize('down', [0, 1, 2])
def test_the_prompts_are_those_of_the_equations(down):
    prompter = tiny(down_spatial=down)
    v, text = inputs()
    found = prompter(v, text)
    leaves = dict(prompter.named_parameters()) | dict(v=v, t_word=text.t_word, t_sent=text.t_sent)
    ours = dict(p_sparse=found.p_sparse, p_dense=found.p_dense, v2_act=found.v2_act)
    # p_dense is at least float32, and stays float64 here
    assert_same(ours, transcribed(prompter, v, text, down), leaves)
    assert found.t1 is found.t2 is found.t1_act is found.v1_act is None


def test_the_positions_are_those_of_sam():
    model = build()
    sam = model.mask_generator.sam
    size = sam.prompt_encoder.image_embedding_size
    whole = sam.get_image_wide_positional_embeddings()[0]  # (d2, h, w)
    torch.testing.assert_close(model.mask_generator.positions_of(size), whole.flatten(1).T)
    torch.testing.assert_close(
        model.prompter.positions, model.mask_generator.positions_of(model.encoder.grid_size)
    )


def build(**options):
    from mmengine.registry import DefaultScope

    from rsrefseg2.registry import MODELS
    from tests import tiny_towers

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(
            dict(
                type='RSRefSeg2',
                init='random',
                losses=dict(seg=dict(tiny_model.PAPER_LOSSES['seg'], dice=None)),
                siglip=dict(checkpoint=tiny_towers.siglip_config(), text_lora=dict(r=2)),
                sam=dict(checkpoint=tiny_towers.sam_config(), train_prompt_encoder=True),
                prompter=dict(type='AttnPrompter', down_spatial=1, **options),
            )
        )


@pytest.mark.parametrize('options', [{}, dict(dense={})])
def test_a_sentence_is_answered_as_it_is_alone(options):
    model = tiny_model.stirred(build(**options)).eval()
    with torch.no_grad():
        together = model(**tiny_model.batch(model))
        for i in range(len(tiny_model.SENTENCES)):
            alone = model(**tiny_model.batch(model, [i]))
            torch.testing.assert_close(
                together.mask_logits[i], alone.mask_logits[0], rtol=1e-4, atol=1e-5
            )
    assert (together.p_dense is None) == (not options)


def test_every_trained_weight_gets_a_gradient():
    model = tiny_model.stirred(build(dense={}))
    losses = model(**tiny_model.batch(model), mode='loss')
    assert set(losses) == {'loss_ce'}
    losses['loss_ce'].backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def test_it_needs_the_positions():
    with pytest.raises(UserError, match='sam_positions'):
        AttnPrompter(towers=TOWERS)
