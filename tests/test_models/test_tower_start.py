"""Start values of the prompter with which its dense prompt is the towers' own answer."""

import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.models.prompter import CascadedPrompter, SingleStagePrompter
from rsrefseg2.models.prompter.dense_prompt import SHIFT, DensePrompt, upsampled_cosine
from tests.test_models.prompter_cases import D1, GRID, inputs, tiny_prompter


@pytest.mark.parametrize('kind', [CascadedPrompter, SingleStagePrompter])
def test_with_the_identity_start_v_is_only_normed(kind):
    """Eight steps of two stacks, or four of one; each is LN alone, whatever the text says."""
    prompter = tiny_prompter(kind=kind, visual_position='query_key')
    prompter.load_state_dict(prompter.identity_start(), strict=False)
    v, text = inputs()
    expected = v
    for stack in kind.STACKS:
        for block in getattr(prompter, stack).blocks:
            expected = block.image_mlp.norm(block.image_attn.norm(expected))
    torch.testing.assert_close(prompter(v, text).v2_act, expected)


def test_the_identity_start_with_patch_attention_is_lns_alone():
    prompter = tiny_prompter(visual_position='query_key', interaction=dict(patch_attention=True))
    prompter.load_state_dict(prompter.identity_start(), strict=False)
    v, text = inputs()
    expected = v
    for stack in prompter.STACKS:
        for block in getattr(prompter, stack).blocks:
            expected = block.patch_attn.norm(block.image_attn.norm(expected))
            expected = block.image_mlp.norm(expected)
    torch.testing.assert_close(prompter(v, text).v2_act, expected)


def test_the_identity_start_touches_nothing_else():
    prompter = tiny_prompter()
    zeros = prompter.identity_start()
    assert len(zeros) == 2 * 2 * 2 * 2  # orders, blocks, steps, weight and bias
    for name in zeros:
        assert name.startswith(('first_order', 'second_order')) and '.image_' in name, name


@pytest.mark.parametrize('conv', ['3x3', '1x1'])
@pytest.mark.parametrize('activation', ['relu', 'gelu'])
def test_the_convolutions_start_as_a_projection(conv, activation):
    """Sentences in half of the directions: the cosine is that with v projected to them."""
    torch.manual_seed(0)
    dense = DensePrompt(
        d1=D1, size=(8, 8), logit_scale=0.0, logit_bias=0.0, conv=conv, activation=activation
    )
    t = torch.randn(40, D1 // 2) @ torch.randn(D1 // 2, D1)
    v = 0.7 * torch.randn(40, GRID[0] * GRID[1], D1).clamp(-1.5, 1.5) + torch.randn(D1)
    values = dense.tower_start(v, t)
    assert not set(values) - set(dense.state_dict())
    dense.load_state_dict(values, strict=False)
    q = torch.linalg.qr(t.T)[0][:, : D1 // 2]
    expected = upsampled_cosine((v @ q @ q.T).transpose(1, 2).unflatten(2, GRID), t, (8, 8))
    for training in (True, False):  # with the batch's statistics, or the running ones
        dense.train(training)
        found = dense(v, t, GRID)
        assert (found - expected).abs().mean() < 0.01  # the activation bends beyond SHIFT
        assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.998
    assert dense.conv[1].bias.eq(SHIFT).all()


def test_without_convolutions_there_is_nothing_to_start():
    dense = DensePrompt(d1=D1, size=(8, 8), logit_scale=0.0, logit_bias=0.0, conv=None)
    assert dense.tower_start(torch.randn(2, 4, D1), torch.randn(2, D1)) == {}


def test_directions_that_no_sentence_has_are_left_out():
    torch.manual_seed(0)
    dense = DensePrompt(d1=D1, size=(8, 8), logit_scale=0.0, logit_bias=0.0)
    t = F.pad(torch.randn(40, D1 // 2), (0, D1 - D1 // 2))
    down = dense.tower_start(torch.randn(4, 9, D1), t)['conv.0.weight'][:, :, 1, 1]
    assert down[:, D1 // 2 :].abs().max() < 1e-5
    torch.testing.assert_close(down @ down.T, torch.eye(D1 // 2))
