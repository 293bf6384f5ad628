"""Memory levers in a run: the optimizer's share, accumulation's line, ranks, precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from rsrefseg2.engine import build_runner
from rsrefseg2.engine.checkpoint import load_checkpoint
from rsrefseg2.registry import MODELS
from tests.training import Recorder, prepare, run_in_new_process, write_config

from . import memory_ranks

ROOT = Path(__file__).parents[2]
COMPILED = 2e-2  # BF16 has 8 bits; what is compiled rounds in other places
LEVERS = {
    'model.autocast': 'bfloat16',
    'model.frozen_dtype': 'bfloat16',
    'model.sam.recompute': [1, 2],
    'model.siglip.vision_recompute': True,
    'model.siglip.text_recompute': True,
}


@pytest.fixture(scope='module')
def config(tmp_path_factory, towers, rrsisd_root):
    return write_config(
        tmp_path_factory.mktemp('config') / 'tiny.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
    )


def log_of(folder):
    return ''.join(path.read_text() for path in folder.glob('*/*.log'))


def test_a_run_with_every_lever(config, tmp_path):
    """It trains what is trained, clips, accumulates, validates; the optimizer holds the trained
    parameters and nothing else; a model without any lever reads its checkpoint."""
    runner = build_runner(
        prepare(config, tmp_path / 'run', **LEVERS, **{'optim_wrapper.accumulative_counts': 2})
    )
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    optimizer = runner.optim_wrapper.optimizer
    held = [id(p) for group in optimizer.param_groups for p in group['params']]
    trained = [id(p) for p in runner.model.parameters() if p.requires_grad]
    assert sorted(held) == sorted(trained) and len(held) == len(set(held))
    assert {id(p) for p in optimizer.state} == set(trained)
    moved = {
        name for name, value in recorder.start.items() if not torch.equal(value, recorder.end[name])
    }
    assert moved and moved <= recorder.trained
    assert {recorder.end[name].dtype for name in recorder.trained} == {torch.float32}
    log = log_of(tmp_path / 'run')
    assert 'grad_norm' in log and 'gIoU' in log
    assert (
        'accumulative_counts=2 is not the same as a batch 2 times as large: '
        "BatchNorm's statistics (model.prompter.dense) and the sample contrast "
        '(model.losses.sample) see one batch of 2 sentences a device at a time'
    ) in log

    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert {value.dtype for value in saved.values() if value.is_floating_point()} == {torch.float32}
    plain = MODELS.build(prepare(config, tmp_path / 'plain').model)
    load_checkpoint(plain, tmp_path / 'run' / 'epoch_1.pth')
    assert {p.dtype for p in plain.parameters()} == {torch.float32}
    assert all(
        torch.equal(p, recorder.end[name])
        for name, p in plain.named_parameters()
        if p.requires_grad
    )


@pytest.mark.parametrize(
    ('options', 'named', 'not_named'),
    [
        ({'model.losses.sample': None}, 'BatchNorm', 'contrast'),
        ({'model.prompter.dense': None}, 'contrast', 'BatchNorm'),
        ({'model.losses.sample': None, 'model.prompter.dense': None}, '', 'not the same'),
        ({'optim_wrapper.accumulative_counts': 1}, '', 'not the same'),
    ],
)
def test_accumulation_names_only_what_the_model_has(config, tmp_path, options, named, not_named):
    build_runner(
        prepare(
            config, tmp_path / tmp_path.name, **{'optim_wrapper.accumulative_counts': 2, **options}
        )
    )
    lines = [
        line
        for line in log_of(tmp_path / tmp_path.name).splitlines()
        if 'WARNING' in line and 'not the same as a batch' in line
    ]
    assert len(lines) == bool(named)
    assert all(named in line and not_named not in line for line in lines)


@pytest.mark.slow
def test_two_ranks_have_the_gradients_of_plain_layers(tmp_path):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    subprocess.run(
        [sys.executable, '-m', 'tests.test_engine.memory_ranks', str(tmp_path)],
        check=True,
        cwd=ROOT,
        timeout=3000,
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'),
    )
    found = {case: torch.load(tmp_path / f'{case[0]} {case[1]}.pth') for case in memory_ranks.CASES}
    for wrapper in ('DDP', 'FSDP2'):
        graphs = [int(found[wrapper, way].pop('graphs')) for way in memory_ranks.WAYS]
        assert graphs[0] == graphs[1] == 0 < min(graphs[2:])
        once = found[wrapper, 'plain']
        assert any('lora_A' in name for name in once)
        for way in memory_ranks.WAYS[1:]:
            other = found[wrapper, way]
            assert once.keys() == other.keys()
            if way == 'again':
                assert all(torch.equal(once[name], other[name]) for name in once), wrapper
            else:  # BF16 in another order
                norms = [nn.utils.parameters_to_vector(one.values()) for one in (once, other)]
                apart = (norms[0] - norms[1]).norm() / norms[0].norm()
                assert apart < COMPILED, (wrapper, way, apart)


@pytest.mark.slow
def test_zero2_compiles(towers, rrsisd_root, tmp_path, monkeypatch):
    """The losses of the same iterations, with compiled blocks and without; on one rank."""
    monkeypatch.setenv('TORCH_LOGS', 'graph_code')  # writes what was traced to stderr
    config = write_config(
        tmp_path / 'zero2.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
        strategy='zero2_bf16',
    )
    losses = []
    for way in ('plain', 'compiled'):
        options = [f'model.compile_blocks={memory_ranks.BACKEND}'] * (way == 'compiled')
        done = run_in_new_process(
            'train.py',
            config,
            '--work-dir',
            tmp_path / way,
            '--cfg-options',
            'train_cfg.val_interval=9',
            *options,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert ('TRACED GRAPH' in done.stderr) == (way == 'compiled')
        (path,) = (tmp_path / way).glob('*/vis_data/scalars.json')
        lines = map(json.loads, path.read_text().splitlines())
        losses.append([line['loss'] for line in lines if 'loss' in line])
    assert len(losses[0]) == 2 and losses[1] == pytest.approx(losses[0], rel=COMPILED)


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['single', 'ddp', 'fsdp2', 'zero2_bf16'])
def test_every_strategy_trains_with_every_lever(strategy, towers, rrsisd_root, tmp_path):
    """Resumed with accumulation; tested on one device without any lever."""
    config = write_config(
        tmp_path / f'{strategy}.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
        strategy=strategy,
    )
    options = ['--cfg-options', *(f'{key}={value}' for key, value in LEVERS.items())]
    for more in ([], ['train_cfg.max_epochs=2', 'optim_wrapper.accumulative_counts=2']):
        done = run_in_new_process(
            'train.py',
            config,
            '--work-dir',
            tmp_path / 'run',
            *['--resume'] * bool(more),
            *options,
            *more,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    done = run_in_new_process(
        'test.py', config, tmp_path / 'run' / 'epoch_2.pth', '--work-dir', tmp_path / 'test'
    )
    assert done.returncode == 0, done.stderr[-3000:]
