"""What a user sees while it runs."""
from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
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


@HOOKS.register_module()
class OddMaskHook(Hook):
    """Warns once of the annotated masks that are used although they are odd: those that were
    resized to their image, and empty ones. After the first epoch of training, validation, test.

    A loader's worker has no voice of its own: the samples carry what it saw, and all ranks count.
    """

    KINDS = {'resized': 'have another size than their image and were resized (nearest neighbour)',
             'empty': 'are empty; the samples are kept'}

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, set[str]]] = {}  # phase -> kind or 'all' -> sample ids
        self._told: set[str] = set()

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train') -> None:
        if mode in self._told or data_batch is None:
            return
        seen = self._seen.setdefault(mode, {'all': set(), **{kind: set() for kind in self.KINDS}})
        for sample in data_batch['data_samples']:
            if 'gt_mask' in sample:
                seen['all'].add(sample.sample_id)
                if 'mask_size' in sample:
                    seen['resized'].add(sample.sample_id)
                if not sample.gt_mask.any():
                    seen['empty'].add(sample.sample_id)

    def _after_epoch(self, runner, mode='train') -> None:
        if mode in self._told:
            return
        self._told.add(mode)
        ranks = all_gather_object(self._seen.pop(mode, {}))
        total, *odd = (set().union(*(seen.get(kind, ()) for seen in ranks))
                       for kind in ('all', *self.KINDS))
        for ids, what in zip(odd, self.KINDS.values(), strict=True):
            if ids:
                print_log(f'{mode}: {len(ids)} of {len(total)} masks {what}: samples '
                          f'{_some(sorted(ids))}', logger='current', level=logging.WARNING)


@HOOKS.register_module()
class CutSentenceHook(Hook):
    """Says how many sentences were longer than the text tower's positions and were cut, each time
    that they were read: at the end of training, of each validation and of each test.

    A test's metrics then hold the number as `cut_sentences`. All ranks count.
    """

    def __init__(self) -> None:
        self._cut: dict[str, int] = {}  # phase -> sentences of this rank
        self._before = 0

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train') -> None:
        model = getattr(runner.model, 'module', runner.model)
        total = model.data_preprocessor.n_cut
        self._cut[mode] = self._cut.get(mode, 0) + total - self._before
        self._before = total

    def _tell(self, mode: str) -> int:
        total = sum(all_gather_object(self._cut.pop(mode, 0)))
        if total:
            print_log(f'{mode}: {total} sentences were longer than the text tower\'s positions and '
                      'were cut', logger='current', level=logging.WARNING)
        return total

    def after_train(self, runner) -> None:
        self._tell('train')

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._tell('val')

    def after_test_epoch(self, runner, metrics=None) -> None:
        total = self._tell('test')
        if total and metrics is not None:
            metrics['cut_sentences'] = total


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
