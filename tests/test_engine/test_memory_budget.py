"""`memory_budget`: what is picked, said and refused, and that the training stays the same."""

import pytest
import torch
from mmengine.config import Config

from rsrefseg2.engine import build_runner, load_config
from rsrefseg2.engine.memory_budget import (
    apply_memory_budget,
    batch_of,
    bytes_of,
    in_half,
    states_of,
)
from rsrefseg2.errors import UserError
from rsrefseg2.profiling.complexity import build_on_meta
from rsrefseg2.profiling.kept_memory import count_step
from rsrefseg2.profiling.recompute_choice import least, units_in
from tests.training import prepare, write_config

MIB = 2**20


@pytest.fixture(scope='module')
def config(tmp_path_factory, towers, rrsisd_root):
    return write_config(
        tmp_path_factory.mktemp('config') / 'tiny.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
    )


@pytest.mark.parametrize(
    ('text', 'value'),
    [('40GiB', 40 * 2**30), ('1.5 GB', 1500 * 10**6), ('512MiB', 512 * MIB), ('3MB', 3 * 10**6)],
)
def test_amounts(text, value):
    assert bytes_of(text) == value


@pytest.mark.parametrize('text', ['40', '0GiB', '-1GiB', '40gib', 'GiB', '40GiB!', ''])
def test_what_is_no_amount(text):
    with pytest.raises(UserError, match="such as '40GiB'"):
        bytes_of(text)


def test_the_batch_is_that_of_the_loader():
    assert batch_of(load_config('configs/synthrs_tiny.py')) == (4, 24)
    assert batch_of(load_config('configs/rrsisd_tiny.py'))[0] > 1


def test_an_impossible_budget_says_the_least(config, tmp_path):
    cfg = prepare(config, tmp_path / 'a', memory_budget='1MiB')
    with pytest.raises(UserError) as caught:
        build_runner(cfg, training=True)
    line = str(caught.value)
    assert 'memory_budget=1MiB is too little: 2 images and 2 sentences a device need at' in line
    assert 'lower train_dataloader.batch_size=2' in line and '\n' not in line
    assert not list((tmp_path / 'a').glob('*/*.log'))


def test_one_is_picked_said_and_the_training_is_the_same(config, tmp_path):
    """Bit for bit; a budget between the least and the most takes something, not all."""
    ends, needs = {}, {}
    for budget in (None, '1GiB', 'least', 'between'):
        name = str(budget)
        if budget in ('least', 'between'):
            low, high = _least(config, tmp_path), needs['1GiB']
            amount = low + 1e-4 if budget == 'least' else (low + high) / 2
            budget = f'{amount * 1024:.4f}MiB'
        options = {} if budget is None else {'memory_budget': budget}
        cfg = prepare(config, tmp_path / name, **options, **{'train_cfg.max_epochs': 1})
        runner = build_runner(cfg, training=True)
        log = ''.join(path.read_text() for path in (tmp_path / name).glob('*/*.log'))
        assert ('computed again in the backward pass' in log) == (budget is not None)
        runner.train()
        if budget is not None:
            (line,) = (one for one in log.splitlines() if f'memory_budget={budget}: ' in one)
            needs[name] = _exact(cfg)
            again = [
                getattr(module, 'gradient_checkpointing', False)
                for tower in runner.model.towers()
                for module in tower.modules()
            ]
            assert any(again) == (name != '1GiB') == ('nothing' not in line)
        ends[name] = {n: p.detach().clone() for n, p in runner.model.named_parameters()}
    assert needs['least'] < needs['between'] < needs['1GiB']
    for name, found in ends.items():
        assert all(torch.equal(found[n], value) for n, value in ends['None'].items()), name


def _exact(cfg):
    """GiB that a config's step needs with the units that it computes again."""
    step = count_step(cfg.model, *batch_of(cfg))
    again = units_in(cfg.model, dict.fromkeys(layer.unit for layer in step.layers))
    return (states_of(cfg, step) + step.kept(again) + step.largest_again(again)) / 2**30


def _least(config, folder):
    """GiB of the smallest budget that can be met."""
    cfg = prepare(config, folder / 'least one')
    step = count_step(cfg.model, *batch_of(cfg))
    found = least(step)
    return (states_of(cfg, step) + found.kept + found.largest) / 2**30


@pytest.mark.parametrize(
    ('strategy', 'options', 'each', 'trained'),
    [  # bytes of a parameter, and more of one that is trained
        ('single', {}, 4, 4 + 8),
        ('ddp', {}, 4, 4 + 4 + 8),
        ('zero2_bf16', {}, 2, 2 + 4 + 8 + 4),
        ('fsdp2', {}, 4 + 4, 4 + 8),
        ('fsdp2', {'param_dtype': 'bfloat16'}, 4 + 2, 4 + 8),
    ],
)
def test_states_of_a_strategy(config, tmp_path, strategy, options, each, trained):
    """As of one device that holds all; in BF16 half is kept for the backward pass, or somewhat
    more: losses are in float32."""
    cfg = prepare(config, tmp_path / 'a')
    plain = count_step(cfg.model, 1, 2)
    cfg.strategy = dict(Config.fromfile(f'configs/_base_/strategies/{strategy}.py').strategy)
    cfg.strategy.update(options)
    step = count_step(cfg.model, 1, 2, half=in_half(cfg))
    model = build_on_meta(cfg.model.to_dict())
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    assert states_of(cfg, step) == sum(n * (each + trained * takes) for n, takes in sizes)
    half = strategy == 'zero2_bf16' or bool(options)
    ratio = step.kept([]) / plain.kept([])
    assert 0.45 < ratio < 0.75 if half else ratio == 1


def test_a_model_without_such_layers_is_refused():
    cfg = load_config('configs/baselines/synthrs_lavt_tiny.py')
    cfg.memory_budget = '1GiB'
    with pytest.raises(UserError, match='memory_budget picks layers of SAM and SigLIP, which LAVT'):
        apply_memory_budget(cfg)


def test_an_unknown_strategy_is_refused(config, tmp_path):
    """What it holds for each weight is not known."""
    cfg = prepare(config, tmp_path / 'a', memory_budget='1GiB')
    cfg.strategy = dict(type='MyStrategy')
    with pytest.raises(UserError, match='FSDP2Strategy hold, not MyStrategy: set memory_budget'):
        apply_memory_budget(cfg)
