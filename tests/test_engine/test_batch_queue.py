"""Batches come where shared memory or open files run out; a lost worker names its loader."""

import errno
import multiprocessing.reduction
import resource

import pytest
import torch
from mmengine import runner
from torch.utils.data import DataLoader

from rsrefseg2.engine import RefSegTestLoop, RefSegTrainLoop, explain_out_of_memory, workers
from rsrefseg2.engine.launch import load_config
from rsrefseg2.engine.workers import lack_of_files, watch_workers
from rsrefseg2.errors import UserError
from tests.training import ROOT

FULL = str(ROOT / 'configs/rrsisd_siglip2_sam21l.py')
UNLIMITED = resource.RLIM_INFINITY
FEW = 'unable to allocate shared memory(shm) for file </torch_1>:\nNo space left on device (28)'


@pytest.fixture
def told(monkeypatch):
    """What is logged."""
    lines = []
    monkeypatch.setattr(workers, 'print_log', lambda line, *args: lines.append(line))
    return lines


def refuse(tensor):
    raise RuntimeError(FEW)


class Tensors(torch.utils.data.Dataset):
    """Four; from number `full` on there is no shared memory for those of a worker."""

    def __init__(self, full=None):
        self.full = full

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == self.full:  # in the worker, which is forked
            multiprocessing.reduction.ForkingPickler.register(torch.Tensor, refuse)
        return torch.full((3,), index)


@pytest.mark.parametrize('full', [None, 0, 2])
def test_batches_come_whole_and_in_order(told, full):
    loader = watch_workers(DataLoader(Tensors(full), batch_size=2, num_workers=1))
    assert [batch[:, 0].tolist() for batch in loader] == [[0, 1], [2, 3]]
    assert len(told) == (full is not None)
    for line in told:
        assert 'unable to allocate' in line and '\n' not in line
        assert '--shm-size' in line and 'num_workers=0' in line


def test_few_open_files_are_known_before(told, monkeypatch):
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (40, 40))
    loader = watch_workers(
        DataLoader(Tensors(), batch_size=2, num_workers=2, persistent_workers=True)
    )
    for _ in range(2):  # the workers stay, and the warning is not repeated
        assert [batch[:, 0].tolist() for batch in loader] == [[0, 1], [2, 3]]
    assert len(told) == 1 and 'at most 40 files' in told[0]


@pytest.mark.parametrize(
    ('soft', 'hard', 'expected', 'raised'),
    [
        (100_000, 100_000, False, False),
        (UNLIMITED, UNLIMITED, False, False),
        (64, UNLIMITED, False, True),
        (64, 100_000, False, True),
        (64, 64, True, False),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may(
    monkeypatch, soft, hard, expected, raised
):
    new = []
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (soft, hard))
    monkeypatch.setattr(resource, 'setrlimit', lambda kind, limits: new.append(limits))
    lack = lack_of_files(DataLoader(Tensors(), batch_size=8, num_workers=4))
    assert (lack is not None) == expected and bool(new) == raised
    assert all(soft < limits[0] and limits[1] == hard for limits in new)


class Through:
    """Loops whose run meets an error."""

    def __init__(self, error):
        self.error = error

    def run(self):
        if isinstance(self.error, Through):
            self.error.run()
        raise self.error from RuntimeError(getattr(self.error, 'cause', ''))


def through(*kinds, error):
    """`error`, raised in a loop of the last kind, which the one before it runs."""
    for kind in reversed(kinds):
        loop = kind.__new__(type(kind.__name__, (Through, kind), {}))
        Through.__init__(loop, error)
        error = loop
    return error.run


def killed(cause=''):
    error = RuntimeError('DataLoader worker (pid(s) 10162) exited unexpectedly')
    error.cause = cause
    return error


@pytest.mark.parametrize(
    ('kinds', 'error', 'expected'),
    [
        (
            (RefSegTrainLoop, runner.ValLoop),
            killed('DataLoader worker (pid 7) is killed by signal: Killed. '),
            ('val_dataloader.num_workers;', 'killed', 'val_dataloader.batch_size'),
        ),
        ((RefSegTrainLoop,), killed(), ('exited unexpectedly', '--resume', 'num_workers=0')),
        ((RefSegTrainLoop,), OSError(errno.EMFILE, 'Too many open files'), ('ulimit -n',)),
        (
            (RefSegTestLoop,),
            killed('DataLoader worker (pid 7) is killed by signal: Killed. '),
            ('test_dataloader', 'killed', 'batch_size'),
        ),
        (
            (runner.TestLoop,),
            killed('DataLoader worker (pid 7) is killed by signal: Bus error. It is'),
            ('/dev/shm', '--shm-size', 'num_workers=0'),
        ),
        (
            (RefSegTrainLoop,),
            RuntimeError('Too many open files. Communication with the workers'),
            ('ulimit -n', 'num_workers=0'),
        ),
    ],
)
def test_a_lost_worker_is_one_line(kinds, error, expected):
    with (
        pytest.raises(UserError) as caught,
        explain_out_of_memory(load_config(FULL), 'train_dataloader'),
    ):
        through(*kinds, error=error)()
    for words in expected:
        assert words in str(caught.value)
