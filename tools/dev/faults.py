"""A hook for the fault drill: it says what the main process is doing, and does a fault on order.

    RSREFSEG2_DRILL='{"log": FILE, "limit": [2, 9999], "nan": [5, 1]}'

log: gets a line `train 12`, `save 12` or `val 12` as it begins; FILE.1 has the process of rank 1.
limit: before the second checkpoint, no file may grow beyond 9999 bytes. nan: the loss of iteration
5 on rank 1 is NaN.
"""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import RuntimeInfoHook

from rsrefseg2.registry import HOOKS


@HOOKS.register_module()
class FaultHook(RuntimeInfoHook):
    """In place of mmengine's hook, so that a config names it in one line."""

    def before_run(self, runner) -> None:
        super().before_run(runner)
        self._asked = json.loads(os.environ['RSREFSEG2_DRILL'])
        self._saves = 0
        Path(self._asked['log']).with_suffix(f'.{get_rank()}').write_text(str(os.getpid()))

    def _say(self, what: str, runner) -> None:
        if get_rank() == 0:
            with open(self._asked['log'], 'a') as log:
                log.write(f'{what} {runner.iter}\n')

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        super().before_train_iter(runner, batch_idx, data_batch)
        self._say('train', runner)
        if [runner.iter, get_rank()] == self._asked.get('nan'):
            model = runner.strategy.plain_model
            loss = model.loss

            def broken(*args):
                del model.loss
                return {name: value * float('nan') for name, value in loss(*args).items()}

            model.loss = broken

    def before_val_epoch(self, runner) -> None:
        self._say('val', runner)

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        self._say('save', runner)
        self._saves += 1
        save, size = self._asked.get('limit', (None, None))
        if self._saves == save:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
