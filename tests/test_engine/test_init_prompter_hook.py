"""InitPrompterFromTowersHook: a new run begins with the towers' own answer, a resumed one not."""

import json

import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook

from rsrefseg2.engine import build_runner
from tests.training import prepare, run_in_new_process, write_config


class Watch(Hook):
    """How p_dense, at the grid's points, and cos(v, t_sent) go together before the training."""

    priority = 'VERY_LOW'

    def before_train(self, runner):
        model, dataset = runner.strategy.plain_model, runner.train_loop.dataloader.dataset
        self.n_cut = model.data_preprocessor.n_cut
        self.training = model.training
        self.weights = {k: v.clone() for k, v in model.prompter.state_dict().items()}
        batch = runner.train_loop.dataloader.collate_fn(dataset.__getitems__(range(len(dataset))))
        model.eval()
        with torch.no_grad():
            outputs = model(**model.data_preprocessor(batch, False), mode='tensor')
        model.train(self.training)
        v = F.normalize(outputs.images.v[outputs.image_index], dim=-1)
        own = torch.einsum('bnd,bd->bn', v, F.normalize(outputs.text.t_sent, dim=-1))
        side = model.encoder.grid_size
        dense = F.interpolate(outputs.prompts.p_dense[:, None], side, mode='area').flatten(1)
        self.agreement = float(torch.corrcoef(torch.stack([own.flatten(), dense.flatten()]))[0, 1])


@pytest.fixture
def plain(tmp_path, towers, rrsisd_root):
    return write_config(
        tmp_path / 'plain.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )


@pytest.fixture
def config(plain):
    path = plain.with_name('started.py')
    path.write_text(
        plain.read_text()
        + """
default_hooks['tower_start'] = dict(type='InitPrompterFromTowersHook', batches=3, sentences=2)
"""
    )
    return path


def watched(config, folder, **options):
    runner, watch = build_runner(prepare(config, folder, **options)), Watch()
    runner.register_hook(watch)
    runner.train()
    return watch


def test_a_run_begins_with_what_the_towers_say(config, plain, tmp_path):
    started, plain = (watched(path, tmp_path / path.stem) for path in (config, plain))
    assert started.agreement > 0.8 > abs(plain.agreement) + 0.2
    assert started.training and started.n_cut == plain.n_cut == 0
    changed = {
        name
        for name, value in started.weights.items()
        if not torch.equal(value, plain.weights[name])
    }
    assert changed and all(
        'dense.conv' in name or 'out_proj' in name or 'mlp.2' in name for name in changed
    )


def test_a_run_that_goes_on_is_left_alone(config, tmp_path):
    first = watched(config, tmp_path / 'run')
    again = watched(config, tmp_path / 'run', resume=True, **{'train_cfg.max_epochs': 2})
    loaded = watched(config, tmp_path / 'other', load_from=str(tmp_path / 'run/epoch_1.pth'))
    name = 'dense.conv.0.weight'
    assert not torch.equal(again.weights[name], first.weights[name])  # trained, not started again
    assert torch.equal(again.weights[name], loaded.weights[name])


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['zero2_bf16', 'fsdp2'])
def test_every_strategy_starts_alike(config, tmp_path, strategy):
    """The first loss is one device's; the weights behind BF16 copies are set as well."""
    losses = {}
    for name in ('single', strategy):
        path = tmp_path / f'{name}.py'
        path.write_text(config.read_text().replace('strategies/single', f'strategies/{name}'))
        done = run_in_new_process('train.py', path, '--work-dir', tmp_path / name)
        assert done.returncode == 0, done.stderr[-2000:]
        assert 'the prompter starts from the towers: 6 sentences read' in done.stdout + done.stderr
        (log,) = (tmp_path / name).glob('*/vis_data/scalars.json')
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        losses[name] = [row['loss'] for row in rows if 'loss' in row]
    assert losses[strategy] == pytest.approx(losses['single'], rel=0.02)
