"""What a run costs, in its log: speed, waiting, memory, the time left."""

from __future__ import annotations

import resource
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import IterTimerHook, LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import FlexibleRunner

from ..bounds import PositiveFloat, PositiveInt
from ..profiling.mfu import Mfu, find_mfu
from ..registry import HOOKS
from .train_loop import RefSegTrainLoop

EVERY = 10  # iterations between two measurements, for the progress bar; there is one at each log
NAMES = ('images_per_s', 'sentences_per_s', 'data_share', 'peak_gib', 'mfu')


class Step(NamedTuple):
    """One iteration of one rank."""

    seconds: float
    waited: float  # of them, for the batch
    images: int  # U, unique
    sentences: int  # B


@HOOKS.register_module()
class TimerHook(IterTimerHook):
    """mmengine's timer, and as scalars of the log, over the last `window` iterations:

        images_per_s, sentences_per_s  U and B of all ranks, over the slowest rank's seconds
        data_share   0 to 1: the seconds that a batch was waited for, of the rank that waited most
                     (the others then wait for it)
        peak_gib     of the rank that has most, since the process began. GPU: what torch allocated;
                     CPU: the resident set
        mfu          0 to 1: `profiling/mfu.py` says of what; on a GPU whose peak is known

    An iteration lasts from asking for its batch to the end of its optimizer step, without
    validation, checkpoints and logging. The time left (eta) is that of the iterations to come, by
    the same window, and of the validations to come, by this process's last one. A GPU is not waited
    for: that the loss is logged has done it already.

    Args:
        window: iterations; as `log_processor.window_size`.
        peak_tflops: of one device, for `mfu`; None: by the GPU's name.
    """

    def __init__(
        self, *, window: PositiveInt = 50, peak_tflops: PositiveFloat | None = None
    ) -> None:
        if window < 1:
            raise ValueError(f'window is at least 1, not {window}')
        super().__init__()
        self._steps: deque[Step] = deque(maxlen=window)
        self._peak_tflops, self._peak_bytes = peak_tflops, 0
        self._mfu: Mfu | None = None
        self._validation = 0.0  # seconds

    def before_train(self, runner: FlexibleRunner) -> None:
        """Drop an earlier process's scalars; find what one step costs, for the MFU."""
        super().before_train(runner)
        for name in NAMES:  # another process's, after a resume
            runner.message_hub.log_scalars.pop(f'train/{name}', None)
        if is_main_process():
            self._mfu = find_mfu(runner.strategy.plain_model, runner.cfg.model, self._peak_tflops)

    def before_train_epoch(self, runner: FlexibleRunner) -> None:
        """The first batch of the epoch is asked for."""
        super().before_train_epoch(runner)
        self._asked = time.perf_counter()

    def before_val_epoch(self, runner: FlexibleRunner) -> None:
        """Drop the earlier validation's scores."""
        super().before_val_epoch(runner)
        forget(runner.message_hub, 'val')

    def before_test_epoch(self, runner: FlexibleRunner) -> None:
        """Drop the earlier test's scores."""
        super().before_test_epoch(runner)
        forget(runner.message_hub, 'test')

    def before_data(self, runner: FlexibleRunner) -> None:
        """The next batch is asked for: what lies between two iterations is no waiting for it."""
        self.t = time.time()
        self._asked = time.perf_counter()

    def before_train_iter(
        self, runner: FlexibleRunner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """The batch is here."""
        super().before_train_iter(runner, batch_idx, data_batch)
        self._waited = time.perf_counter() - self._asked

    def after_train_iter(
        self, runner: FlexibleRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add the iteration to the window; log what is due."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._steps.append(
            Step(
                time.perf_counter() - self._asked,
                self._waited,
                len(data_batch['inputs']),
                len(data_batch['data_samples']),
            )
        )
        done = runner.iter + 1
        mean = sum(step.seconds for step in self._steps) / len(self._steps)
        runner.message_hub.update_info(
            'eta',
            mean * (runner.max_iters - done)
            + self._validation * validations_left(runner.train_loop, done),
        )
        if done % EVERY == 0 or _is_logged(runner, batch_idx):
            self._tell(runner)

    def before_val(self, runner: FlexibleRunner) -> None:
        """A validation begins."""
        self._validating = time.perf_counter()

    def after_val(self, runner: FlexibleRunner) -> None:
        """The validation is over; the time left counts on its seconds."""
        self._validation = time.perf_counter() - self._validating

    def _tell(self, runner: FlexibleRunner) -> None:
        """Every rank takes part, at the same iterations."""
        self._peak_bytes = max(self._peak_bytes, peak_bytes())
        own = [sum(values) for values in zip(*self._steps, strict=True)]
        ranks = all_gather_object((own[0], own[1] / own[0], *own[2:], self._peak_bytes))
        of_ranks, shares, unique, triplets, peaks = zip(*ranks, strict=True)
        seconds, images, sentences = max(of_ranks), sum(unique), sum(triplets)
        found = dict(
            images_per_s=images / seconds,
            sentences_per_s=sentences / seconds,
            data_share=max(shares),
            peak_gib=max(peaks) / 2**30,
        )
        if self._mfu is not None:
            found['mfu'] = self._mfu(images, sentences, seconds, get_world_size())
        runner.message_hub.update_scalars({f'train/{name}': value for name, value in found.items()})


def forget(hub: MessageHub, mode: str) -> None:
    """The scores of an earlier 'val' or 'test': the log would give them as those of the next, where
    that has none of the name."""
    for kept in (hub.log_scalars, hub.runtime_info):
        for name in [name for name in kept if name.startswith(f'{mode}/')]:
            del kept[name]


def _is_logged(runner: FlexibleRunner, batch_idx: int) -> bool:
    """mmengine's logger writes a line after this iteration."""
    length = len(runner.train_dataloader)
    return any(
        (batch_idx + 1) % hook.interval == 0
        or (batch_idx + 1 == length and (not hook.ignore_last or length <= hook.interval))
        for hook in runner.hooks
        if isinstance(hook, LoggerHook)
    )


def validations_left(loop: RefSegTrainLoop, done: int) -> int:
    """After `done` iterations, one that is due then included."""
    if loop.runner.val_loop is None:
        return 0
    every = loop.val_interval * (loop.epoch_length if loop.by_epoch else 1)
    before = max(-(-done // every), -(-loop.val_begin // loop.val_interval)) - 1
    regular = max(0, loop.max_iters // every - before)
    # The one at the end, where it is not among them.
    return regular + (loop.max_iters % every > 0 or loop.max_iters // every <= before)


def peak_bytes() -> int:
    """The most memory so far: torch's on this rank's GPU (the logger sets that back at each line),
    or this process's resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:  # getrusage's begins with that of the process which started this one
        lines = Path('/proc/self/status').read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
