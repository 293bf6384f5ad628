"""What a device can do and has used: seconds, its fastest matrix product, its peak memory."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def matmul_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP a second of the fastest of several square matrix products."""
    best = 0.0
    for side in (512, 1024) if device.type == 'cpu' else (4096, 8192, 16384):
        first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(repeats):
            start = now(device)
            first @ second
            seconds.append(now(device) - start)
        best = max(best, 2 * side**3 / min(seconds))
    return best


def now(device: torch.device) -> float:
    """Seconds, when all that was given to the device is done."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Clock:
    """Seconds by part, over several passes."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, dict[str, list[float]]()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = now(self.device)
        yield
        self.seconds.setdefault(name, []).append(now(self.device) - start)

    def medians(self) -> dict[str, float]:
        """The first pass, which warms up, is left out where there are more."""
        return {
            name: statistics.median(values[1:] or values) for name, values in self.seconds.items()
        }


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far; of a CPU on Linux alone, elsewhere the peak is the whole process's."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        CLEAR.write_text('5')


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak since `reset_peak`: allocated on a GPU, resident in this process on a CPU."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
