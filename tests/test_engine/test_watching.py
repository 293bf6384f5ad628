"""A real run as a user watches it: its log, TensorBoard, W&B, panels, bars; and after a resume."""

import importlib.machinery
import io
import json
import sys
import types

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement
from PIL import Image

from rsrefseg2.engine import PanelHook, ProgressBarHook, RuntimeInfoHook, build_runner, panel_hook
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import COLUMNS
from rsrefseg2.registry import DATASETS
from rsrefseg2.visualization import read_runs
from tests.training import prepare, train, write_config

LOSSES = {'loss', 'loss_ce', 'loss_dice', 'loss_ortho', 'loss_sample'}


class FakeWandb(types.ModuleType):
    """What we use of wandb, written down: a run refuses a step before its last one, as W&B does."""

    class errors:
        class Error(Exception):
            pass

    def __init__(self):
        super().__init__('wandb')
        self.__spec__ = importlib.machinery.ModuleSpec('wandb', None)
        self.started, self.rows, self.finished, self.refuses = [], [], 0, False

    def Image(self, array):
        assert array.dtype == np.uint8 and array.ndim == 3
        return 'image'

    def init(self, project=None, dir=None, config=None, id=None, resume=None):
        if self.refuses:
            raise self.errors.Error('no key')
        self.started.append(dict(project=project, id=id, resume=resume))
        self.id, self.run = id or f'made{len(self.started)}', self
        return self

    def log(self, values, step):
        assert not self.rows or step >= self.rows[-1][0]
        self.rows.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.fixture(scope='module')
def watched(tmp_path_factory, towers, rrsisd_root):
    """Two epochs of two iterations, then a third by a resume: with the fake W&B."""
    config = write_config(
        tmp_path_factory.mktemp('config') / 'tiny.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
    )
    folder, wandb = tmp_path_factory.mktemp('watched'), FakeWandb()
    options = {
        'visualizer.tensorboard': True,
        'visualizer.wandb.project': 'mine',
        'val_dataloader.dataset.split': 'train',
        'custom_hooks.3.n': 3,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'wandb', wandb)
        train(config, folder, **options, **{'train_cfg.max_epochs': 2})
        train(config, folder, **options, **{'train_cfg.max_epochs': 3, 'resume': True})
    dataset = DATASETS.build(prepare(config, folder).train_dataloader.dataset)
    ids = [dataset.get_data_info(i)['sample_id'] for i in (0, 2, 3)]  # evenly over the four
    names = [f'{number:03d}_{sample_id}' for number, sample_id in enumerate(ids)]
    return types.SimpleNamespace(folder=folder, wandb=wandb, config=config, panels=names)


def test_the_log_holds_what_users_watch(watched):
    lines = [
        json.loads(line)
        for path in sorted(watched.folder.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    steps = [line for line in lines if 'loss' in line]
    assert [line['step'] for line in steps] == [1, 2, 3, 4, 5, 6]
    for line in steps:
        assert LOSSES | {
            'grad_norm',
            'lr',
            'images_per_s',
            'sentences_per_s',
            'data_share',
            'peak_gib',
        } <= set(line)
        assert 'base_lr' not in line
        assert 0 < line['data_share'] < 1 and 0 < line['images_per_s'] <= line['sentences_per_s']
        assert 0.05 < line['peak_gib'] < 50 and line['grad_norm'] > 0
    # scored by iteration; what a resume finds due is scored again
    assert [line['step'] for line in lines if 'gIoU' in line] == [2, 4, 4, 6]
    text = max(watched.folder.glob('*/*.log')).read_text()
    assert 'eta: ' in text and 'images_per_s: ' in text
    assert ' trainable, 6 iterations\n' in text
    head, rule, *rows = text.partition('Scores of the validations in percent\n')[2].splitlines()
    assert head.split() == ['epoch', *COLUMNS] and set(rule) == {'-'}
    assert [row.split()[0] for row in rows] == ['2', '3']  # those of this start


def test_the_log_names_the_base_rate_where_it_differs():
    """By itself where the first group of parameters has a share of it."""
    hub = MessageHub.get_instance('test_base_rate')
    hook = RuntimeInfoHook()
    for rates, names in (
        (dict(lr=[0.1, 0.2], base_lr=[0.2]), {'lr', 'base_lr'}),
        (dict(lr=[0.2, 0.1], base_lr=[0.2]), {'lr'}),
        (dict(lr=[0.2]), {'lr'}),
    ):
        wrapper = types.SimpleNamespace(get_lr=lambda rates=rates: rates)
        runner = types.SimpleNamespace(message_hub=hub, iter=0, optim_wrapper=wrapper)
        hook.before_train_iter(runner, 0)
        assert {name.removeprefix('train/') for name in hub.log_scalars} == names


def test_tensorboard_has_one_curve(watched):
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    board = event_accumulator.EventAccumulator(str(watched.folder / 'tensorboard')).Reload()
    (run,) = read_runs([watched.folder])
    for name, curve in run.curves.items():
        found = {event.step: event.value for event in board.Scalars(name)}
        assert found == pytest.approx(curve, rel=1e-5), name
    assert len(list((watched.folder / 'tensorboard').iterdir())) == 2  # a file for each start
    assert {event.step for event in board.Images(f'panels/{watched.panels[0]}')} == {2, 4, 6}


def test_a_crash_leaves_no_step_twice_in_tensorboard(tmp_path):
    """Steps 1 to 5 are written, then the run goes on after its checkpoint of step 3."""
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    from mmengine.config import Config

    from rsrefseg2.engine.visualizer import TensorBoard

    for start, steps in ((0, range(1, 6)), (3, range(4, 8))):
        board = TensorBoard(str(tmp_path))
        board.add_scalars(dict(lost=1.0), step=1)  # not begun: a test
        board.begin(Config(dict(a=1)), start)
        for step in steps:
            board.add_scalars(dict(loss=100.0 * start + step, iter=step), step=step)
        board.close()
    found = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()['scalars'] == ['train/loss']
    assert [(event.step, event.value) for event in found.Scalars('train/loss')] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 304),
        (5, 305),
        (6, 306),
        (7, 307),
    ]


def test_wandb_goes_on_in_the_same_run(watched):
    folder, wandb = watched.folder, watched.wandb
    assert wandb.started == [
        dict(project='mine', id=None, resume=None),
        dict(project='mine', id='made1', resume='allow'),
    ]
    assert (folder / 'wandb_run_id').read_text() == 'made1' and wandb.finished == 2
    assert [step for step, row in wandb.rows if 'train/loss' in row] == [1, 2, 3, 4, 5, 6]
    assert {step for step, row in wandb.rows if 'val/gIoU' in row} == {2, 4, 6}
    assert {step for step, row in wandb.rows if f'panels/{watched.panels[2]}' in row} == {2, 4, 6}


def test_panels_of_the_same_samples_after_each_validation(watched):
    folder = watched.folder / 'panels'
    assert sorted(path.name for path in folder.iterdir()) == ['epoch_1', 'epoch_2', 'epoch_3']
    names = [sorted(path.name for path in one.iterdir()) for one in folder.iterdir()]
    assert names == 3 * [[f'{name}.png' for name in watched.panels]]
    picture = np.asarray(Image.open(folder / 'epoch_1' / names[0][0]))
    assert picture.shape[1] > 4 * 320 and picture.std() > 10


def test_each_rank_gives_the_panels_that_it_predicted(monkeypatch, tmp_path):
    """And the main process alone writes."""

    def sample(number):
        mask = torch.zeros(8, 8, dtype=torch.bool)
        mask[: number + 1] = True
        return BaseDataElement(
            metainfo=dict(sample_id=f's{number}', text='a ship', category=None),
            pred_mask=mask,
            gt_mask=mask,
        )

    class Split(list):
        def get_data_info(self, index):
            return dict(sample_id=self[index].sample_id)

    runner = types.SimpleNamespace(
        val_dataloader=types.SimpleNamespace(dataset=Split(map(sample, range(10)))),
        work_dir=tmp_path,
        iter=6,
        visualizer=None,
        train_loop=types.SimpleNamespace(epoch_length=4, by_epoch=True),
    )
    shown = []
    for rank in (1, 0):
        hook, mine = PanelHook(n=4), runner.val_dataloader.dataset[5 * rank : 5 * rank + 5]
        hook.before_val_epoch(runner)
        images = [torch.full((3, 8, 8), 20 * i, dtype=torch.uint8) for i in range(5)]
        hook.after_val_iter(runner, 0, dict(inputs=images, image_index=torch.arange(5)), mine)
        shown.append(hook._drawn)
        monkeypatch.setattr(panel_hook, 'all_gather_object', lambda own: shown)
        monkeypatch.setattr(panel_hook, 'is_main_process', lambda rank=rank: rank == 0)
        hook.after_val_epoch(runner)
        assert (tmp_path / 'panels').exists() == (rank == 0)
    assert [sorted(part) for part in shown] == [[2, 3], [0, 1]]
    files = sorted((tmp_path / 'panels' / 'iter_6').iterdir())
    assert [path.name for path in files] == ['000_s0.png', '001_s3.png', '002_s6.png', '003_s9.png']
    # the image of sample 3 is its own: grey 60
    assert np.asarray(Image.open(files[1]))[150, 100].tolist() == [60, 60, 60]


def test_what_is_missing_or_misspelt_is_one_line_before_the_towers(watched, tmp_path, monkeypatch):
    wandb, config = watched.wandb, watched.config
    for package in ('tensorboard', 'wandb'):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            UserError, match=rf"visualizer.{package} needs .*'rsrefseg2\[{package}\]'"
        ):
            build_runner(prepare(config, tmp_path / package, **{f'visualizer.{package}': True}))
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    with pytest.raises(UserError, match="no option 'projekt' .did you mean project"):
        build_runner(prepare(config, tmp_path / 'a', **{'visualizer.wandb.projekt': 'x'}))
    with pytest.raises(UserError, match="'tensorbord' .did you mean tensorboard"):
        prepare(config, tmp_path / 'b', **{'visualizer.tensorbord': True})
    monkeypatch.setattr(wandb, 'refuses', True)
    runner = build_runner(prepare(config, tmp_path / 'c', **{'visualizer.wandb': True}))
    with pytest.raises(UserError, match='no key.*WANDB_MODE=offline'):
        runner.visualizer.begin(runner.cfg, 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_on_a_terminal_alone(monkeypatch):
    """One of training that stays, and one of a validation within it; nothing in a file."""
    import logging

    from mmengine.logging import MessageHub

    hub = MessageHub.get_instance('bars')
    hub.update_scalars({'train/loss': 1.25, 'train/images_per_s': 7.5, 'train/data_share': 0.03})
    hub.update_info('eta', 3725.4)
    runner = types.SimpleNamespace(
        max_iters=10,
        iter=4,
        message_hub=hub,
        val_dataloader=range(3),
        logger=logging.getLogger('bars'),
    )
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, 'stderr', stream)
        hook = ProgressBarHook()
        hook.before_train(runner)
        hook.after_train_iter(runner, 0)
        hook.before_val_epoch(runner)
        for i in range(3):
            hook.after_val_iter(runner, i)
        assert set(hook._bars) == ({'train', 'val'} if shown else set())
        hook.after_val_epoch(runner)
        bar = str(hook._bars['train']) if shown else ''
        hook.after_train(runner)
        assert not hook._bars
        if shown:
            assert bar.startswith('train 5/10 |')
            assert bar.endswith('loss 1.250, 7.5 images/s, data 3%, eta 1:02:05')
            assert 'val' in stream.getvalue()
        else:
            assert not stream.getvalue()
