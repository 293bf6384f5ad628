"""Test-time symmetries: a literal loop gives the same, and nothing changes where they are off."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.directions import rewrite
from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.placement_average import agreed_mean, predict_with_placements
from rsrefseg2.models.placements import Placement, placements_of
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


def literal_logits(model, item, symmetry, *, coarse=False):
    """The logits of one sentence of one turned picture, turned back; None: refused.

    coarse: as they come from the decoder, not at the original size.
    """
    item = copy.deepcopy(item)
    sample, turn = item['data_samples'], BY_HAND[symmetry]
    text = rewrite(sample.text, symmetry)
    if text is None:
        return None
    item['inputs'] = turn(item['inputs']).contiguous()
    sample.set_metainfo(dict(text=text, ori_shape=tuple(item['inputs'].shape[1:])))
    data = model.data_preprocessor(unique_images_collate([item]))
    take = model.without_border if coarse else model.masks
    (logits,) = take(model(data['inputs']).mask_logits, [sample.ori_shape])
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


def literal_mean(passes, agreement, size):
    """`agreed_mean` once more, its masks compared pixel by pixel."""

    def drawn(logits):
        fine = F.interpolate(logits[None, None], size, mode='bilinear', align_corners=False)
        return (fine > 0).flatten().tolist()

    mean = sum(passes) / len(passes)
    for _ in range(2):
        weights = []
        for logits in passes:
            pairs = list(zip(drawn(logits), drawn(mean), strict=True))
            both, either = sum(a and b for a, b in pairs), sum(a or b for a, b in pairs)
            weights.append((both / either if either else 1.0) ** agreement)
        mean = sum(w * one for w, one in zip(weights, passes, strict=True)) / sum(weights)
    return mean


def literal_pass(model, item, placement):
    """The logits of one sentence of one pass, by numpy and scipy, back at the size of SAM's picture."""
    item = copy.deepcopy(item)
    sample, turn = item['data_samples'], BY_HAND[placement.symmetry]
    image = turn(item['inputs']).numpy()
    sides = image.shape[1:]
    whole = [round(share * side) for share, side in zip(placement.border, sides, strict=True)]
    before = [
        round(s * n * p) for s, n, p in zip(placement.border, sides, placement.offset, strict=True)
    ]
    margins = [(b, w - b) for b, w in zip(before, whole, strict=True)]
    image = np.pad(image, [(0, 0), *margins], mode='edge')
    text = rewrite(sample.text, placement.symmetry)
    sample.set_metainfo(dict(text=text, ori_shape=image.shape[1:]))
    item['inputs'] = torch.from_numpy(image)
    data = model.data_preprocessor(unique_images_collate([item]))
    (logits,) = model.without_border(model(data['inputs']).mask_logits, [sample.ori_shape])
    size = model.data_preprocessor.content_size(sides, model.input_size[0])
    rows = [
        (start + (np.arange(n) + 0.5) / n * side) / seen * cells - 0.5
        for n, side, start, seen, cells in zip(
            size, sides, before, image.shape[1:], logits.shape, strict=True
        )
    ]
    grid = np.meshgrid(*rows, indexing='ij')
    found = ndimage.map_coordinates(logits.numpy(), grid, order=1, mode='nearest')
    (back,) = [s for s in GROUPS['all'] if placement.symmetry.then(s) == IDENTITY]
    return BY_HAND[back](torch.from_numpy(found))


@pytest.mark.parametrize('fit', ['squash', 'pad'])
@pytest.mark.parametrize(('shift', 'agreement'), [(0.0, 0.5), (0.0, 8.0), (0.5, 0.0), (0.5, 8.0)])
@torch.no_grad()
def test_moved_pictures_and_passes_that_weigh_as_they_agree(
    model, fit, shift, agreement, monkeypatch
):
    monkeypatch.setattr(model.data_preprocessor, 'fit', fit)
    monkeypatch.setattr(model, 'test_symmetries', 'all')
    plain = [sample.pred_mask for sample in model.test_step(batch_of())]
    monkeypatch.setattr(model, 'test_shift', shift)
    monkeypatch.setattr(model, 'test_agreement', agreement)
    samples = model.test_step(batch_of())
    differing = 0
    for number, (sample, item) in enumerate(zip(samples, items(), strict=True)):
        if number == REFUSED:
            continue
        if shift:
            placements = placements_of('all', shift, model.encoder.grid_size)
            passes = [literal_pass(model, item, placement) for placement in placements]
        else:
            passes = [literal_logits(model, item, one, coarse=True) for one in GROUPS['all']]
        size = model.data_preprocessor.content_size(sample.ori_shape, model.input_size[0])
        mean = literal_mean(passes, agreement, size)[None, None]
        (mean,) = F.interpolate(mean, sample.ori_shape, mode='bilinear', align_corners=False)[0]
        sure = mean.abs() > 1e-3 * mean.abs().max()  # not of rounding
        assert sure.float().mean() > 0.95
        assert torch.equal(sample.pred_mask[sure], (mean > 0)[sure])
        differing += not torch.equal(sample.pred_mask[sure], plain[number][sure])
    assert differing >= 2


SIZE = (48, 64)


def square(left, *, logit=1.0):
    """(12, 16) logits: a square of four pixels at column `left`, -1 around it."""
    logits = torch.full((12, 16), -1.0)
    logits[4:8, left : left + 4] = logit
    return logits


def test_passes_that_drew_another_object_do_not_count():
    here, there = square(1), square(10)
    passes = [here, there, here, there, here]
    assert torch.equal(torch.stack(passes).mean(0) > 0, here > 0)
    assert torch.allclose(agreed_mean(passes, 8.0, SIZE), here)
    assert torch.allclose(agreed_mean(passes, 0.0, SIZE), torch.stack(passes).mean(0))


def test_where_no_pass_meets_the_mean_it_is_the_plain_one():
    passes = [square(0), square(6), square(12)]
    mean = torch.stack(passes).mean(0)
    assert not (mean > 0).any()
    assert torch.allclose(agreed_mean(passes, 8.0, SIZE), mean)


def test_empty_masks_agree():
    empty, other = square(1, logit=-0.5), square(1, logit=1.0)
    assert torch.allclose(agreed_mean([empty, empty, empty, other], 8.0, SIZE), empty)


@torch.no_grad()
def test_the_identity_alone_changes_nothing(model):
    plain = model.test_step(batch_of())
    same = predict_with_placements(model, batch_of(), [Placement()])
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
