"""Eqs. 10-12 and the losses that are off by default against their literal transcriptions, forward
and gradient; and for each a seeded fault that the comparison must notice."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.models.losses import (
    DenseLoss,
    OrthogonalLoss,
    SampleContrastLoss,
    SegmentationLoss,
    SpatialLoss,
    alignment,
    orthogonal,
    segmentation,
)
from rsrefseg2.models.symbols import EncodedImages, Prompts, RefSegOutputs, Targets
from tests.reference import dense as ref_dense
from tests.reference import losses as ref
from tests.test_models import prompter_cases
from tests.test_models.prompter_cases import assert_same

D1, N_T, GRID, SIZE = 8, 3, (3, 4), (12, 16)  # cells of 4 x 4 pixels: areas exact in float32
IMAGE_INDEX = torch.tensor([1, 0, 0, 1, 0])  # five sentences on two images
CE = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)
DICE = dict(type='mmdet.DiceLoss', naive_dice=True, eps=1e-3)
# mmdet's cross-entropy makes the labels, and with them the result, float32
MMDET_TOLERANCE = 1e-6
SHARED = 'apart'  # how several positives count: tests/reference/losses.py


def case():
    """Outputs and targets of five sentences; 0 and 3 ask for one target of one image."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    leaves = dict(
        v=random(2, GRID[0] * GRID[1], D1),
        t1=random(5, N_T, D1),
        t2=random(5, N_T, D1),
        p_dense=random(5, 6, 8),
        mask_logits=random(5, 6, 8),
    )
    masks = [torch.rand(SIZE, generator=generator) > 0.6 for _ in range(5)]
    masks[0][:, 3:] = False  # small, with cells covered in part
    masks[3] = masks[0].clone()
    masks[1] = masks[0].clone()  # the same mask on another image: another target
    outputs = RefSegOutputs(
        EncodedImages(leaves['v'], None, None),
        IMAGE_INDEX,
        None,
        Prompts(leaves['t1'], leaves['t2'], None, None, None, None, None, leaves['p_dense']),
        leaves['mask_logits'],
        SIZE,
        GRID,
    )
    return leaves, outputs, Targets(masks, IMAGE_INDEX + 40)


def compare(module, expected, **tolerance):
    """The module's terms against `expected(leaves, masks, module's parameters)`."""
    leaves, outputs, targets = case()
    module = module.double()
    found = module(outputs, targets)
    parameters = dict(module.named_parameters())
    assert_same(
        found,
        expected(leaves, torch.stack(targets.masks), parameters),
        leaves | parameters,
        **tolerance,
    )


# --- one comparison per loss ---------------------------------------------------------------------


def annotations():
    """Five masks of other sizes than the input's: smaller, larger, narrow, equal."""
    generator = torch.Generator().manual_seed(4)
    return [
        torch.rand(size, generator=generator) > 0.5
        for size in [(9, 11), (31, 40), (7, 5), (20, 3), SIZE]
    ]


def check_eq10():
    """CE + Dice at H2 x W2, wherever the annotation's size is another."""
    leaves, outputs, _ = case()
    masks = annotations()
    found = SegmentationLoss(ce=CE, dice=DICE)(outputs, Targets(masks, IMAGE_INDEX))
    logits = ref_dense.bilinear(leaves['mask_logits'][:, None], SIZE, False)[:, 0]
    masks = torch.stack([ref.nearest(mask, SIZE) for mask in masks])
    expected = dict(
        loss_ce=ref.cross_entropy(logits, masks), loss_dice=ref.dice(logits, masks, eps=1e-3)
    )
    assert_same(found, expected, dict(logits=leaves['mask_logits']), tolerance=MMDET_TOLERANCE)


def check_eq10_release():
    """The release: every sample at its own size, then the mean over samples."""
    leaves, outputs, _ = case()
    masks = annotations()
    found = SegmentationLoss(ce=CE, dice=DICE, loss_resolution='annotation')(
        outputs, Targets(masks, IMAGE_INDEX)
    )
    expected = dict(loss_ce=0.0, loss_dice=0.0)
    for logits, mask in zip(leaves['mask_logits'], masks, strict=True):
        logits = ref_dense.bilinear(logits[None, None], mask.shape, False)[0]
        expected['loss_ce'] += ref.cross_entropy(logits, mask[None]) / 5
        expected['loss_dice'] += ref.dice(logits, mask[None], eps=1e-3) / 5
    assert_same(found, expected, dict(logits=leaves['mask_logits']), tolerance=MMDET_TOLERANCE)


def check_eq11():
    compare(
        OrthogonalLoss(),
        lambda leaves, *_: dict(loss_ortho=ref.orthogonal(leaves['t1'], leaves['t2'])),
    )


def check_eq12():
    def expected(leaves, masks, parameters):
        return dict(
            loss_sample=ref.sample_contrast(
                leaves['v'][IMAGE_INDEX],
                leaves['t2'],
                ref.area_average(masks, GRID),
                scale=torch.exp(parameters['logit_scale']),
                positives=ref.same_target(IMAGE_INDEX, masks),
                shared=SHARED,
            )
        )

    compare(SampleContrastLoss(), expected)


def check_eq12_release():
    def expected(leaves, masks, parameters):
        return dict(
            loss_sample=ref.sample_contrast(
                leaves['v'][IMAGE_INDEX],
                leaves['t2'],
                ref.threshold_mask(masks, GRID),
                scale=torch.exp(parameters['logit_scale']),
                bias=math.log(0.5),
            )
        )

    compare(SampleContrastLoss(variant='release'), expected)


def check_spatial_ce():
    def expected(leaves, masks, parameters):
        return dict(
            loss_spatial=ref.spatial_ce(
                leaves['v'][IMAGE_INDEX],
                leaves['t2'],
                ref.area_average(masks, GRID),
                scale=torch.exp(parameters['logit_scale']),
                bias=parameters['logit_bias'],
            )
        )

    compare(SpatialLoss(kind='ce'), expected)


def check_spatial_mil():
    def expected(leaves, masks, parameters):
        return dict(
            loss_spatial=ref.spatial_mil(
                leaves['v'][IMAGE_INDEX],
                leaves['t2'],
                ref.area_average(masks, GRID),
                scale=torch.exp(parameters['logit_scale']),
            )
        )

    compare(SpatialLoss(kind='mil'), expected)


def check_dense():
    compare(
        DenseLoss(),
        lambda leaves, masks, _: dict(loss_dense=ref.dense_loss(leaves['p_dense'][:, None], masks)),
    )


# --- the comparisons hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    'check',
    [
        check_eq10,
        check_eq10_release,
        check_eq11,
        check_eq12,
        check_eq12_release,
        check_spatial_ce,
        check_spatial_mil,
        check_dense,
    ],
)
def test_loss(check):
    check()


@pytest.mark.parametrize('size', [(12, 16), (13, 17), (50, 7), (2, 3)])
def test_area(size):
    """Cells that do not divide the mask overlap by a pixel; a target never vanishes."""
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, size[0] // 2, size[1] // 2] = True
    area = Targets(list(mask), torch.zeros(1)).area(GRID)
    torch.testing.assert_close(area.double(), ref.area_average(mask, GRID), rtol=0, atol=1e-7)
    assert area.sum() > 0


def test_loss_weight_scales_the_term():
    _, outputs, targets = case()
    for loss in (OrthogonalLoss, SampleContrastLoss, DenseLoss):
        (one,), (half,) = (loss(loss_weight=w)(outputs, targets).values() for w in (1.0, 0.5))
        torch.testing.assert_close(half, one / 2)


@pytest.mark.parametrize(
    'loss',
    [
        SampleContrastLoss,
        partial(SampleContrastLoss, variant='release'),
        partial(SpatialLoss, kind='ce'),
        partial(SpatialLoss, kind='mil'),
    ],
)
def test_the_scale_of_a_bf16_model_is_exponentiated_in_float32(loss):
    """The same numbers in a float32 model give the same loss, to the last bit."""
    _, outputs, targets = case()
    outputs = outputs._replace(
        images=outputs.images._replace(v=outputs.images.v.bfloat16()),
        prompts=outputs.prompts._replace(t2=outputs.prompts.t2.bfloat16()),
    )
    low = loss().bfloat16()
    (found,), (expected,) = (
        module(outputs, targets).values() for module in (low, copy.deepcopy(low).float())
    )
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    # and the scale's exponential is one that BF16 would round
    assert low.logit_scale.exp().float() != low.logit_scale.float().exp()


@pytest.mark.parametrize(
    'loss',
    [
        SampleContrastLoss(),
        SampleContrastLoss(variant='release'),
        SpatialLoss(kind='ce'),
        SpatialLoss(kind='mil'),
        DenseLoss(),
        SegmentationLoss(ce=CE, dice=DICE),
    ],
    ids=lambda x: type(x).__name__ + getattr(x, 'kind', ''),
)
def test_an_empty_target_has_finite_gradients(loss):
    leaves, outputs, targets = case()
    for mask in (targets.masks[1], targets.masks[3]):
        mask.zero_()
    total = sum(loss(outputs, targets).values())
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(x.grad).all() for x in leaves.values() if x.grad is not None)


def test_without_negatives_the_contrast_is_zero():
    """One sentence, or only sentences of one target: nothing to tell apart, and no NaN."""
    leaves, outputs, targets = case()
    same = Targets([targets.masks[0]] * 5, torch.zeros(5))
    loss = SampleContrastLoss()(outputs, same)['loss_sample']
    loss.backward()
    assert loss == 0 and torch.isfinite(leaves['t2'].grad).all()


# --- and each notices a seeded fault -------------------------------------------------------------


def squared_denominators(terms):
    def faulty(self, logits, masks):
        self.terms['dice'].naive_dice = False
        return terms(self, logits, masks)

    return faulty


def taken_at(place, forward):
    """SegmentationLoss.forward at another size than was asked for."""

    def faulty(self, outputs, targets):
        self.loss_resolution = place
        return forward(self, outputs, targets)

    return faulty


def resized(mode):
    """Targets.at by another interpolation."""
    return lambda self, size: torch.cat(
        [F.interpolate(mask[None, None].float(), size, mode=mode)[0] for mask in self.masks]
    )


def one_sided(v_object, t, scale, positive):
    share = positive / positive.sum(1, keepdim=True)
    return F.cross_entropy(scale * v_object @ t.T, share)


def any_image(contrast):
    """Equal masks of different images as positives."""

    def faulty(v_object, t, scale, positive):
        positive = positive.clone()
        positive[torch.tensor([0, 1, 3])[:, None], torch.tensor([0, 1, 3])] = True
        return contrast(v_object, t, scale, positive)

    return faulty


def duplicates_as_negatives(contrast):
    return lambda v_object, t, scale, positive: contrast(
        v_object, t, scale, torch.eye(len(t), dtype=torch.bool)
    )


def mean_not_normed(v, mask):
    return torch.einsum('bn,bnd->bd', mask / mask.sum(1, keepdim=True), v)


def thresholded(area):
    return lambda self, size: (area(self, size) > 0.5).float()


def wrong_ortho(t1, t2):
    """The cosine of each pair of vectors instead of that of the means."""
    return F.cosine_similarity(t1, t2, dim=-1).square().mean()


def other_corners(logits, size):
    return F.interpolate(logits[:, None], size, mode='bilinear', align_corners=True)[:, 0]


FAULTS = {  # what is wrong -> comparison, owner and name of what is replaced, replacement
    'eq10: align_corners': (check_eq10, segmentation, 'upsample', other_corners),
    'eq10: squared denominators': (
        check_eq10,
        SegmentationLoss,
        '_terms',
        squared_denominators(SegmentationLoss._terms),
    ),
    'eq10: at the annotation': (
        check_eq10,
        SegmentationLoss,
        'forward',
        taken_at('annotation', SegmentationLoss.forward),
    ),
    'eq10: soft mask': (check_eq10, Targets, 'at', resized('area')),
    'eq10: nearest by the upper left corner': (check_eq10, Targets, 'at', resized('nearest')),
    'eq10 of the release: at H2 x W2': (
        check_eq10_release,
        SegmentationLoss,
        'forward',
        taken_at('input', SegmentationLoss.forward),
    ),
    'eq11: not of the means': (check_eq11, orthogonal, 'orthogonal_loss', wrong_ortho),
    'eq11: not squared': (
        check_eq11,
        orthogonal,
        'orthogonal_loss',
        lambda t1, t2: F.cosine_similarity(t1.mean(1), t2.mean(1)).abs().mean(),
    ),
    'eq12: one direction': (check_eq12, alignment, 'sample_contrast', one_sided),
    'eq12: duplicates as negatives': (
        check_eq12,
        alignment,
        'sample_contrast',
        duplicates_as_negatives(alignment.sample_contrast),
    ),
    'eq12: equal masks of other images are positives': (
        check_eq12,
        alignment,
        'sample_contrast',
        any_image(alignment.sample_contrast),
    ),
    'eq12: image not normed': (check_eq12, alignment, 'masked_mean', mean_not_normed),
    'eq12: thresholded mask': (check_eq12, Targets, 'area', thresholded(Targets.area)),
    'release: soft mask': (
        check_eq12_release,
        alignment,
        'release_mask',
        lambda targets, size: targets.area(size).flatten(1),
    ),
    'spatial ce: thresholded mask': (check_spatial_ce, Targets, 'area', thresholded(Targets.area)),
    'spatial mil: thresholded mask': (
        check_spatial_mil,
        Targets,
        'area',
        thresholded(Targets.area),
    ),
    'dense: thresholded mask': (check_dense, Targets, 'area', thresholded(Targets.area)),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_fault_is_noticed(fault, monkeypatch):
    check, owner, name, replacement = FAULTS[fault]
    monkeypatch.setattr(prompter_cases, 'TOLERANCE', prompter_cases.FAULT_TOLERANCE)
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(AssertionError, match='differs by'):
        check()
