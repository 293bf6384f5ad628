"""tools/benchmarks/memory.py: counted without data is what is kept; what each lever must spare."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from runpy import run_path

import pytest
import torch
from torch import nn

from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools/benchmarks/memory.py'
TOOL = run_path(str(SCRIPT))
CONFIG = str(ROOT / 'configs/synthrs_tiny.py')
ARGS = Namespace(images=2, sentences=4, steps=1, device='cpu')


def numbers(how, case):
    return TOOL[how](
        load_config(CONFIG, options={'model.init': 'random', **TOOL['CASES'][case]}), case, ARGS
    )


def test_saved_counts_storages_once_and_no_weights():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    saved = TOOL['Saved'](model)
    x = torch.zeros(7, 3)
    with saved.count():
        y = model(x)
    # x, and the ReLU's output, which the next layer keeps, too
    assert saved.nbytes == 4 * (7 * 3 + 7 * 5)
    y.sum().backward()


@pytest.mark.parametrize(
    'case',
    [
        'all of them',
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in ('baseline', 'recompute all', 'autocast, frozen bf16')
        ),
    ],
)
def test_counted_is_measured(case):
    measured, counted = numbers('measure', case), numbers('count', case)
    assert counted['weights'] == measured['weights']
    # AdamW's step counts: 4 bytes a tensor
    assert counted['grad+opt'] == pytest.approx(measured['grad+opt'], rel=1e-2)
    assert counted['saved'] == pytest.approx(measured['saved'], rel=2e-2)
    assert measured['peak'] > measured['weights'] > 0 and measured['seconds'] > 0


def test_what_each_lever_spares():
    first = numbers('measure', 'baseline')
    cases = {
        case: numbers('measure', case)
        for case in ('sam stages 1-2', 'sam', 'half batch x 2', 'states of all weights')
    }
    saved = {case: found['saved'] / first['saved'] for case, found in cases.items()}
    assert saved['sam'] < saved['sam stages 1-2'] < 1
    assert saved['half batch x 2'] == pytest.approx(0.5, abs=0.1)
    # a gradient and two moments of each, and AdamW's step counts
    assert cases['states of all weights']['grad+opt'] == pytest.approx(
        3 * first['weights'], rel=1e-2
    )


@pytest.mark.slow
def test_a_case_in_a_process_of_its_own(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            CONFIG,
            '--count',
            '--cases',
            'sam',
            '--json',
            str(tmp_path / 'a.json'),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.count('1.00') == 3  # weights, saved, grad+opt of the first case
    written = json.loads((tmp_path / 'a.json').read_text())
    assert list(written['cases']) == ['sam'] and written['device'] == 'counted'


def test_an_odd_batch_is_not_halved():
    with pytest.raises(UserError, match='give even --images'):
        TOOL['parts_of']('half batch x 2', Namespace(images=3, sentences=4))
