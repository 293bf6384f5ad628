"""Training as a function of seed and iteration, so that it can stop and go on anywhere."""

from __future__ import annotations

import logging
import random
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import BaseLoop, FlexibleRunner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from ..bounds import NonNegativeInt, PositiveInt
from ..datasets.samplers import TrainBatchSampler
from ..errors import UserError
from ..evaluation import COLUMNS, PRESENCE, score_table
from ..models.towers.tokenizers import words_in
from ..registry import LOOPS
from .rank_sync import Agreement, mean_over_ranks
from .run_log import describe_training

MOST_SKIPPED = 10  # in a row


@LOOPS.register_module()
class RefSegTrainLoop(BaseLoop):
    """Train for `max_epochs` epochs or `max_iters` iterations; validate now and then.

    What happens in iteration i depends on the weights, the optimizer, the seed and i alone: the
    batch by its sampler, the random numbers because they are seeded anew in each iteration. So a
    checkpoint needs to remember no more than i. After each iteration, and before the validation
    that may be due, hooks get `after_step`: checkpoints are written there; and `before_data` when
    all that is over and the next batch is asked for. A run that is resumed at a validation begins
    with it.

    Args:
        max_epochs, max_iters: one of the two; it is also the unit of the next two.
        val_interval: between validations; there is always one at the end.
        val_begin: the first epoch or iteration after which one may be due.
        non_finite: where the loss of a batch is NaN or infinite on any rank: 'stop' with an error
            that names the batch's files, or 'skip' its update with a warning that does, at most
            10 in a row.
    Raises:
        UserError: the batch sampler cannot start in the middle.
    """

    def __init__(
        self,
        runner: FlexibleRunner,
        dataloader: DataLoader | dict,
        *,
        max_epochs: PositiveInt | None = None,
        max_iters: PositiveInt | None = None,
        val_interval: PositiveInt = 1,
        val_begin: NonNegativeInt = 1,
        non_finite: Literal['stop', 'skip'] = 'stop',
    ) -> None:
        self.check_values(max_epochs=max_epochs, max_iters=max_iters)
        if non_finite not in ('stop', 'skip'):
            raise ValueError(f"non_finite is 'stop' or 'skip', not {non_finite!r}")
        super().__init__(runner, dataloader)
        if not isinstance(self.dataloader.batch_sampler, TrainBatchSampler):
            raise UserError(
                f'train_dataloader: {type(self.dataloader.batch_sampler).__name__} cannot start in '
                "the middle of an epoch: set batch_sampler=dict(type='ShuffledBatchSampler') or "
                'ImageGroupBatchSampler'
            )
        self.by_epoch = max_iters is None
        self.epoch_length = len(self.dataloader)
        self._max_iters = max_iters or (max_epochs or 0) * self.epoch_length
        self._max_epochs = max_epochs or -(-self._max_iters // self.epoch_length)
        self._iter = 0
        self.val_interval, self.val_begin = val_interval, val_begin
        self.non_finite = non_finite
        self.stop_training = False  # set by hooks
        self._scores: dict[str, dict[str, float]] = {}  # of each validation
        self.words: set[str] = set()  # of what was trained on, on this rank since this start
        self.runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    @staticmethod
    def check_values(*, max_epochs: int | None, max_iters: int | None) -> None:
        """Raises a UserError where the length of the training is not said, or twice."""
        if (max_epochs is None) == (max_iters is None):
            raise UserError(
                f'one of max_epochs and max_iters, not max_epochs={max_epochs} and '
                f'max_iters={max_iters}'
            )

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole training, the last one perhaps not whole."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the whole training."""
        return self._max_iters

    @property
    def iter(self) -> int:
        """Iterations that are done; inside one, its number from 0."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Epochs that are done; inside one, its number from 0."""
        return self._iter // self.epoch_length

    def start_at(self, iteration: int) -> None:
        """Go on after `iteration` iterations."""
        self._iter = iteration

    def run(self) -> nn.Module:
        """Train to the end, or until `stop_training`."""
        if self.non_finite == 'skip' and self.runner.strategy.accumulation > 1:
            raise UserError(
                "train_cfg.non_finite='skip' does not go with optim_wrapper."
                'accumulative_counts: a step would be made of fewer batches; leave '
                'one of them out'
            )
        self._optim_wrapper = GuardedOptimWrapper(
            self.runner.optim_wrapper, self.runner.model, self.runner.agreement, self.non_finite
        )
        self.runner.logger.info(describe_training(self.runner))
        self.runner.call_hook('before_train')
        if self._iter:
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            self._run_epoch()
        self.runner.call_hook('after_train')
        self._log_scores()
        return self.runner.model

    def _run_epoch(self) -> None:
        """The rest of an epoch."""
        start = self._iter % self.epoch_length
        self.dataloader.batch_sampler.start_at(self.epoch, start)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for batch_idx, batch in enumerate(self.dataloader, start):
            self._run_iter(batch_idx, batch)
            if batch_idx + 1 == self.epoch_length:
                # Hooks see the number of the epoch that ends, as mmengine's loops show it.
                self.runner.call_hook('after_train_epoch')
            self._iter += 1
            self.runner.call_hook('after_step')
            self._validate_if_due()
            if self._iter >= self._max_iters or self.stop_training:
                return
            self.runner.call_hook('before_data')

    def _run_iter(self, batch_idx: int, batch: dict) -> None:
        seed_iteration(self.runner.seed, self._iter)
        self.runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=batch)
        for sample in batch['data_samples']:  # whose sentence a transform may have rewritten
            self.words.update(words_in(sample.get('text', '')))
        self._optim_wrapper.begin(batch)
        outputs = mean_over_ranks(
            self.runner.model.train_step(batch, optim_wrapper=self._optim_wrapper)
        )
        self.runner.call_hook(
            'after_train_iter', batch_idx=batch_idx, data_batch=batch, outputs=outputs
        )

    def _validate_if_due(self) -> None:
        done, rest = self._iter, 0
        if self.by_epoch:
            done, rest = divmod(self._iter, self.epoch_length)
        due = not rest and done >= self.val_begin and done % self.val_interval == 0
        if self.runner.val_loop is not None and (due or self._iter == self._max_iters):
            self._scores[str(done)] = self.runner.val_loop.run()
            self.runner.model.train()

    def _log_scores(self) -> None:
        """One table of the validations of this start."""
        names = dict.fromkeys(name for scores in self._scores.values() for name in scores)
        if names:
            known = (*COLUMNS, *PRESENCE)
            columns = [name for name in known if name in names] or list(names)
            title = 'Scores of the validations in percent'
            head = 'epoch' if self.by_epoch else 'iteration'
            table = score_table(self._scores, title, head=head, columns=columns)
            self.runner.logger.info(f'\n{table}')


def seed_iteration(seed: int, iteration: int) -> None:
    """Every generator of this rank becomes a function of seed, iteration and rank."""
    seeds = np.random.SeedSequence((seed, iteration, get_rank())).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.manual_seed(int(seeds[2]))


class GuardedOptimWrapper:
    """The run's optim wrapper, which no update reaches whose loss is NaN or infinite.

    All ranks decide together, before the backward pass. What the forward pass left in BatchNorm's
    statistics is taken back.
    """

    def __init__(
        self,
        optim_wrapper: BaseOptimWrapper,
        model: nn.Module,
        agreement: Agreement,
        non_finite: str,
    ) -> None:
        self._wrapped, self._agreement, self._non_finite = optim_wrapper, agreement, non_finite
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._skipped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def begin(self, batch: dict) -> None:
        """Before the forward pass of `batch`: keep the statistics as they are."""
        self._batch = batch
        self._statistics = [[buffer.clone() for buffer in norm.buffers()] for norm in self._norms]

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The wrapped one's, if the loss is finite on every rank.

        Raises:
            UserError: it is not, and that is to stop the run; or too often in a row.
        """
        bad = not bool(torch.isfinite(loss.detach()))
        if not self._agreement.any(bad)[0]:
            self._skipped = 0
            self._wrapped.update_params(loss, *args, **kwargs)
            return
        self._skipped += 1
        for norm, kept in zip(self._norms, self._statistics, strict=True):
            for buffer, value in zip(norm.buffers(), kept, strict=True):
                buffer.copy_(value)
        files = ', '.join(
            f'{sample.sample_id} ({sample.img_path})' for sample in self._batch['data_samples']
        )
        # The main process alone has a log, and the samples may be another rank's.
        message = '; '.join(
            filter(
                None,
                self._agreement.gather(
                    f'the loss is {float(loss.detach())} on rank {get_rank()}, samples {files}'
                    if bad
                    else ''
                ),
            )
        )
        if self._non_finite == 'stop':
            raise UserError(
                f'{message}: look at them, lower the learning rate, or leave such batches '
                "out with train_cfg.non_finite='skip'"
            )
        if self._skipped >= MOST_SKIPPED:
            raise UserError(
                f'{message}: the {self._skipped}th batch in a row: the weights have '
                'diverged; go on from an earlier checkpoint with a lower rate'
            )
        print_log(f'{message}: its update is skipped', 'current', logging.WARNING)
