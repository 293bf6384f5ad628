"""Training as a user runs it: reproducible, resumable, the same score in a new process."""

import json
import random
import re

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from rsrefseg2.engine import (
    build_runner,
    identify_run,
    load_config,
    load_model,
    set_scoring,
    train_loop,
)
from rsrefseg2.engine.trained_as import words_of
from rsrefseg2.evaluation import read_dump
from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.towers.fingerprints import given_keys
from rsrefseg2.registry import DATASETS, MODELS, TRANSFORMS
from tests.training import prepare, run_in_new_process, train, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory, towers, rrsisd_root):
    return write_config(
        tmp_path_factory.mktemp('config') / 'tiny.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory, config):
    """Two epochs of two iterations, validated on the training split: the record, the work dir."""
    folder = tmp_path_factory.mktemp('trained')
    return train(
        config, folder, **{'train_cfg.max_epochs': 2, 'val_dataloader.dataset.split': 'train'}
    ), folder


def test_the_same_seed_gives_the_same_losses_bit_for_bit(trained, config, tmp_path):
    again = train(config, tmp_path / 'again', **{'train_cfg.max_epochs': 2})
    assert len(again.losses) == 4
    assert again.losses == trained[0].losses
    other = train(config, tmp_path / 'other', **{'train_cfg.max_epochs': 2, 'randomness.seed': 1})
    assert other.losses != trained[0].losses


def test_lora_starts_at_zero_after_the_runners_start(trained):
    """mmengine initialises weights at the runner's start; LoRA's B must come through as 0."""
    b = {name: value for name, value in trained[0].start.items() if 'lora_B' in name}
    assert b and all(not value.any() for value in b.values())
    a = [value for name, value in trained[0].start.items() if 'lora_A' in name]
    assert all(bool(value.any()) for value in a)


def test_the_runners_start_would_overwrite_lora_elsewhere(config, tmp_path):
    """The control: with a tower directly below the BaseModel, mmengine does reach B."""

    @MODELS.register_module(force=True)
    class Careless(RSRefSeg2):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            self.tower = self.encoder.vision_model

    try:
        record = train(config, tmp_path / 'careless', **{'model.type': 'Careless'})
    finally:
        MODELS.module_dict.pop('Careless')
    assert any(value.any() for name, value in record.start.items() if 'lora_B' in name)


def test_frozen_weights_of_a_whole_checkpoint_are_kept(trained, config, tmp_path):
    """A training that starts from other frozen weights than the towers' own saves these, and no
    other frozen ones; its checkpoint gives them back, and so does a resumed run."""
    model = load_model(load_config(str(config)), trained[1] / 'epoch_2.pth', 'cpu')
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    name = next(name for name in given_keys(model) if 'layers.0' in name and 'weight' in name)
    weights[name] += 1
    content = torch.load(trained[1] / 'epoch_2.pth', weights_only=False)
    torch.save(dict(content, state_dict=weights), tmp_path / 'whole.pth')
    train(config, tmp_path / 'run', load_from=str(tmp_path / 'whole.pth'))
    saved = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=True)['state_dict']
    assert torch.equal(saved[name], weights[name])
    plain = torch.load(trained[1] / 'epoch_2.pth', weights_only=True)['state_dict']
    assert saved.keys() == {*plain, name}
    again = load_model(load_config(str(config)), tmp_path / 'run/epoch_1.pth', 'cpu')
    assert torch.equal(again.state_dict()[name], weights[name])
    train(config, tmp_path / 'run', resume=True, **{'train_cfg.max_epochs': 2})
    resumed = torch.load(tmp_path / 'run/epoch_2.pth', weights_only=True)['state_dict']
    assert torch.equal(resumed[name], weights[name])


def test_training_moves_what_is_trained_and_nothing_else(trained):
    record, folder = trained
    moved = {
        name for name, value in record.start.items() if not torch.equal(value, record.end[name])
    }
    assert moved <= record.trained
    # weight decay leaves a 0 where it is, and biases that no loss sees start there
    assert {name for name in record.trained - moved} == {
        name for name in record.trained - moved if name.endswith('k_proj.bias')
    }
    saved = torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
    assert record.trained <= set(saved)
    assert all(torch.equal(saved[name], record.end[name]) for name in record.trained)
    # frozen weights that no tower's files give would be lost
    assert {name for name in record.start if name not in saved} == {
        name
        for name in record.start
        if name not in record.trained and name.startswith(('encoder.', 'mask_generator.'))
    }


def test_resume_goes_on_where_it_stopped(trained, config, tmp_path):
    train(config, tmp_path / 'run')
    resumed = train(config, tmp_path / 'run', **{'train_cfg.max_epochs': 2, 'resume': True})
    assert resumed.losses == trained[0].losses[2:]  # to the bit, and two iterations of four
    meta = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)['meta']
    assert (meta['epoch'], meta['iter']) == (2, 4)


def test_the_words_of_a_checkpoint_are_those_that_it_was_trained_on(config, tmp_path):
    """A transform's too, and after a resume without it."""

    @TRANSFORMS.register_module(force=True)
    class Reworded:
        def __call__(self, results: dict) -> dict:
            return dict(results, text=results['text'] + ' Zorg')

    pipeline = [
        {'type': name} for name in ('LoadImage', 'LoadMask', 'Reworded', 'PackRefSegInputs')
    ]

    def words(**options):
        train(config, tmp_path / 'run', **options)
        path = tmp_path / 'run' / f'epoch_{options.get("train_cfg.max_epochs", 1)}.pth'
        return set(torch.load(path, weights_only=True)['meta']['words'])

    try:
        found = words(**{'train_dataloader.dataset.pipeline': pipeline})
        data = prepare(config, tmp_path / 'data').train_dataloader.dataset
        assert found == {'zorg', *words_of(DATASETS.build(data))}
    finally:
        TRANSFORMS.module_dict.pop('Reworded')
    assert words(**{'train_cfg.max_epochs': 2, 'resume': True}) == found


def test_a_new_process_gives_the_validation_score(trained, config, tmp_path):
    """Train -> checkpoint -> tools/test.py elsewhere: the score of the last validation."""
    _, folder = trained
    lines = [
        json.loads(line)
        for path in folder.glob('*/vis_data/scalars.json')
        for line in path.read_text().splitlines()
    ]
    seen = [line for line in lines if 'gIoU' in line][-1]
    assert seen['gIoU'] > 0 and seen['cIoU'] > 0  # equal zeros would say nothing
    done = run_in_new_process(
        'test.py',
        config,
        folder / 'epoch_2.pth',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'test_dataloader.dataset.split=train',
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / 'scores.json').read_text())
    for name in ('gIoU', 'cIoU', 'Pr@0.5', 'Pr@0.9'):
        assert scores[name] == pytest.approx(seen[name], abs=1e-6), name


def test_a_test_that_died_goes_on_where_it_stopped(trained, config, tmp_path, run):
    """The same dump and scores as without a break; what was done is not predicted again."""
    _, folder = trained
    checkpoint = folder / 'epoch_2.pth'

    def tested(name, *more):
        code, stdout, stderr = run(
            'test.py',
            config,
            checkpoint,
            '--work-dir',
            tmp_path / name,
            '--dump',
            tmp_path / f'{name}.jsonl',
            *more,
            '--cfg-options',
            'test_dataloader.dataset.split=train',
        )
        assert code == 0, stderr
        scores = json.loads((tmp_path / name / 'scores.json').read_text())
        return scores, list(read_dump(tmp_path / f'{name}.jsonl')), stdout + stderr

    scores, records, _ = tested('whole')
    assert len(records) == 4 and all('coarse_localisation' in record for record in records)

    cfg = prepare(
        config,
        tmp_path / 'broken',
        load_from=str(checkpoint),
        **{'test_dataloader.dataset.split': 'train'},
    )
    set_scoring(cfg, dump=str(tmp_path / 'broken.jsonl'), run=identify_run(cfg, str(checkpoint)))
    runner = build_runner(cfg)
    done = []

    def die(**_):
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt
        return Evaluator.process(runner.test_loop.evaluator, **_)

    runner.test_loop.evaluator.process = die
    with pytest.raises(KeyboardInterrupt):
        runner.test()
    again, found, log = tested('broken', '--resume')
    assert re.search('continuing: [123] of 4 samples were scored before', log)
    assert again == scores
    for record in records + found:
        record.pop('location')
    assert found == records


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['ddp', 'zero2_bf16'])
def test_one_process_trains_with_every_strategy(strategy, towers, rrsisd_root, tmp_path):
    """One line of `_base_` differs; the checkpoint is a plain file that one device tests."""
    config = write_config(
        tmp_path / f'{strategy}.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
        strategy=strategy,
    )
    done = run_in_new_process('train.py', config, '--work-dir', tmp_path / 'run')
    assert done.returncode == 0, done.stderr[-3000:]
    done = run_in_new_process(
        'train.py',
        config,
        '--work-dir',
        tmp_path / 'run',
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=2',
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = run_in_new_process(
        'test.py', config, tmp_path / 'run' / 'epoch_2.pth', '--work-dir', tmp_path / 'test'
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'gIoU' in json.loads((tmp_path / 'test' / 'scores.json').read_text())


def test_random_numbers_are_a_function_of_seed_iteration_and_rank(monkeypatch):
    """Each changes every generator; the same three give the same numbers whatever came before."""

    def draw(seed, iteration, rank):
        monkeypatch.setattr(train_loop, 'get_rank', lambda: rank)
        train_loop.seed_iteration(seed, iteration)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first = draw(0, 0, 0)
    others = [draw(1, 0, 0), draw(0, 1, 0), draw(0, 0, 1)]
    assert draw(0, 0, 0) == first
    for numbers in zip(first, *others, strict=True):
        assert len(set(numbers)) == 4


def test_another_global_batch_and_a_drawn_seed_are_warned_of(config, tmp_path, caplog):
    with caplog.at_level('WARNING'):
        runner = build_runner(prepare(config, tmp_path / 'warned', **{'randomness.seed': None}))
    log = ''.join(path.read_text() for path in (tmp_path / 'warned').glob('*/*.log'))
    assert 'global batch 2 (1 ranks x 2 x accumulation 1)' in log
    assert runner.world_size == 1
    assert f'randomness.seed is None: this run drew {runner.seed}' in log
