"""How many threads a model on the CPU gets."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

CGROUP = Path('/sys/fs/cgroup')


def limit_threads(root: Path = CGROUP) -> None:
    """Lower torch's threads to the processors that this process may use.

    torch starts one for each core that it sees. In a container it sees the whole machine's, while
    its share is a quota of time: threads beyond that quota stop each other at every operation's
    end. A number that is set by OMP_NUM_THREADS stays.

    Args:
        root: where the system says what the quota is.
    """
    if 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), _processors(root))))


def _processors(root: Path) -> int:
    """Those that the process is bound to, or fewer by the quota of its container, rounded up."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return math.ceil(min(bound or 1, _quota(root)))


def _quota(root: Path) -> float:
    """Processors' worth of time, of cgroup 2 or 1; infinite where there is none."""
    try:
        given, period = (root / 'cpu.max').read_text().split()
    except OSError:
        try:
            given, period = (
                (root / 'cpu' / f'cpu.cfs_{name}_us').read_text() for name in ('quota', 'period')
            )
        except OSError:
            return math.inf
    if given.strip() in ('max', '-1'):
        return math.inf
    return int(given) / int(period)
