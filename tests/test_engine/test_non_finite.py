"""A loss that is NaN or infinite: named and stopped, or named and skipped; never trained on."""

import pytest
import torch
from mmengine.hooks import Hook

from rsrefseg2.engine import build_runner
from rsrefseg2.engine.train_loop import MOST_SKIPPED
from rsrefseg2.errors import UserError
from rsrefseg2.models import RSRefSeg2
from tests.training import Recorder, prepare, write_config


class States(Recorder):
    """Everything in the model and the optimizer's step counts, after each iteration."""

    def before_train(self, runner):
        super().before_train(runner)
        self.states = [self.now(runner)]

    def after_step(self, runner):
        self.states.append(self.now(runner))

    @staticmethod
    def now(runner):
        steps = {
            i: entry['step'].clone()
            for i, entry in runner.optim_wrapper.optimizer.state_dict()['state'].items()
        }
        return {name: value.clone() for name, value in runner.model.state_dict().items()}, steps


@pytest.fixture
def broken(monkeypatch):
    """broken(which, value): the loss of the calls in `which` is `value`."""

    def broken(which, value=float('nan')):
        calls, loss = [], RSRefSeg2.loss

        def spoilt(*args):
            calls.append(1)
            terms = loss(*args)
            if len(calls) in which:
                terms['loss_ortho'] = terms['loss_ortho'] * value
            return terms

        monkeypatch.setattr(RSRefSeg2, 'loss', spoilt)

    return broken


@pytest.fixture
def config(tmp_path, towers, rrsisd_root):
    return write_config(
        tmp_path / 'tiny.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )


def run(config, folder, **options):
    runner, states = (
        build_runner(
            prepare(
                config,
                folder,
                **{'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 9, **options},
            )
        ),
        States(),
    )
    runner.register_hook(states)
    runner.train()
    return states


def equal(one, other):
    return all(
        torch.equal(one[part][key], other[part][key]) for part in range(2) for key in one[part]
    )


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_it_stops_and_names_the_samples(config, tmp_path, broken, value):
    broken({2}, value)
    with pytest.raises(
        UserError,
        match=rf'the loss is {value} on rank 0, samples \d+ \(\S+'
        r'\.jpg\), \d+ \(\S+\.jpg\): look at them',
    ) as caught:
        run(config, tmp_path / 'run')
    assert "non_finite='skip'" in str(caught.value)


def test_it_is_skipped_and_nothing_moves(config, tmp_path, broken):
    """Neither weights and moments, nor BatchNorm's statistics, which the forward pass moved."""
    broken({2})
    states = run(config, tmp_path / 'run', **{'train_cfg.non_finite': 'skip'}).states
    assert len(states) == 5
    assert [equal(*pair) for pair in zip(states, states[1:])] == [False, True, False, False]
    assert all(value.isfinite().all() for value in states[-1][0].values())
    log = ''.join(path.read_text() for path in (tmp_path / 'run').glob('*/*.log'))
    assert log.count('its update is skipped') == 1


def test_too_many_in_a_row_end_the_run(config, tmp_path, broken):
    broken({1, *range(3, 99)})  # one good batch begins the count anew
    with pytest.raises(UserError, match=f'the {MOST_SKIPPED}th batch in a row'):
        run(
            config, tmp_path / 'run', **{'train_cfg.non_finite': 'skip', 'train_cfg.max_epochs': 20}
        )


def test_skipping_does_not_go_with_accumulation(config, tmp_path):
    with pytest.raises(UserError, match='accumulative_counts'):
        run(
            config,
            tmp_path / 'run',
            **{'train_cfg.non_finite': 'skip', 'optim_wrapper.accumulative_counts': 2},
        )


def test_weights_that_are_not_finite_are_not_saved(config, tmp_path):
    class Spoil(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if batch_idx == 1:
                with torch.no_grad():
                    runner.model.prompter.visual_pe[0, 0] = float('nan')

    runner = build_runner(prepare(config, tmp_path / 'run'))
    runner.register_hook(Spoil())
    with pytest.raises(
        UserError,
        match=r'1 weights are NaN or infinite after 2 iterations '
        r'\(prompter\.visual_pe\), \S+epoch_1\.pth is not',
    ):
        runner.train()
    assert not list((tmp_path / 'run').glob('*.pth'))
