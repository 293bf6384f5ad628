"""What a step keeps, counted once for every set of layers that are computed again: against steps
that compute them again; and the cheapest set against all of them."""

import itertools

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from rsrefseg2.models import ModelInputs
from rsrefseg2.models.towers.activation_checkpointing import recompute_in_backward
from rsrefseg2.profiling.complexity import build_on_meta, count_flops
from rsrefseg2.profiling.kept_memory import Saved, count_step, noise_samples, units_of
from rsrefseg2.profiling.recompute_choice import cheapest, choices, least, settings_of, units_in
from rsrefseg2.registry import MODELS
from tests import tiny_towers
from tests.test_models.tiny_model import PAPER_LOSSES

IMAGES, SENTENCES, WORDS, SIDE = 2, 4, 7, 64
LORA = dict(r=2)


def config(kind='sam2', **top):
    sam = dict(sam2=tiny_towers.sam2_config, sam=tiny_towers.sam_config)[kind]()
    return dict(
        type='RSRefSeg2',
        init='random',
        siglip=dict(checkpoint=tiny_towers.siglip_config(), vision_lora=LORA, text_lora=LORA),
        sam=dict(checkpoint=sam, lora=LORA),
        prompter=dict(type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16, dense=dict()),
        losses=PAPER_LOSSES,
        **top,
    )


def counted(model_cfg):
    return count_step(model_cfg, IMAGES, SENTENCES, words=WORDS, side=SIDE)


@pytest.fixture(scope='module')
def step():
    """Of `config()`."""
    return counted(config())


class Step:
    """Real steps of one model, with units switched to be computed again."""

    def __init__(self, model_cfg):
        with DefaultScope.overwrite_default_scope('rsrefseg2'):
            self.model = MODELS.build(model_cfg).train()
        self.units = units_of(self.model)
        encoder, count = self.model.encoder, torch.arange(SENTENCES)
        self.inputs = ModelInputs(
            torch.randn(IMAGES, 3, encoder.image_size, encoder.image_size),
            torch.randn(IMAGES, 3, *self.model.mask_generator.input_size),
            count % IMAGES,
            torch.ones(SENTENCES, encoder.max_length, dtype=torch.int64),
            torch.full((SENTENCES,), WORDS + 1),
            count % IMAGES,
        )

    def kept(self, again):
        for unit, layers in self.units.items():
            for layer in layers:
                recompute_in_backward(layer)
                layer.gradient_checkpointing = unit in again
        saved = Saved(self.model)
        with saved.count():
            self.model(self.inputs, noise_samples(IMAGES, SENTENCES, SIDE), mode='loss')
        return saved.nbytes


def sets_of(units):
    return [
        again for n in range(len(units) + 1) for again in itertools.combinations(sorted(units), n)
    ]


def test_saved_counts_storages_once_and_no_weights():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    saved = Saved(model)
    x = torch.zeros(7, 3)
    with saved.count():
        y = model(x)
    # x, and the ReLU's output, which the next layer keeps, too
    assert saved.nbytes == 4 * (7 * 3 + 7 * 5)
    y.sum().backward()


def test_every_set_keeps_what_is_counted_and_the_cheapest_is_picked(step):
    """64 sets of Hiera's stages and SigLIP's towers, each really computed again."""
    real = Step(config())
    kept = {again: real.kept(again) for again in sets_of(real.units)}
    assert len(kept) == 64 and len(set(kept.values())) > 40
    assert {again: step.kept(again) for again in kept} == kept

    needs = {again: kept[again] + step.largest_again(again) for again in kept}
    for room in sorted(needs.values()):
        fitting = [again for again in needs if needs[again] <= room]
        found = cheapest(step, room)
        assert found.kept + found.largest <= room
        assert found.flop == min(step.flop(again) for again in fitting)
    smallest = min(needs.values())
    assert cheapest(step, smallest - 1) is None
    assert least(step).kept + least(step).largest == smallest
    assert cheapest(step, kept[()]).again == () and cheapest(step, kept[()]).flop == 0


@pytest.mark.parametrize(
    ('kind', 'top', 'apart'),
    [('sam', {}, 0), ('sam2', dict(autocast='bfloat16', frozen_dtype='bfloat16'), 1e-2)],
)
def test_of_other_towers_and_precisions_too(kind, top, apart):
    """In BF16 not to the byte: which casts are kept differs a little without data."""
    step, real = counted(config(kind, **top)), Step(config(kind, **top))
    for again in [(), tuple(real.units), *[(unit,) for unit in real.units]]:
        assert step.kept(again) == pytest.approx(real.kept(again), rel=apart, abs=0), again


def test_a_single_layer_brings_back_what_it_spares(step):
    """Tiny Hiera's stages 1, 2 and 4 have one block; its input is kept in any case, but for that
    of the first, the patches (16 x 16 of width 8), which take no gradient."""
    for unit, more in (
        ('SAM stage 1', IMAGES * 4 * 16 * 16 * 8),
        ('SAM stage 2', 0),
        ('SAM stage 4', 0),
    ):
        assert step.largest_again([unit]) - more == step.kept([]) - step.kept([unit]) > 0
    both = step.largest_again(['SAM stage 1', 'SAM stage 4'])
    assert both == max(step.largest_again([f'SAM stage {k}']) for k in (1, 4))


def test_flop_are_those_of_the_forward_pass():
    alone = dict(config(), losses=None)
    model = build_on_meta(alone)
    one = count_step(alone, 1, 1, words=model.encoder.max_length - 1)
    assert one.forward_flop == count_flops(model)['total']
    two, units = count_step(alone, 2, 2), set(units_of(model))
    # W + B A is made once, however many images there are
    assert 1.9 * one.flop(units) < two.flop(units) <= 2 * one.flop(units)
    assert 0.5 * one.forward_flop < one.flop(units) < one.forward_flop


def test_what_the_config_computes_again_already_stays(step):
    model_cfg = config()
    units = tuple(units_of(build_on_meta(model_cfg)))
    assert units_in(model_cfg, units) == ()
    model_cfg['sam'].update(recompute=[3])
    model_cfg['siglip'].update(text_recompute=True)
    always = units_in(model_cfg, units)
    assert always == ('SAM stage 3', 'SigLIP text')
    assert counted(model_cfg) == step  # as if it were not set
    assert {one.again for one in choices(step, always)} == {
        tuple(unit for unit in units if unit in again)
        for again in sets_of(units)
        if set(always) <= set(again)
    }
    model_cfg['sam'].update(recompute=True)
    assert len(units_in(model_cfg, units)) == 5


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_settings_switch_on_the_units_and_nothing_else(kind):
    units = tuple(units_of(build_on_meta(config(kind))))
    for again in sets_of(units):
        changed = config(kind)
        for part, values in settings_of(again, units).items():
            changed[part].update(values)
        assert set(units_in(changed, units)) == set(again)
        if len(again) in (0, 3, len(units)):
            built = units_of(build_on_meta(changed))
            on = {unit for unit in units if all(x.gradient_checkpointing for x in built[unit])}
            off = {unit for unit in units if not any(x.gradient_checkpointing for x in built[unit])}
            assert on == set(again) and off == set(units) - on
