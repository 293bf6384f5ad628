"""Placements: borders by numpy, and linear maps, which bilinear steps keep."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.models.placements import OFFSETS, Placement, placements_of
from rsrefseg2.symmetries import GROUPS, IDENTITY

SHAPE = (37, 53)
PLACEMENTS = [
    Placement(symmetry, border, offset)
    for symmetry, border, offset in itertools.product(
        GROUPS['all'], [(0.0, 0.0), (0.2, 0.1)], [(0.0, 1.0), (0.5, 0.5)]
    )
]


def ramp(shape, *, box=((0, 1), (0, 1))):
    """3 y - 2 x + 1 at the cells of `shape`, which cover `box` of a picture of side 1."""
    (top, bottom), (left, right) = box
    y = top + (bottom - top) * (np.arange(shape[0])[:, None] + 0.5) / shape[0]
    x = left + (right - left) * (np.arange(shape[1])[None] + 0.5) / shape[1]
    return (3 * y - 2 * x + 1).astype(np.float32)


@pytest.mark.parametrize('placement', PLACEMENTS)
def test_a_placed_picture_has_a_border_as_numpy_makes_it(placement):
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    turned = placement.symmetry.maps(image, y=0, x=1)
    whole = [
        round(share * side) for share, side in zip(placement.border, turned.shape, strict=False)
    ]
    before = [
        round(share * side * offset)
        for share, side, offset in zip(
            placement.border, turned.shape, placement.offset, strict=False
        )
    ]
    margins = [(b, w - b) for b, w in zip(before, whole, strict=True)]
    expected = np.pad(turned, [*margins, (0, 0)], mode='edge')
    assert np.array_equal(placement.picture(image, y=0, x=1), expected)
    assert placement.shape(*SHAPE) == expected.shape[:2]
    tensor = placement.picture(torch.from_numpy(image).permute(2, 0, 1), y=1, x=2)
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize('placement', PLACEMENTS)
def test_what_is_seen_comes_back_to_its_pixels(placement):
    picture = torch.from_numpy(ramp(SHAPE))
    seen = placement.picture(picture, y=0, x=1)
    assert torch.allclose(placement.back(seen, SHAPE, SHAPE), picture, atol=1e-4)


@pytest.mark.parametrize('placement', [one for one in PLACEMENTS if one.symmetry == IDENTITY])
@pytest.mark.parametrize('size', [(20, 30), (80, 90)])
def test_coarse_logits_come_back_to_where_they_were(placement, size):
    """Logits of 40 x 44 cells that cover the placed picture, a linear map of the picture's coordinates."""
    (top, left), (height, width) = (
        [
            round(s * n * p)
            for s, n, p in zip(placement.border, SHAPE, placement.offset, strict=True)
        ],
        placement.shape(*SHAPE),
    )
    box = [
        (-start / side, (whole - start) / side)
        for start, side, whole in zip((top, left), SHAPE, (height, width), strict=True)
    ]
    logits = torch.from_numpy(ramp((40, 44), box=box))
    found = placement.back(logits, SHAPE, size).numpy()
    inner = np.s_[4:-4, 4:-4]  # at the edge a map goes on as it is, a ramp does not
    assert np.allclose(found[inner], ramp(size)[inner], atol=1e-4)


@pytest.mark.parametrize('placement', PLACEMENTS)
def test_a_prior_lies_where_the_picture_is_placed(placement):
    prior = ramp((16, 24))
    seen = placement.prior(prior, SHAPE)
    assert seen.shape == placement.symmetry.shape(*prior.shape)
    back = placement.back(torch.from_numpy(seen), SHAPE, prior.shape).numpy()
    assert np.allclose(back[2:-2, 2:-2], prior[2:-2, 2:-2], atol=1e-4)


def test_without_a_border_the_way_back_is_upsampling():
    logits = torch.randn(9, 11, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(logits[None, None], (30, 40), mode='bilinear', align_corners=False)
    assert torch.equal(Placement().back(logits, SHAPE, (30, 40)), expected[0, 0])


def test_the_first_shows_the_picture_as_it_is():
    for group, symmetries in GROUPS.items():
        placements = placements_of(group, 0.5, (16, 8))
        assert placements[0] == Placement()
        assert [placement.symmetry for placement in placements] == list(symmetries)
        assert all(placement.border == (0.5 / 16, 0.5 / 8) for placement in placements[1:])
    assert [placement.offset for placement in placements_of('all', 0.5, (16, 8))] == list(OFFSETS)
    assert len({placement.offset for placement in placements_of('all', 0.5, (16, 8))}) == 7
