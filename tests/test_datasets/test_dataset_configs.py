"""The data set bases: data roots from the environment, everything buildable."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from rsrefseg2.datasets.readers import FURTHER
from tests.fabricate import fabricate

BASES = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@pytest.mark.parametrize('name', ['refsegrs', 'rrsisd', 'risbench', *FURTHER])
def test_loaders_build_and_load(name, tmp_path, monkeypatch):
    fabricate(name, tmp_path / name)
    monkeypatch.setenv('RSREFSEG2_DATA', str(tmp_path))
    config = Config.fromfile(BASES / f'{name}.py')
    counts = (4, 4, 4) if name == 'lasers' else (4, 2, 2)
    for key, count in zip(LOADERS, counts, strict=True):
        config[key].update(num_workers=0, persistent_workers=False)
        batches = list(Runner.build_dataloader(config[key], seed=0))
        assert sum(len(batch['data_samples']) for batch in batches) == count


@pytest.mark.parametrize('name', ['refsegrs', 'rrsisd', 'risbench', 'synthrs', *FURTHER])
def test_default_root_is_the_data_folder(name, monkeypatch):
    monkeypatch.delenv('RSREFSEG2_DATA', raising=False)
    config = Config.fromfile(BASES / f'{name}.py')
    splits = ('train', 'test', 'test') if name == 'lasers' else ('train', 'val', 'test')
    for key, split in zip(LOADERS, splits, strict=True):
        dataset = config[key]['dataset']
        assert dataset['split'] == split
        assert dataset['data_root'] == (
            'data/synthrs/rrsisd' if name == 'synthrs' else f'data/{name}'
        )


def test_synthrs_reads_its_own_categories(tmp_path, monkeypatch):
    fabricate('rrsisd', tmp_path / 'synthrs' / 'rrsisd')
    monkeypatch.setenv('RSREFSEG2_DATA', str(tmp_path))
    config = Config.fromfile(BASES / 'synthrs.py')
    assert config.test_evaluator.data_root == f'{tmp_path}/synthrs'
    (batch,) = Runner.build_dataloader(config.train_dataloader, seed=0)
    assert len(batch['inputs']) == 3 and len(batch['data_samples']) == 4


@pytest.fixture(autouse=True)
def scope():
    """As default_runtime.py sets it in every config."""
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        yield


@pytest.mark.parametrize('name', ['refsegrs', *FURTHER])
def test_sentences_without_target_are_scored_as_such(name):
    config = Config.fromfile(BASES / f'{name}.py')
    expected = 'generalised' if name in ('nwpu_refer', 'earthreason') else None
    for key in ('val_evaluator', 'test_evaluator'):
        assert config[key].get('protocol') == expected
