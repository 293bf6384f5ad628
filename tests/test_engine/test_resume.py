"""A run that was stopped anywhere and resumed ends as the run that was not, bit for bit."""

import json
import os
import random
import shutil
import signal

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from rsrefseg2.engine import build_runner
from rsrefseg2.engine.checkpoint import differing, find_newest, optim_file
from rsrefseg2.errors import UserError
from rsrefseg2.registry import TRANSFORMS
from tests.training import Recorder, prepare, run_in_new_process, write_config

ITERATIONS = 6  # 3 epochs of 2


class StopAt(Hook):
    """Dies, or is asked to stop, after some iteration; or within the validation after it."""

    priority = 'HIGH'

    def __init__(self, iteration, *, how='die', in_validation=False, number=signal.SIGTERM):
        self.iteration, self.how, self.in_validation = iteration, how, in_validation
        self.number = number

    def _stop(self):
        if self.how == 'die':
            raise KeyboardInterrupt
        os.kill(os.getpid(), self.number)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration and not self.in_validation:
            self._stop()

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration and self.in_validation:
            self._stop()


@TRANSFORMS.register_module(force=True)
class RandomGain:
    """Draws from all three generators."""

    def __call__(self, results):
        gain = random.random() * np.random.rand() * float(torch.rand(1)) + 0.5
        image = results['img'].astype(np.float32) * gain
        return dict(results, img=image.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope='module')
def config(tmp_path_factory, towers, rrsisd_root):
    """Random transforms and dropout; validated every 3 iterations on the training split."""
    path = write_config(
        tmp_path_factory.mktemp('config') / 'tiny.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
    )
    path.write_text(
        path.read_text()
        + """
train_cfg = dict(_delete_=True, type='RefSegTrainLoop', max_iters=6, val_interval=3)
train_dataloader['dataset'] = dict(data, pipeline=[
    dict(type='LoadImage'), dict(type='RandomGain'), dict(type='LoadMask'),
    dict(type='PackRefSegInputs')])
val_dataloader['dataset'] = dict(data, split='train')
model['siglip']['vision_lora'].update(dropout=0.2)
optim_wrapper['paramwise_cfg'] = dict(decay_1d=False, rates={'encoder.': 0.5})  # four groups
default_hooks['checkpoint'] = dict(interval=2, by_epoch=False)
"""
    )
    return path


def train(config, folder, *hooks, recorder=None, **options):
    runner, recorder = build_runner(prepare(config, folder, **options)), recorder or Recorder()
    for hook in (recorder, *hooks):
        runner.register_hook(hook)
    try:
        runner.train()
    finally:  # workers that the garbage collector ends are waited for, 5 s each
        workers = getattr(runner.train_loop.dataloader, '_iterator', None)
        if hasattr(workers, '_shutdown_workers'):
            workers._shutdown_workers()
    return recorder


def last(folder, name=f'iter_{ITERATIONS}'):
    return folder / f'{name}.pth'


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    recorder = train(config, folder)
    assert len(recorder.losses) == ITERATIONS
    return last(folder), recorder


@pytest.mark.slow
def test_what_is_compared_depends_on_every_generator(config, whole, tmp_path):
    """The control: another seed, and no random transform, end elsewhere."""
    plain = [dict(type=name) for name in ('LoadImage', 'LoadMask', 'PackRefSegInputs')]
    for name, options in dict(
        seed={'randomness.seed': 1},
        transform={'train_dataloader.dataset.pipeline': plain},
        dropout={'model.siglip.vision_lora.dropout': 0.0},
    ).items():
        train(config, tmp_path / name, **options)
        assert any(
            place.startswith('weights/') for place in differing(last(tmp_path / name), whole[0])
        ), name


def stopped(config, folder, stop, expected, **options):
    """The losses of the iterations that a run did before `stop`."""
    recorder = Recorder()
    with pytest.raises(expected) as caught:
        train(config, folder, stop, recorder=recorder, resume=True, **options)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    return recorder.losses, caught.value


def best_in(folder):
    return [path.name for path in folder.glob('best_*')]


def test_died_and_resumed(config, whole, tmp_path):
    """At one point after the other; each time it goes on from the checkpoint before."""
    saved, losses = 0, whole[1].losses
    for at, in_validation, newest in (
        (1, False, 0),
        (3, False, 2),
        (3, True, 2),
        (4, False, 2),
        (6, False, 4),
        (6, True, 6),
    ):
        stop = StopAt(at, in_validation=in_validation)
        found, _ = stopped(config, tmp_path, stop, KeyboardInterrupt)
        # a death within an iteration comes before its loss is recorded
        assert found == losses[saved : at if in_validation else at - 1], at
        path, saved = find_newest(tmp_path)[0], newest
        assert path == (last(tmp_path, f'iter_{newest}') if newest else None)
    assert train(config, tmp_path, resume=True).losses == []
    assert not differing(last(tmp_path), whole[0])
    assert best_in(tmp_path) == best_in(whole[0].parent)


def test_a_signal_saves_at_once_and_stops(config, whole, tmp_path):
    """Between two checkpoints, within a validation, or by Ctrl-C."""
    saved, losses = 0, whole[1].losses
    for at, in_validation, number in (
        (1, False, signal.SIGTERM),
        (3, True, signal.SIGTERM),
        (5, False, signal.SIGINT),
    ):
        stop = StopAt(at, how='ask', in_validation=in_validation, number=number)
        found, error = stopped(config, tmp_path, stop, SystemExit)
        assert error.code == 128 + number and found == losses[saved:at]
        assert find_newest(tmp_path)[0].name == f'iter_{at}.pth'
        saved = at
    assert train(config, tmp_path, resume=True).losses == losses[saved:]
    assert not differing(last(tmp_path), whole[0])
    assert kept_in(tmp_path) == kept_in(whole[0].parent)


def test_a_signal_before_a_validation(config, whole, tmp_path):
    _, error = stopped(config, tmp_path, StopAt(3, how='ask'), SystemExit)
    assert error.code == 128 + signal.SIGTERM
    assert find_newest(tmp_path)[0].name == 'iter_3.pth'
    assert train(config, tmp_path, resume=True).losses == whole[1].losses[3:]
    assert not differing(last(tmp_path), whole[0])
    assert kept_in(tmp_path) == kept_in(whole[0].parent)


def kept_in(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def test_a_run_touches_no_file_outside_of_its_work_dir(config, whole, tmp_path):
    """Whatever paths the checkpoint that it goes on from has; older ones have absolute paths."""
    first, here = tmp_path / 'first', tmp_path / 'here'
    shutil.copytree(whole[0].parent, first)
    path, precious = first / 'iter_4.pth', first / 'iter_2.pth'
    precious.write_text('of others')
    second = torch.load(optim_file(path), weights_only=True)
    second['message_hub']['runtime_info'].update(
        checkpoints=[str(precious), '../first/iter_2.pth', str(path)],
        best_score=-1.0,
        best_ckpt=str(tmp_path / 'precious.txt'),
        stopped=str(precious),
    )
    torch.save(second, optim_file(path))
    (tmp_path / 'precious.txt').write_text('of others')
    before = {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()}
    train(config, here, resume=True, load_from=str(path))
    assert before == {file: file.read_bytes() for file in before}
    assert {'iter_6.pth', 'iter_6_optim.pth'} <= set(kept_in(here))
    info = torch.load(optim_file(last(here)), weights_only=True)['message_hub']['runtime_info']
    assert info['checkpoints'] == ['iter_6.pth']


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (
            {'train_dataloader.dataset.exchange_sentences': True},
            'other data than this run.*exchange_sentences=True',
        ),
        ({'train_cfg.max_iters': 3}, '4 iterations done, more than the 3'),
        ({'model.prompter.heads': 4}, 'model.prompter.heads=4 instead of 2'),
        ({'model.siglip.vision_lora.alpha': 1}, 'vision_lora.alpha=1 instead of 4'),
    ],
)
def test_what_would_compute_something_else_is_refused(config, whole, tmp_path, options, says):
    with pytest.raises(UserError, match=says):
        train(
            config, tmp_path, resume=True, load_from=str(last(whole[0].parent, 'iter_4')), **options
        )


@pytest.mark.parametrize('workers', [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_do_not_matter(config, whole, tmp_path, workers):
    options = {'train_dataloader.num_workers': workers, 'train_dataloader.persistent_workers': True}
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, StopAt(4), **options)
    train(config, tmp_path, resume=True, **options)
    assert not differing(last(tmp_path), whole[0])


@pytest.mark.slow
def test_accumulated_gradients_are_not_torn_apart(config, tmp_path):
    """A checkpoint waits for the optimizer's step, so nothing half summed is lost."""
    options = {'optim_wrapper.accumulative_counts': 3}
    train(config, tmp_path / 'whole', **options)
    assert sorted(path.name for path in (tmp_path / 'whole').glob('iter_?.pth')) == [
        'iter_3.pth',
        'iter_6.pth',
    ]
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / 'broken', StopAt(5), **options)
    train(config, tmp_path / 'broken', resume=True, **options)
    assert not differing(last(tmp_path / 'broken'), last(tmp_path / 'whole'))


@pytest.fixture(scope='module')
def died_at_5(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp('died')
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, StopAt(5))
    return folder


@pytest.mark.parametrize(
    'fault', ['cut off', 'optimizer missing', pytest.param('zeroed', marks=pytest.mark.slow)]
)
def test_a_torn_checkpoint_is_named_and_passed_over(config, whole, died_at_5, tmp_path, fault):
    shutil.copytree(died_at_5, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / 'iter_4.pth'
    second = optim_file(newest)
    content = newest.read_bytes()
    if fault == 'cut off':
        newest.write_bytes(content[:-3000])
    elif fault == 'zeroed':
        half = len(content) // 2
        newest.write_bytes(content[:half] + bytes(512) + content[half + 512 :])
    else:
        second.rename(tmp_path / 'elsewhere')
    path, lines = find_newest(tmp_path)
    assert path.name == 'iter_2.pth' and len(lines) == 1 and 'iter_4' in lines[0]
    train(config, tmp_path, resume=True)
    log = max(tmp_path.glob('*/*.log'), key=os.path.getmtime).read_text()
    assert 'passed over: checkpoint' in log and 'iter_4' in log
    assert not differing(last(tmp_path), whole[0])


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'randomness.seed': 3}, 'randomness.seed=0, not 3'),
        ({'train_dataloader.batch_size': 4}, '2 iterations an epoch, this run 1'),
    ],
)
def test_another_order_of_samples_is_refused(config, whole, tmp_path, options, says):
    with pytest.raises(UserError, match=says):
        train(
            config, tmp_path, resume=True, load_from=str(last(whole[0].parent, 'iter_4')), **options
        )


def test_a_fresh_start_in_a_used_work_dir_is_warned_of(config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, StopAt(3))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, StopAt(1))
    logs = ''.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert logs.count('this one starts afresh') == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ('first', 'second'),
    [('ddp', 'zero2_bf16'), ('zero2_bf16', 'ddp'), ('fsdp2', 'single'), ('single', 'fsdp2')],
)
def test_a_run_goes_on_under_another_strategy(towers, rrsisd_root, tmp_path, first, second):
    """Weights, moments and schedule of the second run's start are those of the first one's end."""
    for strategy, more in (
        (first, ()),
        (second, ('--resume', '--cfg-options', 'train_cfg.max_epochs=2')),
    ):
        config = write_config(
            tmp_path / f'{strategy}.py',
            siglip=towers.siglip,
            sam=towers.sam2,
            data_root=rrsisd_root,
            strategy=strategy,
        )
        config.write_text(
            config.read_text() + "optim_wrapper['paramwise_cfg'] = dict(decay_1d=False)\n"
        )
        done = run_in_new_process('train.py', config, '--work-dir', tmp_path / 'run', *more)
        assert done.returncode == 0, done.stderr[-3000:]
        if strategy == first:
            shutil.copytree(tmp_path / 'run', tmp_path / 'first')
    one, two = (
        torch.load(optim_file(tmp_path / name / f'epoch_{epoch}.pth'), weights_only=True)
        for name, epoch in (('first', 1), ('run', 2))
    )
    steps = {float(entry['step']) for entry in two['optimizer']['state'].values()}
    schedules = [end['param_schedulers'][0]['_global_step'] for end in (one, two)]
    assert steps == {4.0} and schedules == [2, 4]
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / 'run').glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    assert [line['step'] for line in lines if 'loss' in line] == [1, 2, 3, 4]
