"""When a checkpoint is written, which are kept, and which is the best; and how a run is stopped."""
from __future__ import annotations

import contextlib
import logging
import operator
import os
import signal
import sys
from pathlib import Path
from typing import Literal

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log

from ..registry import HOOKS
from .checkpoint import optim_file

BETTER = {'greater': operator.gt, 'less': operator.lt}
STOPPED = 128 + signal.SIGTERM  # the exit status of a process that SIGTERM ended


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

    def __init__(self, *, interval: int = 1, by_epoch: bool = True, max_keep_ckpts: int = 2,
                 save_best: str | None = 'gIoU',
                 rule: Literal['greater', 'less'] = 'greater') -> None:
        if interval < 1 or max_keep_ckpts < 1:
            raise ValueError(f'interval and max_keep_ckpts are at least 1, not {interval} and '
                             f'{max_keep_ckpts}')
        self.interval, self.by_epoch, self.max_keep_ckpts = interval, by_epoch, max_keep_ckpts
        self.save_best, self.rule = save_best, rule
        self._due = False

    def before_train(self, runner) -> None:
        # What a killed process left behind; it never had a name of its own.
        if is_main_process():
            for unfinished in Path(runner.work_dir).glob('.*.pth.unfinished'):
                unfinished.unlink()

    def after_step(self, runner) -> None:
        """After each iteration, before a validation: `runner.iter` iterations are done."""
        loop = runner.train_loop
        done, rest = divmod(runner.iter, loop.epoch_length if self.by_epoch else 1)
        self._due |= ((not rest and done % self.interval == 0)
                      or runner.iter == runner.max_iters)
        if self._due and between_steps(runner):
            self.save(runner)

    def save(self, runner) -> Path:
        """Write a checkpoint of now and remove what is older than wanted."""
        done, rest = divmod(runner.iter, runner.train_loop.epoch_length)
        name = f'epoch_{done}' if self.by_epoch and not rest else f'iter_{runner.iter}'
        path = Path(runner.work_dir) / f'{name}.pth'
        self._due = False
        info = runner.message_hub.runtime_info
        kept = [kept for kept in info.get('checkpoints', ()) if kept != str(path)] + [str(path)]
        surplus, kept = kept[:-self.max_keep_ckpts], kept[-self.max_keep_ckpts:]
        runner.message_hub.update_info('checkpoints', kept)
        runner.save_checkpoint(path)
        if is_main_process():
            point_at(path)
            for old in map(Path, surplus):  # its weights first: without them it is none
                for file in (old, optim_file(old)):
                    file.unlink(missing_ok=True)
        return path

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Keep the weights of the best validation so far."""
        if self.save_best is None or runner.iter == 0:
            return
        if self.save_best not in (metrics or {}):
            raise KeyError(f'default_hooks.checkpoint.save_best={self.save_best!r} is not among '
                           f'the validation\'s metrics {sorted(metrics or ())}')
        hub, score = runner.message_hub, metrics[self.save_best]
        best = hub.runtime_info.get('best_score')
        if best is not None and not BETTER[self.rule](score, best):
            return
        done, rest = divmod(runner.iter, runner.train_loop.epoch_length)
        name = f'epoch_{done}' if self.by_epoch and not rest else f'iter_{runner.iter}'
        path = Path(runner.work_dir) / f'best_{self.save_best}_{name}.pth'
        runner.save_checkpoint(path, resumable=False)
        old = hub.runtime_info.get('best_ckpt')
        if is_main_process() and old not in (None, str(path)):
            Path(old).unlink(missing_ok=True)
        hub.update_info('best_score', float(score))
        hub.update_info('best_ckpt', str(path))
        print_log(f'best {self.save_best} so far: {score:.4f}, kept as {path.name}', 'current')


def between_steps(runner) -> bool:
    """No gradient is half accumulated: it would be lost."""
    return (runner.iter % runner.strategy.accumulation == 0
            or runner.iter == runner.max_iters)


def point_at(path: Path) -> None:
    """`last_checkpoint` of the work dir names the newest one, for scripts."""
    pointer = path.with_name('last_checkpoint')
    fresh = path.with_name('.last_checkpoint.new')
    fresh.write_text(str(path))
    os.replace(fresh, pointer)


@HOOKS.register_module()
class StopHook(Hook):
    """SIGTERM (preemption, a queue's time limit): save, then stop with exit status 143.

    The signal may reach one rank only, and the ranks at different moments: they agree after each
    iteration, and within a validation after each batch. A second SIGTERM ends the process at once.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._asked = self._training = False

    def before_train(self, runner) -> None:
        self._training = True
        signal.signal(signal.SIGTERM, self._note)  # until `RefSegRunner.train` ends

    def _note(self, number: int, frame: object) -> None:
        self._asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def after_step(self, runner) -> None:
        self._stop_if_asked(runner)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._training:  # a validation within it
            self._stop_if_asked(runner)

    def _stop_if_asked(self, runner) -> None:
        if not (runner.agreement.any(self._asked)[0] and between_steps(runner)):
            return
        hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
        path = hook.save(runner)
        runner.call_hook('after_train')
        print_log(f'SIGTERM: saved {path} and stopped; --resume goes on from there', 'current',
                  logging.WARNING)
        with contextlib.suppress(Exception):
            runner.visualizer.close()
        sys.exit(STOPPED)
