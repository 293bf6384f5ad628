"""ResponseLoss and AttentionLoss against their literal transcriptions, forward and gradient; with
empty masks, in BF16, in a whole model; and what they refuse."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.errors import UserError
from rsrefseg2.models.losses import AttentionLoss, ResponseLoss, response
from rsrefseg2.models.prompter import (
    CascadedPrompter,
    InterleavedPrompter,
    SingleStagePrompter,
    layers,
)
from rsrefseg2.models.symbols import Targets
from rsrefseg2.models.towers.plain_forms import plain_forms
from tests.reference import losses as ref_losses
from tests.reference import response as ref
from tests.test_models import prompter_cases
from tests.test_models.prompter_cases import (
    GRID,
    HEADS,
    LENGTHS,
    assert_same,
    inputs,
    tiny_prompter,
)
from tests.test_models.tiny_model import PAPER_LOSSES, build, items

MAP, SIZE = (14, 18), (56, 72)  # cells of 4 x 4 pixels: areas exact in float32
MARGIN = 2


def rectangle(*boxes):
    """(H, W) bool of boxes top, bottom, left, right."""
    mask = torch.zeros(SIZE, dtype=torch.bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def blob(seed):
    noise = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, SIZE, mode='bicubic')[0, 0] > 0.55


# Whole cells and parts of them; large beside small; thin; at the border; all; nothing.
MASKS = [
    rectangle((9, 41, 6, 45)),
    rectangle((2, 30, 3, 31), (40, 46, 60, 63), (33, 34, 50, 51)),
    rectangle((20, 22, 3, 70)),
    rectangle((0, 25, 50, 72)),
    rectangle((0, 56, 0, 72)),
    rectangle(),
    blob(1),
    blob(2),
]
OTHERS = [
    rectangle((44, 56, 50, 72), (0, 6, 0, 6)),
    rectangle(),
    blob(3),
    rectangle((20, 45, 40, 66)),  # under the target in part
    rectangle((4, 8, 4, 8)),  # under it wholly
    rectangle((8, 25, 9, 30)),
    blob(4) & ~MASKS[6],
    rectangle((13, 15, 1, 3)),
]


def case(masks=MASKS, others=OTHERS):
    """p (B, h, w), outputs that hold it, targets."""
    generator = torch.Generator().manual_seed(5)
    p = torch.randn(len(masks), *MAP, generator=generator, dtype=torch.float64).requires_grad_()
    outputs = SimpleNamespace(prompts=SimpleNamespace(p_dense=p))
    return p, outputs, Targets(list(masks), torch.arange(len(masks)), others and list(others))


def check_response():
    p, outputs, targets = case()
    found = ResponseLoss(centre=1.5, background=0.25, negatives=3.0, margin=MARGIN)(
        outputs, targets
    )
    area = ref_losses.area_average(torch.stack(MASKS), MAP)
    others = ref_losses.area_average(torch.stack(OTHERS), MAP)
    centres = [ref.centre(a) for a in area]
    far = [ref.background(a, MARGIN) for a in area]
    hard = [ref.negatives(a, o) for a, o in zip(area, others, strict=True)]
    assert sum(map(bool, centres)) == 7 and not far[4] and len(far[5]) == MAP[0] * MAP[1]
    assert not hard[1] and not hard[4] and sum(map(bool, hard)) == 6
    expected = dict(
        loss_response_centre=1.5 * ref.mean_of_softplus(p, centres, -1),
        loss_response_background=0.25 * ref.mean_of_softplus(p, far, 1),
        loss_response_negatives=3.0 * ref.mean_of_softplus(p, hard, 1),
    )
    assert_same(found, expected, dict(p=p))


def test_response():
    check_response()


@pytest.mark.parametrize(
    'name, replacement',
    {
        'compact_centre': lambda area: area > 0,
        'depth_of': lambda area: area,
        'far_background': lambda area, margin: area == 0,
        'mean_over_cells': lambda x, cells: (
            (x * cells).flatten(1).sum(1) / cells.flatten(1).sum(1).clamp(min=1)
        ),
    }.items(),
)
def test_a_fault_of_it_is_noticed(name, replacement, monkeypatch):
    monkeypatch.setattr(prompter_cases, 'TOLERANCE', prompter_cases.FAULT_TOLERANCE)
    monkeypatch.setattr(response, name, replacement)
    with pytest.raises(AssertionError, match='differs by'):
        check_response()


def test_depth_is_the_chessboard_distance():
    area = torch.zeros(1, 9, 11)
    area[0, 1:8, 2:9] = 1
    depth = response.depth_of(area)[0]
    assert depth[4].tolist() == [0, 0, 1, 2, 3, 4, 3, 2, 1, 0, 0]
    assert response.compact_centre(area)[0, 4].tolist() == [2 <= x <= 4 for x in depth[4].tolist()]


def test_each_part_of_a_mask_has_a_centre():
    area = Targets([MASKS[1]], torch.zeros(1)).area(MAP)
    centre = response.compact_centre(area)[0]
    assert centre[10:12, 15].all() and centre[8, 12]  # the two small ones
    assert centre.sum() < (area > 0).sum() / 2


def test_a_term_that_is_off_is_not_computed(monkeypatch):
    _, outputs, targets = case(others=None)
    monkeypatch.setattr(response, 'far_background', None)
    found = ResponseLoss(background=None, negatives=None)(outputs, targets)
    assert set(found) == {'loss_response_centre'}


def test_without_any_cell_the_terms_are_zero():
    p, outputs, targets = case(masks=[MASKS[5]], others=[MASKS[5]])
    found = ResponseLoss()(outputs, targets)
    sum(found.values()).backward()
    assert found['loss_response_centre'] == found['loss_response_negatives'] == 0
    assert torch.isfinite(p.grad).all() and (p.grad > 0).all()  # all of it is background
    p, outputs, targets = case(masks=[MASKS[4]], others=[MASKS[4]])
    assert ResponseLoss()(outputs, targets)['loss_response_background'] == 0


def test_what_the_response_loss_refuses():
    _, outputs, targets = case(others=None)
    with pytest.raises(UserError, match='dataset.other_objects=True'):
        ResponseLoss()(outputs, targets)
    outputs.prompts.p_dense = None
    with pytest.raises(UserError, match='set prompter.dense'):
        ResponseLoss()(outputs, targets)
    with pytest.raises(UserError, match='centre, background or negatives'):
        ResponseLoss(centre=None, background=None, negatives=None)


# --- attention -----------------------------------------------------------------------------------

STACKS = {
    CascadedPrompter: ('first_order', 'second_order'),
    InterleavedPrompter: ('first_order', 'second_order'),
    SingleStagePrompter: ('single_stage',),
}
TARGETS = [torch.rand(12, 16, generator=torch.Generator().manual_seed(i)) > 0.7 for i in range(3)]
TARGETS[1][:] = False


@pytest.mark.parametrize('kind', STACKS)
def test_attention(kind, monkeypatch):
    """The scores are those that the attention itself computes in each stack's last block."""
    seen = []

    def attend(q, k, v, attn_mask=None):
        if q.shape[2] == GRID[0] * GRID[1]:  # the image tokens ask
            seen.append((q, k))
        return attention(q, k, v, attn_mask=attn_mask)

    attention = F.scaled_dot_product_attention
    monkeypatch.setattr(layers.F, 'scaled_dot_product_attention', attend)
    prompter = tiny_prompter(kind=kind, interaction=dict(image_scores=True))
    v, text = inputs()
    with plain_forms():  # attention as it is written, through the function above
        prompts = prompter(v, text)
        seen.clear()
        prompter(v, text)  # a graph of its own for the expected value
    assert len(seen) == 2 * len(STACKS[kind]) and seen[0][0].shape[1] == HEADS
    outputs = SimpleNamespace(prompts=prompts, grid_size=GRID)
    loss = AttentionLoss(stacks=STACKS[kind], loss_weight=0.5)
    found = loss(outputs, Targets(TARGETS, torch.arange(3)))

    area = ref_losses.area_average(torch.stack(TARGETS), GRID)
    expected = {}
    for stack, (q, k) in zip(STACKS[kind], seen[1::2], strict=True):
        read = [range(n if kind is SingleStagePrompter else k.shape[2]) for n in LENGTHS]
        maps = torch.stack([ref.attention_map(q[b], k[b], read[b]) for b in range(3)])
        torch.testing.assert_close(prompts.image_scores[stack], maps, rtol=0, atol=1e-12)
        expected[f'loss_attention_{stack}'] = 0.5 * ref.attention_loss(maps, area)
    leaves = dict(v=v, words=text.t_word) | {
        name: weight for name, weight in prompter.named_parameters() if 'image_attn.attn.' in name
    }
    assert_same(found, expected, leaves)


def test_the_scores_are_off_by_default_and_change_nothing():
    v, text = inputs()
    off, on = tiny_prompter(), tiny_prompter(interaction=dict(image_scores=True))
    on.load_state_dict(off.state_dict())
    off, on = off(v, text), on(v, text)
    assert off.image_scores is None and on.image_scores is not None
    assert all(torch.equal(a, b) for a, b in zip(off[:-1], on[:-1], strict=True))


def test_what_the_attention_loss_refuses():
    v, text = inputs()
    targets = Targets(TARGETS, torch.arange(3))
    outputs = SimpleNamespace(prompts=tiny_prompter()(v, text), grid_size=GRID)
    with pytest.raises(UserError, match=r'interaction=dict\(image_scores=True\)'):
        AttentionLoss()(outputs, targets)
    outputs.prompts = tiny_prompter(interaction=dict(image_scores=True))(v, text)
    with pytest.raises(
        UserError, match="first_order, second_order with this prompter, not 'third'"
    ):
        AttentionLoss(stacks=['third'])(outputs, targets)
    with pytest.raises(UserError, match='needs interaction.image_attention'):
        tiny_prompter(interaction=dict(image_scores=True, image_attention=False))


# --- in a model ----------------------------------------------------------------------------------

BOTH = dict(PAPER_LOSSES, response=dict(type='ResponseLoss'), attention=dict(type='AttentionLoss'))
TERMS = {
    *(f'loss_response_{term}' for term in ('centre', 'background', 'negatives')),
    *('loss_attention_first_order', 'loss_attention_second_order'),
}


def batch_with_others(model, empty=()):
    """Each sample's other object is a strip; the masks of samples `empty` hold nothing."""
    found = items()
    for number, item in enumerate(found):
        sample = item['data_samples']
        if number in empty:
            sample.gt_mask[:] = False
        sample.other_mask = torch.zeros_like(sample.gt_mask)
        sample.other_mask[-8:] = number % 3 > 0
        sample.other_mask &= ~sample.gt_mask
    return model.data_preprocessor(unique_images_collate(found), True)


@pytest.mark.parametrize('empty', [(), (0, 2, 3), range(6)])
@pytest.mark.parametrize('autocast', [None, 'bfloat16'])
def test_in_a_model(autocast, empty):
    model = build(losses=BOTH, prompter=dict(interaction=dict(image_scores=True)))
    model.autocast = autocast
    losses = model.train()(**batch_with_others(model, empty), mode='loss')
    assert TERMS <= set(losses)
    assert all(losses[name].dtype == torch.float32 for name in TERMS)
    sum(losses[name] for name in TERMS).backward()
    grads = {n: p.grad for n, p in model.prompter.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert grads['dense.logit_scale'].abs().sum() > 0
    q = 'second_order.blocks.1.image_attn.attn.q_proj.weight'
    assert (grads[q].abs().sum() > 0) or len(empty) == 6


def test_the_border_of_other_objects():
    """`fit='pad'`: they get the border of the target."""
    model = build(losses=BOTH)
    model.data_preprocessor.fit = 'pad'
    data = batch_with_others(model)
    targets = model.targets(data['data_samples'], data['inputs'].image_ids)
    assert [m.shape for m in targets.others] == [m.shape for m in targets.masks]
    assert all(m.shape[0] == m.shape[1] for m in targets.others)
    del data['data_samples'][2].other_mask  # one sample whose dataset does not know them
    assert model.targets(data['data_samples'], data['inputs'].image_ids).others is None
