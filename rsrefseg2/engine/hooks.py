"""What a user sees while it runs."""
from __future__ import annotations

import sys

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from ..registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A live bar with the time left, on a terminal; in a log the logger's plain lines suffice."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def _open(self, total: int, name: str, done: int = 0) -> None:
        if is_main_process() and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=done, desc=name, leave=False,
                             dynamic_ncols=True, smoothing=0.05)

    def _step(self, **shown: object) -> None:
        if self._bar is not None:
            if shown:
                self._bar.set_postfix(shown, refresh=False)
            self._bar.update()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def before_train(self, runner) -> None:
        self._open(runner.max_iters, 'train', runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = (outputs or {}).get('loss')
        self._step(**({} if loss is None else {'loss': f'{float(loss.detach()):.3f}'}))

    def after_train(self, runner) -> None:
        self._close()

    def before_test_epoch(self, runner) -> None:
        self._open(len(runner.test_dataloader), 'test')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._step()

    def after_test_epoch(self, runner, metrics=None) -> None:
        self._close()
