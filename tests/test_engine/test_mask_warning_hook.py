"""Masks that were resized or are empty: seen in a worker, told once by the main process."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from rsrefseg2.datasets import RISBench, unique_images_collate
from rsrefseg2.engine import MaskWarningHook, hooks
from tests.fabricate import fabricate

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


@pytest.mark.parametrize('mode', ['train', 'val', 'test'])
def test_told_once(mode, tmp_path, monkeypatch):
    root = fabricate('risbench', tmp_path)
    for name, shape in (('train_0_0', (49, 64)), ('train_1_0', (48, 64))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(root / f'mask/{name}.png')
    lines = []
    monkeypatch.setattr(hooks, 'print_log', lambda line, **_: lines.append(line))
    data = RISBench(data_root=str(root), split='train', pipeline=PIPELINE)
    hook, runner = MaskWarningHook(), SimpleNamespace()
    for _ in range(2):
        loader = DataLoader(data, batch_size=2, num_workers=1, collate_fn=unique_images_collate)
        for number, batch in enumerate(loader):
            getattr(hook, f'after_{mode}_iter')(runner, number, data_batch=batch)
        getattr(hook, f'after_{mode}_epoch')(runner)
    assert lines == [
        f'{mode}: 1 of 4 masks have another size than their image and were resized (nearest '
        'neighbour): samples train_0_0',
        f'{mode}: 2 of 4 masks are empty; the samples are kept: samples train_0_0, train_1_0',
    ]


def test_a_sentence_without_a_target_is_no_fault(tmp_path, monkeypatch):
    root = fabricate('risbench', tmp_path)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(root / 'mask/train_1_0.png')
    lines = []
    monkeypatch.setattr(hooks, 'print_log', lambda line, **_: lines.append(line))
    data = RISBench(data_root=str(root), split='train', pipeline=PIPELINE, no_target=True)
    samples = [item['data_samples'] for item in data]
    assert [s.sample_id for s in samples if s.get('no_target')] == ['train_1_0']
    hook, runner = MaskWarningHook(), SimpleNamespace()
    hook.after_train_iter(runner, 0, data_batch=dict(data_samples=samples))
    hook.after_train_epoch(runner)
    assert not lines


def test_every_config_has_the_hook():
    from rsrefseg2.engine import load_config

    root = Path(__file__).resolve().parents[2]
    config = load_config(str(root / 'configs/synthrs_tiny.py'))
    assert 'MaskWarningHook' in json.dumps(config.custom_hooks)
