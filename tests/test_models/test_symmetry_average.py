"""Test-time symmetries: a literal loop gives the same, and nothing changes where they are off."""

import copy

import pytest
import torch

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.directions import rewrite
from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.symmetry_average import predict_with_symmetries
from rsrefseg2.symmetries import GROUPS, IDENTITY, Symmetry

from .tiny_model import build, items, stirred

REFUSED = 4
# The 8 symmetries once more, as a loop over pixels would write them.
BY_HAND = {
    Symmetry(0, 0, 0): lambda m: m,
    Symmetry(0, 1, 0): lambda m: m.flip(-1),
    Symmetry(0, 0, 1): lambda m: m.flip(-2),
    Symmetry(0, 1, 1): lambda m: m.rot90(2, (-2, -1)),
    Symmetry(1, 0, 0): lambda m: m.transpose(-2, -1),
    Symmetry(1, 0, 1): lambda m: m.rot90(1, (-2, -1)),
    Symmetry(1, 1, 0): lambda m: m.rot90(-1, (-2, -1)),
    Symmetry(1, 1, 1): lambda m: m.transpose(-2, -1).rot90(2, (-2, -1)),
}


@pytest.fixture(scope='module')
def model():
    return stirred(build()).eval()


def batch_of():
    """Six sentences of four pictures, none square but one; one sentence is refused."""
    found = items()
    found[REFUSED]['data_samples'].set_metainfo(dict(text='the second ship'))
    return unique_images_collate(found)


def literal_logits(model, item, symmetry):
    """The logits of one sentence of one turned picture, turned back; None: refused."""
    item = copy.deepcopy(item)
    sample, turn = item['data_samples'], BY_HAND[symmetry]
    text = rewrite(sample.text, symmetry)
    if text is None:
        return None
    item['inputs'] = turn(item['inputs']).contiguous()
    sample.set_metainfo(dict(text=text, ori_shape=tuple(item['inputs'].shape[1:])))
    data = model.data_preprocessor(unique_images_collate([item]))
    (logits,) = model.masks(model(data['inputs']).mask_logits, [sample.ori_shape])
    (back,) = [s for s in GROUPS['all'] if symmetry.then(s) == IDENTITY]
    return BY_HAND[back](logits)


@pytest.mark.parametrize('fit', ['squash', 'pad'])
@pytest.mark.parametrize('group', GROUPS)
@torch.no_grad()
def test_a_literal_loop_gives_the_same(model, group, fit, monkeypatch):
    monkeypatch.setattr(model.data_preprocessor, 'fit', fit)
    monkeypatch.setattr(model, 'test_symmetries', group)
    samples = model.test_step(batch_of())
    found = items()
    found[REFUSED]['data_samples'].set_metainfo(dict(text='the second ship'))
    for number, (sample, item) in enumerate(zip(samples, found, strict=True)):
        passes = [literal_logits(model, item, symmetry) for symmetry in GROUPS[group]]
        read = [logits for logits in passes if logits is not None]
        assert len(read) == (1 if number == REFUSED else len(GROUPS[group]))
        mean = torch.stack(read).mean(0)
        sure = mean.abs() > 1e-4 * mean.abs().max()  # not of rounding
        assert sample.pred_mask.shape == mean.shape == sample.ori_shape
        assert sure.float().mean() > 0.95
        assert torch.equal(sample.pred_mask[sure], (mean > 0)[sure])
        assert torch.equal(sample.gt_mask, item['data_samples'].gt_mask)


@torch.no_grad()
def test_the_identity_alone_changes_nothing(model):
    plain = model.test_step(batch_of())
    same = predict_with_symmetries(model, batch_of(), [IDENTITY])
    for one, other in zip(plain, same, strict=True):
        assert torch.equal(one.pred_mask, other.pred_mask)
        assert torch.equal(one.dense_prompt, other.dense_prompt)
        assert one.metainfo == other.metainfo


@torch.no_grad()
def test_only_the_test_is_averaged(model, monkeypatch):
    plain = model.test_step(batch_of())
    monkeypatch.setattr(model, 'test_symmetries', 'all')
    validated, tested = model.val_step(batch_of()), model.test_step(batch_of())
    differing = 0
    for number, samples in enumerate(zip(plain, validated, tested, strict=True)):
        before, val, test = (sample.pred_mask for sample in samples)
        assert torch.equal(before, val)
        assert number != REFUSED or torch.equal(before, test)
        differing += not torch.equal(before, test)
        assert torch.equal(samples[0].dense_prompt, samples[2].dense_prompt)
        assert samples[0].metainfo == samples[2].metainfo
    assert differing >= 3


def test_other_groups_are_refused():
    with pytest.raises(ValueError, match="'flips', 'turns', 'all', not 'rotations'"):
        RSRefSeg2(siglip={}, sam={}, prompter={}, test_symmetries='rotations')
