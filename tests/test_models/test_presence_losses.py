"""The losses on SAM's IoU and object scores against their literal transcriptions; the heads in a
model; what sentences without a target do to the other losses; masks that presence empties."""

from types import SimpleNamespace

import pytest
import torch

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.errors import UserError
from rsrefseg2.models.losses import PredictedIoULoss, PresenceLoss, predicted_iou
from rsrefseg2.models.symbols import Targets
from rsrefseg2.models.towers.plain_forms import plain_forms
from rsrefseg2.symmetries import GROUPS
from tests.reference import dense as ref_dense
from tests.reference import losses as ref_losses
from tests.reference import presence as ref
from tests.test_models import prompter_cases
from tests.test_models.prompter_cases import assert_same
from tests.test_models.tiny_model import PAPER_LOSSES, batch, build, items, stirred

SIZE, LOW = (12, 16), (6, 8)
SCORES = dict(iou=dict(type='PredictedIoULoss'), presence=dict(type='PresenceLoss'))
HEADS = dict(score_heads=['iou', 'object'])


def case(empty=(2,)):
    """Scores and logits of five sentences, masks of other sizes than the input's."""
    generator = torch.Generator().manual_seed(7)
    score = torch.randn(5, generator=generator, dtype=torch.float64)
    leaves = dict(
        iou_score=score.sigmoid().requires_grad_(), object_score=(3 * score).requires_grad_()
    )
    logits = torch.randn(5, *LOW, generator=generator, dtype=torch.float64)
    logits[3] = -1  # nothing is drawn
    masks = [
        torch.rand(size, generator=generator) > 0.5
        for size in [(9, 11), (31, 40), (7, 5), (20, 3), SIZE]
    ]
    for number in empty:
        masks[number][:] = False
    outputs = SimpleNamespace(mask_logits=logits.requires_grad_(), input_size=SIZE, **leaves)
    return leaves, outputs, Targets(masks, torch.arange(5))


def check(empty=(2,)):
    leaves, outputs, targets = case(empty)
    found = PredictedIoULoss(loss_weight=0.5)(outputs, targets)
    found |= PresenceLoss(loss_weight=2.0)(outputs, targets)
    logits = ref_dense.bilinear(outputs.mask_logits[:, None], SIZE, False)[:, 0]
    masks = [ref_losses.nearest(mask, SIZE) for mask in targets.masks]
    present = [number not in empty for number in range(5)]
    expected = dict(
        loss_iou=0.5 * ref.predicted_iou_loss(leaves['iou_score'], logits, masks, present),
        loss_presence=2.0 * ref.presence_loss(leaves['object_score'], present),
    )
    assert_same(found, expected, leaves)
    return outputs, found


@pytest.mark.parametrize('empty', [(), (2,), (0, 3, 4), range(5)])
def test_the_losses(empty):
    outputs, found = check(empty)
    assert outputs.mask_logits.grad is None  # the IoU is a target, not a way to the mask
    assert (found['loss_iou'] == 0) == (len(empty) == 5)


@pytest.mark.parametrize(
    'replacement',
    [
        lambda logits, masks: (logits.flatten(1) > 0).double().mean(1),
        lambda logits, masks: torch.ones(len(logits), dtype=torch.float64),
    ],
)
def test_a_fault_is_noticed(replacement, monkeypatch):
    monkeypatch.setattr(prompter_cases, 'TOLERANCE', prompter_cases.FAULT_TOLERANCE)
    monkeypatch.setattr(predicted_iou, 'drawn_iou', replacement)
    with pytest.raises(AssertionError, match='differs by'):
        check()


def test_what_they_refuse():
    _, outputs, targets = case()
    outputs.iou_score = outputs.object_score = None
    with pytest.raises(UserError, match=r"score_heads=\['iou'\]"):
        PredictedIoULoss()(outputs, targets)
    with pytest.raises(UserError, match=r"score_heads=\['object'\]"):
        PresenceLoss()(outputs, targets)


# --- in a model ----------------------------------------------------------------------------------


def without_target(model, absent):
    """A batch whose sentences `absent` name nothing."""
    found = items()
    for number in absent:
        found[number]['data_samples'].gt_mask[:] = False
        found[number]['data_samples'].set_metainfo(dict(no_target=True))
    return model.data_preprocessor(unique_images_collate(found), True)


@pytest.mark.parametrize('autocast', [None, 'bfloat16'])
def test_each_loss_trains_its_head_alone_of_the_heads(autocast):
    model = build(losses=PAPER_LOSSES | SCORES, sam=HEADS)
    model.autocast = autocast
    losses = model.train()(**without_target(model, [1]), mode='loss')
    assert losses['loss_iou'].dtype == losses['loss_presence'].dtype == torch.float32
    (losses['loss_iou'] + losses['loss_presence']).backward()
    decoder = model.mask_generator.sam.mask_decoder
    for head in (decoder.iou_prediction_head, decoder.pred_obj_score_head):
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    assert not any(p.requires_grad for p in decoder.output_hypernetworks_mlps[1].parameters())


def test_the_scores_change_no_mask_and_are_off_by_default():
    off, on = stirred(build(losses=PAPER_LOSSES)), stirred(build(losses=PAPER_LOSSES, sam=HEADS))
    on.load_state_dict(off.state_dict())
    off, on = (model.eval()(batch(model)['inputs']) for model in (off, on))
    assert torch.equal(off.mask_logits, on.mask_logits)
    assert off.iou_score is off.object_score is None
    assert on.iou_score.shape == on.object_score.shape == (6,)
    heads = build(sam=dict(score_heads=['iou'])).mask_generator.sam.mask_decoder
    assert all(p.requires_grad for p in heads.iou_prediction_head.parameters())
    assert not any(p.requires_grad for p in heads.pred_obj_score_head.parameters())


def test_sam_1_has_no_object_score():
    model = build('sam', losses=SCORES | dict(presence=None), sam=dict(score_heads=['iou']))
    assert model.train()(**batch(model, training=True), mode='loss')['loss_iou'] > 0
    with pytest.raises(UserError, match='SAM 1 has no object score'):
        build('sam', sam=HEADS)
    with pytest.raises(ValueError, match='score_heads are of iou, object'):
        build(sam=dict(score_heads=['mask']))


@pytest.mark.parametrize('absent', [(), (1,), (0, 2, 5), range(6)])
def test_losses_with_a_target_see_the_others_alone(absent):
    model = build(losses=PAPER_LOSSES | SCORES | dict(dense=dict(type='DenseLoss')), sam=HEADS)
    model.eval()  # BatchNorm's statistics are of the batch in training
    model.with_target = ('seg', 'sample')
    data = without_target(model, absent)
    outputs = model(data['inputs'])
    found = model.loss(outputs, model.targets(data['data_samples'], data['inputs'].image_ids))
    model.with_target = ()
    every = model.loss(outputs, model.targets(data['data_samples'], data['inputs'].image_ids))
    assert list(found) == list(every)
    for name in ('loss_dense', 'loss_ortho', 'loss_iou', 'loss_presence'):
        assert torch.equal(found[name], every[name])  # these see all
    kept = [number for number in range(6) if number not in absent]
    if not kept:
        assert found['loss_ce'] == found['loss_dice'] == found['loss_sample'] == 0
        sum(found.values()).backward()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
        return
    data = batch(model, kept, training=True)
    alone = model.loss(
        model(data['inputs']), model.targets(data['data_samples'], data['inputs'].image_ids)
    )
    for name in ('loss_ce', 'loss_dice', 'loss_sample'):
        torch.testing.assert_close(found[name], alone[name], rtol=1e-5, atol=1e-6)
        assert absent or torch.equal(found[name], every[name])
    for name in ('loss_dice', 'loss_sample'):
        assert not absent or abs(found[name] - every[name]) > 1e-4  # it matters


def test_an_empty_mask_that_the_data_do_not_declare_counts_as_before():
    model = build(losses=PAPER_LOSSES).eval()
    data = without_target(model, [1])
    data['data_samples'][1].pop('no_target')
    terms = []
    for names in ((), ('seg', 'sample')):
        model.with_target = names
        targets = model.targets(data['data_samples'], data['inputs'].image_ids)
        terms.append(model.loss(model(data['inputs']), targets))
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])


def test_what_the_model_refuses():
    with pytest.raises(UserError, match='with_target names masks: model.losses has no such loss'):
        model = build(losses=PAPER_LOSSES)
        model.check_values(
            autocast=None,
            frozen_dtype='float32',
            with_target=['masks'],
            losses=PAPER_LOSSES,
            presence_threshold=None,
            sam={},
        )
    with pytest.raises(UserError, match="needs SAM's object score"):
        model.check_values(
            autocast=None,
            frozen_dtype='float32',
            with_target=[],
            losses=None,
            presence_threshold=0.5,
            sam=dict(score_heads=['iou']),
        )


@torch.no_grad()
def test_a_low_presence_empties_the_mask():
    model = stirred(build(sam=HEADS)).eval()
    plain = model.test_step(unique_images_collate(items()))
    presences = sorted(float(sample.presence) for sample in plain)
    assert presences[0] < presences[-1]
    model.presence_threshold = (presences[2] + presences[3]) / 2
    found = model.test_step(unique_images_collate(items()))
    emptied = 0
    for before, after in zip(plain, found, strict=True):
        assert before.presence == after.presence and before.predicted_iou == after.predicted_iou
        if after.presence < model.presence_threshold:
            emptied += 1
            assert not after.pred_mask.any()
            assert torch.equal(after.drawn_mask, before.pred_mask)
        else:
            assert torch.equal(after.pred_mask, before.pred_mask) and 'drawn_mask' not in after
    assert emptied == 3


@torch.no_grad()
def test_scores_are_averaged_over_the_symmetries():
    model = stirred(build(sam=HEADS)).eval()
    found = items()
    found[4]['data_samples'].set_metainfo(dict(text='the second ship'))  # is not rewritten
    data = unique_images_collate(found)
    (first,) = [model.test_step(data)[4]]
    model.test_symmetries = 'flips'
    samples = model.test_step(data)
    assert float(samples[4].presence) == pytest.approx(float(first.presence), abs=1e-6)
    logits = []
    for symmetry in GROUPS['flips']:
        item = items()[0]
        item['inputs'] = symmetry.maps(item['inputs'], y=1, x=2).contiguous()
        (sample,) = [item['data_samples']]
        inputs = model.data_preprocessor(unique_images_collate([item]))['inputs']
        assert sample.text == 'a ship'  # of no direction
        logits.append(model(inputs).object_score[0])
    expected = float(torch.stack(logits).mean().sigmoid())
    assert float(samples[0].presence) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
@torch.no_grad()
def test_the_scores_are_those_of_transformers_decoder(kind):
    """`plain_forms` asks transformers' decoder itself, all of its heads."""
    heads = dict(score_heads=['iou', 'object'] if kind == 'sam2' else ['iou'])
    model = stirred(build(kind, sam=heads)).eval()
    found = model(batch(model)['inputs'])
    with plain_forms():
        expected = model(batch(model)['inputs'])
    torch.testing.assert_close(found.iou_score, expected.iou_score, rtol=1e-4, atol=1e-5)
    assert found.iou_score.std() > 1e-3
    if kind == 'sam2':
        torch.testing.assert_close(found.object_score, expected.object_score, rtol=1e-4, atol=1e-4)
        assert found.object_score.std() > 1e-3
