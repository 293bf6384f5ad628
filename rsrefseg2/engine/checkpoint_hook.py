"""When a checkpoint is written, which are kept, and which is the best; and how a run is stopped."""

from __future__ import annotations

import contextlib
import logging
import operator
import os
import signal
import sys
from pathlib import Path
from typing import Any, Literal

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner

from ..bounds import PositiveInt
from ..errors import UserError
from ..registry import HOOKS
from .checkpoint_files import optim_file
from .work_dir import own_file

BETTER = {'greater': operator.gt, 'less': operator.lt}
# What asks a run to stop: a queue, Ctrl-C. Its exit status is 128 and the signal's number.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes `epoch_N.pth` or `iter_N.pth` with its `_optim.pth`, before the validation that may be
    due then, and after it `best_gIoU_epoch_N.pth`, weights alone.

    Args:
        interval: epochs or iterations between checkpoints; there is always one at the end.
        by_epoch: the unit; leave it as `train_cfg`'s.
        max_keep_ckpts: how many of this run's regular checkpoints stay.
        save_best: the validation's metric that chooses the best; None: no best is kept.
        rule: whether it is best when 'greater' or 'less'.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        *,
        interval: PositiveInt = 1,
        by_epoch: bool = True,
        max_keep_ckpts: PositiveInt = 2,
        save_best: str | None = 'gIoU',
        rule: Literal['greater', 'less'] = 'greater',
    ) -> None:
        if interval < 1 or max_keep_ckpts < 1:
            raise ValueError(
                f'interval and max_keep_ckpts are at least 1, not {interval} and {max_keep_ckpts}'
            )
        self.interval, self.by_epoch, self.max_keep_ckpts = interval, by_epoch, max_keep_ckpts
        self.save_best, self.rule = save_best, rule
        self._due = False

    def before_train(self, runner: FlexibleRunner) -> None:
        """Remove what a killed process left behind; it never had a name of its own."""
        if is_main_process():
            for unfinished in Path(runner.work_dir).glob('.*.pth.unfinished'):
                unfinished.unlink()

    def after_step(self, runner: FlexibleRunner) -> None:
        """After each iteration, before a validation: `runner.iter` iterations are done."""
        loop = runner.train_loop
        done, rest = divmod(runner.iter, loop.epoch_length if self.by_epoch else 1)
        self._due |= (not rest and done % self.interval == 0) or runner.iter == runner.max_iters
        if self._due and between_steps(runner):
            self.save(runner)

    def save(self, runner: FlexibleRunner, *, regular: bool = True) -> Path:
        """Write a checkpoint of now and remove what is older than wanted.

        One that is not `regular`, of a run that is stopped, is one more until the next is written:
        a run that was stopped keeps in the end what one that was not does.
        """
        done, rest = divmod(runner.iter, runner.train_loop.epoch_length)
        name = f'epoch_{done}' if self.by_epoch and not rest else f'iter_{runner.iter}'
        path = Path(runner.work_dir) / f'{name}.pth'
        self._due = False
        hub, kept = runner.message_hub, runner.message_hub.runtime_info.get('checkpoints', [])
        surplus = [hub.runtime_info.get('stopped', '')]
        if regular or path.name in kept:
            kept = [*(name for name in kept if name != path.name), path.name]
            surplus += kept[: -self.max_keep_ckpts]
        hub.update_info('checkpoints', kept[-self.max_keep_ckpts :])
        hub.update_info('stopped', '' if path.name in kept else path.name)
        runner.save_checkpoint(path)
        if is_main_process():
            point_at(path)
            for old in surplus:
                file = own_file(runner.work_dir, old)
                if file is not None and file != path:
                    for each in (file, optim_file(file)):  # without its weights it is none
                        each.unlink(missing_ok=True)
        return path

    def after_val_epoch(self, runner: FlexibleRunner, metrics: dict | None = None) -> None:
        """Keep the weights of the best validation so far."""
        if self.save_best is None or runner.iter == 0:
            return
        if self.save_best not in (metrics or {}):
            raise UserError(
                f'default_hooks.checkpoint.save_best={self.save_best!r} is not among '
                f"the validation's metrics {sorted(metrics or ())}: choose one"
            )
        hub, score = runner.message_hub, (metrics or {})[self.save_best]
        best = hub.runtime_info.get('best_score')
        if best is not None and not BETTER[self.rule](score, best):
            return
        done, rest = divmod(runner.iter, runner.train_loop.epoch_length)
        name = f'epoch_{done}' if self.by_epoch and not rest else f'iter_{runner.iter}'
        path = Path(runner.work_dir) / f'best_{self.save_best}_{name}.pth'
        runner.save_checkpoint(path, resumable=False)
        old = own_file(runner.work_dir, hub.runtime_info.get('best_ckpt', ''))
        if is_main_process() and old is not None and old != path:
            old.unlink(missing_ok=True)
        hub.update_info('best_score', float(score))
        hub.update_info('best_ckpt', path.name)
        print_log(f'best {self.save_best} so far: {score:.4f}, kept as {path.name}', 'current')


def between_steps(runner: FlexibleRunner) -> bool:
    """No gradient is half accumulated: it would be lost."""
    return runner.iter % runner.strategy.accumulation == 0 or runner.iter == runner.max_iters


def point_at(path: Path) -> None:
    """`last_checkpoint` of the work dir names the newest one, for scripts."""
    pointer = path.with_name('last_checkpoint')
    fresh = path.with_name('.last_checkpoint.new')
    fresh.write_text(str(path))
    os.replace(fresh, pointer)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """SIGTERM (preemption, a queue's time limit) and SIGINT (Ctrl-C): save, then stop with exit
    status 143 or 130.

    The signal may reach one rank only, and the ranks at different moments: they agree after each
    iteration, and within a validation after each batch. A second one ends the process at once.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._asked: int | None = None
        self._training = False

    def before_train(self, runner: FlexibleRunner) -> None:
        """Listen to the signals from here on."""
        self._training = True
        for number in SIGNALS:
            signal.signal(number, self._note)  # until `RefSegRunner.train` ends

    def _note(self, number: int, frame: object) -> None:
        self._asked = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    def after_step(self, runner: FlexibleRunner) -> None:
        """Stop here if a signal has come."""
        self._stop_if_asked(runner)

    def after_val_iter(
        self, runner: FlexibleRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop within a validation of a training if a signal has come."""
        if self._training:  # a validation within it
            self._stop_if_asked(runner)

    def _stop_if_asked(self, runner: FlexibleRunner) -> None:
        asked = runner.agreement.any(*(self._asked == number for number in SIGNALS))
        if not (any(asked) and between_steps(runner)):
            return
        number = SIGNALS[asked.index(True)]
        hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
        path = hook.save(runner, regular=False)
        runner.call_hook('after_train')
        print_log(
            f'{number.name}: saved {path} and stopped; --resume goes on from there',
            'current',
            logging.WARNING,
        )
        with contextlib.suppress(Exception):
            runner.visualizer.close()
        sys.exit(128 + number)
