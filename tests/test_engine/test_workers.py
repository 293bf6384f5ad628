"""A worker that cannot send its batch, or is killed, ends the run in one line; it never hangs."""

import errno
import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from rsrefseg2.engine.workers import explain_lost_workers, loader_options, watch_workers
from rsrefseg2.errors import UserError


class Unsendable:
    """What a worker cannot send."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


class Items(Dataset):
    """One item that ends its worker."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        if isinstance(self.error, signal.Signals):
            os.kill(os.getpid(), self.error)
        return Unsendable(self.error)


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (
            RuntimeError(
                'unable to allocate shared memory(shm) for file </torch_1>: No space left on '
                'device (28)'
            ),
            '--shm-size=8g.*train_dataloader.num_workers=0',
        ),
        (OSError(errno.EMFILE, 'Too many open files'), 'ulimit -n 4096.*num_workers=0'),
        (TypeError('cannot pickle'), 'a worker of the data loader ended.*--resume'),
        (signal.SIGTERM, 'a worker of the data loader ended.*--resume'),
    ],
)
def test_a_lost_worker_is_one_line(error, said):
    loader = DataLoader(Items(error), num_workers=1, collate_fn=list)
    with pytest.raises(UserError, match=said), explain_lost_workers():
        list(watch_workers(loader))


def test_other_errors_keep_their_own_words():
    with (
        pytest.raises(RuntimeError, match='out of resource: shared memory'),
        explain_lost_workers(),
    ):
        raise RuntimeError('out of resource: shared memory, Required: 163840')


@pytest.mark.parametrize('workers', [0, 2])
def test_options_of_workers_go_where_there_are_none(workers):
    given = dict(num_workers=workers, persistent_workers=True, prefetch_factor=4, pin_memory=True)
    assert loader_options(given) == (given if workers else dict(num_workers=0, pin_memory=True))
    DataLoader([1], **loader_options(given))
