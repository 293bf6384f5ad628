"""mmengine's runner with checkpoints of our own."""
from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.logging import HistoryBuffer
from mmengine.runner import FlexibleRunner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import UserError, os_errors_located
from ..files import write_with
from ..models.tower_sources import tower_sources
from .agreement import Agreement
from .checkpoint import (
    OPTIM,
    check_fits,
    find_newest,
    optim_file,
    read_checkpoint,
    read_optim,
    write_atomically,
)
from .log_handlers import watch_log
from .workers import loader_options, watch_workers


class RefSegRunner(FlexibleRunner):
    """As mmengine's; it saves, loads and resumes in the format of `engine/checkpoint.py`."""

    _agreement: Agreement | None = None

    def save_checkpoint(self, path: Path, *, resumable: bool = True) -> None:
        """Write the weights to `path` and, with `resumable`, what a resume needs beside it.

        Every rank takes part; the main process writes.

        Raises:
            UserError: on every rank, if a weight is NaN or infinite, or a file cannot be written.
        """
        model = getattr(self.model, 'module', self.model)
        weights = self.strategy.trained_weights()
        optim = self.strategy.optimizer_state() if resumable else None
        fault = None
        if is_main_process():
            saved = time.time()
            try:
                bad = [name for name, value in weights.items() if not value.isfinite().all()]
                if bad:
                    raise UserError(
                        f'{len(bad)} weights are NaN or infinite after {self.iter} iterations '
                        f'({", ".join(bad[:3])}), {path} is not written: go on from an earlier '
                        'checkpoint with a lower learning rate')
                checkpoint = dict(
                    state_dict=weights, meta=self._meta(saved),
                    towers={name: source._asdict()
                            for name, source in tower_sources(model).items()})
                self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
                if resumable:  # first: where the weights are, the rest is
                    write_atomically(
                        dict(optimizer=optim, meta=dict(iter=self.iter, saved=saved),
                             param_schedulers=self.strategy.scheduler_state_dict(),
                             message_hub=plain_hub(self.message_hub.state_dict())),
                        optim_file(path))
                write_atomically(checkpoint, path)
            except UserError as error:
                fault = str(error)
        fault = self.agreement.from_main(fault)
        if fault is not None:
            raise UserError(fault)

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """As mmengine's; what a hook cannot write is in the work dir."""
        with os_errors_located(self.work_dir):
            super().call_hook(fn_name, **kwargs)

    def _log_env(self) -> None:
        watch_log(self.logger)
        super()._log_env()

    def dump_config(self) -> None:
        """Nothing yet: the config in the work dir is that of the training in it (`_record`). A
        test's is in its log folder, beside the log."""

    @master_only
    def _record(self) -> None:
        """Write the config of a training into the work dir, once: a resumed one keeps its own."""
        path = Path(self.work_dir) / os.path.basename(self.cfg.filename or f'{self.timestamp}.py')
        if not (self._resume and path.exists()):
            write_with(path, self.cfg.dump)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        """As mmengine's, with workers that are watched (`workers.py`)."""
        if isinstance(dataloader, dict):
            dataloader = loader_options(dataloader)
        return watch_workers(FlexibleRunner.build_dataloader(dataloader, *args, **kwargs))

    @property
    def agreement(self) -> Agreement:
        """Of this run's ranks; first asked for when all of them are there."""
        if self._agreement is None:
            self._agreement = Agreement()
        return self._agreement

    def _meta(self, saved: float) -> dict:
        return dict(epoch=self.epoch, iter=self.iter, epoch_length=self.train_loop.epoch_length,
                    seed=self.seed, saved=saved, experiment_name=self.experiment_name,
                    cfg=self.cfg.pretty_text, torch=str(torch.__version__))

    def train(self) -> nn.Module:
        """As mmengine's; a fresh start in a used work dir is warned of.

        However it ends, SIGTERM then means what it meant before: processes that are forked later
        would inherit StopHook's handler.
        """
        if not self._resume and any(Path(self.work_dir).glob('*' + OPTIM)):
            self.logger.warning(
                f'{self.work_dir} holds checkpoints of an earlier run: this one starts afresh and '
                'replaces those of the same names; --resume would have gone on')
        before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        try:
            self._record()
            return super().train()
        finally:
            signal.signal(signal.SIGTERM, before)

    def load_or_resume(self) -> None:
        """Once: resume from the checkpoint that is asked for, or the newest whole one of the work
        dir; or load weights."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if self._resume:
            given = self._resume if isinstance(self._resume, str) else self._load_from
            path = given or self._newest()
            if path is None:
                self.logger.info(f'no checkpoint to resume in {self.work_dir}: a fresh start')
                return
            self.resume(path)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def _newest(self) -> str | None:
        """The newest whole checkpoint of the work dir, chosen by the main process, which reads it
        to the last byte; torn ones are named in the log."""
        path = None
        if is_main_process():
            path, torn = find_newest(self.work_dir)
            for line in torn:
                self.logger.warning(f'passed over: {line}')
        path = self.agreement.from_main(path)
        return None if path is None else str(path)

    def load_checkpoint(self, path: str | os.PathLike) -> dict:
        """The weights alone.

        Raises:
            UserError: see `read_checkpoint` and `check_fits`.
        """
        checkpoint = read_checkpoint(path)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        check_fits(self.strategy.plain_model, checkpoint, where=str(path))
        self.strategy.load_weights(checkpoint['state_dict'])
        self.logger.info(f'weights of {path}')
        return checkpoint

    def resume(self, path: str | os.PathLike) -> None:
        """Weights, optimizer, schedule, log and position.

        Raises:
            UserError: a file does not exist or is torn; the seed or the length of an epoch is
                another one.
        """
        checkpoint = read_checkpoint(path)
        optim = read_optim(path, checkpoint)
        meta, loop = checkpoint['meta'], self.train_loop
        if meta['epoch_length'] != loop.epoch_length:
            raise UserError(
                f'checkpoint {path} has {meta["epoch_length"]} iterations an epoch, this run '
                f'{loop.epoch_length}: keep the data and ranks x train_dataloader.batch_size')
        if meta['seed'] != self.seed:
            raise UserError(f'checkpoint {path} was trained with randomness.seed={meta["seed"]}, '
                            f'not {self.seed}: the order of samples would be another')
        self.load_checkpoint(path)
        self.strategy.load_optimizer_state(optim['optimizer'])
        self.strategy.load_scheduler_state_dict(optim['param_schedulers'])
        self.message_hub.load_state_dict(buffered_hub(optim['message_hub']))
        loop.start_at(meta['iter'])
        self.strategy.start_at(meta['iter'])
        self.logger.info(f'resumed {path}: epoch {self.epoch}, iteration {self.iter}')


def check_start(load_from: str | None, resume: bool | str) -> None:
    """The checkpoint that a run was told to start from can be read: asked before the towers are
    built.

    Raises:
        UserError: it cannot.
    """
    path = resume if isinstance(resume, str) else load_from
    if path is not None and resume:
        read_optim(path, read_checkpoint(path))
    elif path is not None:
        read_checkpoint(path)


def plain_hub(state: dict) -> dict:
    """The state of mmengine's MessageHub without objects: a log is two tensors."""
    return dict(
        runtime_info={name: value.item() if hasattr(value, 'item') else value
                      for name, value in state['runtime_info'].items()},
        resumed_keys=dict(state['resumed_keys']),
        log_scalars={name: [torch.from_numpy(values.copy()) for values in buffer.data]
                     for name, buffer in state['log_scalars'].items()})


def buffered_hub(state: dict) -> dict:
    """The reverse of `plain_hub`."""
    return dict(state, log_scalars={name: HistoryBuffer(*(values.numpy() for values in pair))
                                    for name, pair in state['log_scalars'].items()})
