"""What a user sees while it runs."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.logging import MessageHub, print_log
from mmengine.runner import FlexibleRunner
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..registry import HOOKS

# Without tqdm's own time left, which knows of no validation.
TRAIN_BAR = '{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}'
LIVE = {
    'loss': 'loss {:.3f}',
    'images_per_s': '{:.1f} images/s',
    'data_share': 'data {:.0%}',
    'mfu': 'MFU {:.0%}',
}


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A live bar on a terminal: loss, speed, share of waiting for data, the time left as in the log
    (`TimerHook`). A validation within training has its own below it. The log's lines pass above the
    bars; in a file they suffice.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._bars: dict[str, tqdm] = {}
        self._log = contextlib.ExitStack()

    def _open(
        self, runner: FlexibleRunner, total: int, name: str, done: int = 0, form: str | None = None
    ) -> None:
        if is_main_process() and sys.stderr.isatty():
            if not self._bars:  # lines are written above it
                self._log.enter_context(logging_redirect_tqdm([runner.logger]))
            self._bars[name] = tqdm(
                total=total,
                initial=done,
                desc=name,
                leave=False,
                dynamic_ncols=True,
                bar_format=form,
                position=len(self._bars),
            )

    def _step(self, name: str, shown: str = '') -> None:
        if name in self._bars:
            self._bars[name].set_postfix_str(shown, refresh=False)
            self._bars[name].update()

    def _close(self, name: str) -> None:
        if name in self._bars:
            self._bars.pop(name).close()
            if not self._bars:
                self._log.close()

    def before_train(self, runner: FlexibleRunner) -> None:
        """Open the bar of the training, at the iteration that it starts from."""
        self._open(runner, runner.max_iters, 'train', runner.iter, TRAIN_BAR)

    def after_train_iter(
        self,
        runner: FlexibleRunner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Any = None,
    ) -> None:
        """One step, with the latest loss and speed."""
        if 'train' in self._bars:
            self._step('train', live_line(runner.message_hub))

    def after_train(self, runner: FlexibleRunner) -> None:
        """Close the bar of the training."""
        self._close('train')

    def before_val_epoch(self, runner: FlexibleRunner) -> None:
        """Open the bar of a validation."""
        self._open(runner, len(runner.val_dataloader), 'val')

    def after_val_iter(
        self,
        runner: FlexibleRunner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Any = None,
    ) -> None:
        """One step."""
        self._step('val')

    def after_val_epoch(
        self, runner: FlexibleRunner, metrics: dict[str, float] | None = None
    ) -> None:
        """Close the bar of the validation."""
        self._close('val')

    def before_test_epoch(self, runner: FlexibleRunner) -> None:
        """Open the bar of a test."""
        self._open(runner, len(runner.test_dataloader), 'test')

    def after_test_iter(
        self,
        runner: FlexibleRunner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Any = None,
    ) -> None:
        """One step."""
        self._step('test')

    def after_test_epoch(
        self, runner: FlexibleRunner, metrics: dict[str, float] | None = None
    ) -> None:
        """Close the bar of the test."""
        self._close('test')

    def before_control(self, runner: FlexibleRunner, total: int) -> None:
        """Open the bar of the second pass, with exchanged sentences; `total`: its batches."""
        self._open(runner, total, 'control')

    def after_control_iter(self, runner: FlexibleRunner) -> None:
        """One step."""
        self._step('control')

    def after_control(self, runner: FlexibleRunner) -> None:
        """Close the bar of the second pass."""
        self._close('control')


def live_line(hub: MessageHub) -> str:
    """What the bar shows of the log; what is not measured is left out."""
    found = {
        name: hub.get_scalar(f'train/{name}').current()
        for name in LIVE
        if f'train/{name}' in hub.log_scalars
    }
    parts = [LIVE[name].format(value) for name, value in found.items()]
    if 'eta' in hub.runtime_info:
        parts.append(f'eta {timedelta(seconds=round(hub.get_info("eta")))}')
    return ', '.join(parts)


@HOOKS.register_module()
class MaskWarningHook(Hook):
    """Warns once about empty or resized masks, after the first epoch of training, validation, test.

    The workers of a loader do not log: the samples carry what they saw. All ranks are counted.
    An empty mask is no fault where the data set has sentences without a target (`no_target`).
    """

    KINDS = {
        'resized': 'have another size than their image and were resized (nearest neighbour)',
        'empty': 'are empty; the samples are kept',
    }

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, set[str]]] = {}  # phase -> kind or 'all' -> sample ids
        self._reported: set[str] = set()

    def _after_iter(
        self,
        runner: FlexibleRunner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        if mode in self._reported or data_batch is None:
            return
        seen = self._seen.setdefault(mode, {'all': set(), **{kind: set() for kind in self.KINDS}})
        for sample in data_batch['data_samples']:
            if 'gt_mask' in sample:
                seen['all'].add(sample.sample_id)
                if 'mask_size' in sample:
                    seen['resized'].add(sample.sample_id)
                if 'no_target' not in sample and not sample.gt_mask.any():
                    seen['empty'].add(sample.sample_id)

    def _after_epoch(self, runner: FlexibleRunner, mode: str = 'train') -> None:
        if mode in self._reported:
            return
        self._reported.add(mode)
        ranks = all_gather_object(self._seen.pop(mode, {}))
        total, *found = (
            set().union(*(seen.get(kind, ()) for seen in ranks)) for kind in ('all', *self.KINDS)
        )
        for ids, what in zip(found, self.KINDS.values(), strict=True):
            if ids:
                print_log(
                    f'{mode}: {len(ids)} of {len(total)} masks {what}: samples '
                    f'{_some(sorted(ids))}',
                    logger='current',
                    level=logging.WARNING,
                )


@HOOKS.register_module()
class TruncatedSentenceHook(Hook):
    """Says how many sentences were longer than the text tower's positions and were cut, each time
    that they were read: at the end of training, of each validation and of each test.

    A test's metrics then hold the number as `cut_sentences`. All ranks count.
    """

    def __init__(self) -> None:
        self._cut: dict[str, int] = {}  # phase -> sentences of this rank
        self._before = 0

    def _after_iter(
        self,
        runner: FlexibleRunner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        model = getattr(runner.model, 'module', runner.model)
        total = model.data_preprocessor.n_cut
        self._cut[mode] = self._cut.get(mode, 0) + total - self._before
        self._before = total

    def _tell(self, mode: str) -> int:
        total = sum(all_gather_object(self._cut.pop(mode, 0)))
        if total:
            print_log(
                f"{mode}: {total} sentences were longer than the text tower's positions and "
                'were cut',
                logger='current',
                level=logging.WARNING,
            )
        return total

    def after_train(self, runner: FlexibleRunner) -> None:
        """Report the training's sentences that were cut."""
        self._tell('train')

    def after_val_epoch(
        self, runner: FlexibleRunner, metrics: dict[str, float] | None = None
    ) -> None:
        """Report the validation's."""
        self._tell('val')

    def after_test_epoch(
        self, runner: FlexibleRunner, metrics: dict[str, float] | None = None
    ) -> None:
        """Report the test's, and add their number to its metrics."""
        total = self._tell('test')
        if total and metrics is not None:
            metrics['cut_sentences'] = total


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """mmengine's; the log has `base_lr` beside `lr` only where the two differ.

    `lr` is the learning rate of the first group of parameters, `base_lr` the optimizer's own. They
    differ where `optim_wrapper.paramwise_cfg.rates` gives that group a share.
    """

    def before_train_iter(
        self, runner: FlexibleRunner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Set iteration and learning rate."""
        super().before_train_iter(runner, batch_idx, data_batch)
        scalars = runner.message_hub.log_scalars
        base, own = (scalars.get(f'train/{name}') for name in ('base_lr', 'lr'))
        if base is not None and own is not None and base.current() == own.current():
            del scalars['train/base_lr']
