"""The number of ranks does not matter: gradients, BatchNorm, gathering."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from rsrefseg2.models.distributed import gather_with_gradient
from rsrefseg2.models.prompter.batch_norm import SyncedBatchNorm2d

from . import ranks, whole_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """What ranks.py and whole_model.py leave."""
    folder = tmp_path_factory.mktemp('ranks')
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    subprocess.run(
        [sys.executable, '-m', 'tests.test_engine.ranks', str(folder)],
        check=True,
        cwd=ROOT,
        timeout=600,
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'),
    )
    return folder


@pytest.fixture(scope='module')
def two(folder):
    """What each of two ranks found."""
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def test_two_ranks_have_the_gradients_of_one(two):
    one = ranks.results(slice(None), 1)
    assert float(one['loss contrast']) > 0 and one['grad conv.weight'].any()
    for rank in two:
        for name, expected in one.items():
            assert torch.allclose(rank[name].double(), expected.double(), rtol=0, atol=1e-9), name


def test_half_the_batch_has_other_gradients():
    """The control: it matters which rows are seen."""
    one, half = ranks.results(slice(None), 1), ranks.results(ranks.SHARES[0], 1)
    for name in ('grad v.weight', 'grad conv.weight', 'mean', 'loss contrast'):
        assert (one[name] - half[name]).abs().max() > 1e-6, name


def test_gathered_rows_stand_in_rank_order(two):
    for rank in two:
        assert rank['gathered'].flatten().tolist() == [0, 10, 11]


def test_in_one_process_nothing_is_gathered():
    x = torch.randn(3, 2)
    assert gather_with_gradient(x) is x


def test_in_one_process_it_is_torchs_batch_norm():
    torch.manual_seed(0)
    ours, torchs = SyncedBatchNorm2d(5).double(), nn.BatchNorm2d(5).double()
    for norm in (ours, torchs):
        norm.weight.data.copy_(torch.linspace(0.5, 2, 5))
        norm.bias.data.copy_(torch.linspace(-1, 1, 5))
    x = torch.randn(4, 5, 3, 6, dtype=torch.float64) * 3 + 1
    for _ in range(2):
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        found, expected = ours(inputs[0]), torchs(inputs[1])
        assert torch.equal(found, expected)
        for y in (found, expected):
            y.sin().sum().backward()
        assert torch.equal(inputs[0].grad, inputs[1].grad)
    state = torchs.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


def test_one_rank_sums_as_exactly_as_several_do():
    """Channels last, as the dense prompt's grid has them, where torch's own sums of a channel are 40
    times less exact on a CPU: against float64, of channels whose mean is 6 deviations."""
    torch.manual_seed(0)
    x = torch.randn(24, 96, 16, 16, dtype=torch.float64) + 6
    x = x.contiguous(memory_format=torch.channels_last)
    exact, found = SyncedBatchNorm2d(96).double()(x), SyncedBatchNorm2d(96)(x.float())
    assert (found - exact).norm() < 1e-6 * exact.norm()


def test_batch_norm_keeps_its_statistics_in_float32():
    norm = SyncedBatchNorm2d(3).to(torch.bfloat16)
    assert norm.weight.dtype == torch.bfloat16
    assert norm.running_mean.dtype == norm.running_var.dtype == torch.float32
    out = norm(torch.randn(2, 3, 4, 4, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32


# ---------------------------------------------------------------- the whole model under DDP


@pytest.fixture(scope='module')
def cases(folder):
    """{case: what its rank 0 found} of whole_model.py, and '1', found in this process."""
    return {
        '1': whole_model.gradients(whole_model.SHARES[1][0]),
        **{case: torch.load(folder / f'{case}.pth') for case in ('2', '4', *whole_model.CONTROLS)},
    }


def differences(found, expected):
    """By tensor: norm of the difference over norm. A key bias adds the same to every score of a
    softmax: its gradient is 0 but for rounding, and is compared with the largest norm of all."""
    floor = 1e-6 * max(float(value.norm()) for value in expected.values())
    return {
        name: float((found[name] - value).norm() / value.norm().clamp(min=floor))
        for name, value in expected.items()
    }


@pytest.mark.parametrize('ranks', ['2', '4'])
def test_the_number_of_ranks_does_not_change_a_gradient(cases, ranks):
    assert all(
        value.any()
        for name, value in cases['1'].items()
        if 'lora_B' in name and 'k_proj' not in name
    )
    assert cases['1'].keys() == cases[ranks].keys()
    worst = differences(cases[ranks], cases['1'])
    assert max(worst.values()) < 1e-9, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize('control', whole_model.CONTROLS)
def test_each_part_of_it_is_needed(cases, control):
    """Without gradients through the gathering, with each rank's own BatchNorm, or with the plain
    mean over ranks of unequal numbers of samples, gradients are others."""
    assert max(differences(cases[control], cases['1']).values()) > 1e-3
