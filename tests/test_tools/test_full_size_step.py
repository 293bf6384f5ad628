"""tools/benchmarks/full_size_step.py on the tiny config: it runs, and would see what changes."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools/benchmarks/full_size_step.py'))


def test_the_tiny_config_passes(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['full_size_step.py', str(ROOT / 'configs/synthrs_tiny.py')])
    with pytest.raises(SystemExit) as caught:
        TOOL['main']()
    out = capsys.readouterr().out
    assert caught.value.code == 0, out
    assert 'step 2' in out and 'changed: 0' in out


def test_checksums_cover_what_training_must_not_move():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)).bfloat16()
    model[0].requires_grad_(False)
    model.register_buffer('position', torch.ones(()), persistent=False)
    model.register_buffer('ids', torch.arange(3))
    before = TOOL['checksums'](model)
    assert set(before) == {'0.weight', '0.bias', 'position', 'ids'}
    model(torch.randn(4, 2).bfloat16())  # moves BatchNorm's statistics
    assert TOOL['checksums'](model) == before
    model.position += 1
    model.ids[2] = 7
    after = TOOL['checksums'](model)
    assert {name for name in before if before[name] != after[name]} == {'position', 'ids'}
