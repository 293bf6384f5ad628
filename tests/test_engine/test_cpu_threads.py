"""As many threads as the process has processors."""

import os

import pytest
import torch

from rsrefseg2.engine.cpu_threads import limit_threads

OF_CGROUP_1 = 'cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us'


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch):
    """Of which torch uses all; afterwards the tests' own number."""
    before = torch.get_num_threads()
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ('files', 'threads'),
    [
        ({}, 8),
        ({'cpu.max': 'max 100000\n'}, 8),
        ({'cpu.max': '200000 100000\n'}, 2),
        ({'cpu.max': '250000 100000\n'}, 3),
        ({'cpu.max': '50000 100000\n'}, 1),
        (dict(zip(OF_CGROUP_1, ('-1\n', '100000\n'))), 8),
        (dict(zip(OF_CGROUP_1, ('400000\n', '100000\n'))), 4),
    ],
)
def test_the_quota_of_a_container(tmp_path, files, threads):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    limit_threads(tmp_path)
    assert torch.get_num_threads() == threads


def test_bound_processors_and_a_number_that_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '8')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {3, 4, 5}, raising=False)
    limit_threads(tmp_path)
    assert torch.get_num_threads() == 8
    monkeypatch.delenv('OMP_NUM_THREADS')
    limit_threads(tmp_path)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(2)  # never more than there were
    limit_threads(tmp_path)
    assert torch.get_num_threads() == 2
