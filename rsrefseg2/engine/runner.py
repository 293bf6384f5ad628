"""mmengine's runner with checkpoints of our own."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine._strategy import BaseStrategy
from mmengine.config import Config
from mmengine.dist import is_main_process, master_only
from mmengine.logging import HistoryBuffer
from mmengine.runner import FlexibleRunner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import UserError, os_errors_located
from ..files import write_with
from ..models.towers.fingerprints import mark_replaced, tower_sources
from .checkpoint import check_fits, check_tokenizer
from .checkpoint_files import (
    OPTIM,
    find_newest,
    optim_file,
    read_checkpoint,
    read_optim,
    write_atomically,
)
from .checkpoint_hook import SIGNALS
from .log_handlers import training_console, watch_log
from .rank_sync import Agreement
from .trained_as import (
    changes,
    check_function,
    data_mark,
    function_of,
    recorded_config,
    tokenizer_mark,
    words_of,
)
from .work_dir import lock_work_dir, own_file, release_work_dir
from .workers import loader_options, watch_workers


class RefSegRunner(FlexibleRunner):
    """As mmengine's; it saves, loads and resumes in the format of `engine/checkpoint.py`."""

    _agreement: Agreement | None = None
    _has_loaded: bool
    _locked = False  # the work dir, by this run
    _trains = False
    _begun: str | None = None  # the first start of this run

    def save_checkpoint(self, path: Path, *, resumable: bool = True) -> None:
        """Write the weights to `path` and, with `resumable`, what a resume needs beside it.

        Every rank takes part; the main process writes.

        Raises:
            UserError: on every rank, if a weight is NaN or infinite, or a file cannot be written.
        """
        model = getattr(self.model, 'module', self.model)
        weights = self.strategy.trained_weights()
        optim = self.strategy.optimizer_state() if resumable else None
        words = set[str]().union(*self.agreement.gather(self.train_loop.words))
        fault = None
        if is_main_process():
            saved = time.time()
            try:
                bad = [name for name, value in weights.items() if not value.isfinite().all()]
                if bad:
                    raise UserError(
                        f'{len(bad)} weights are NaN or infinite after {self.iter} iterations '
                        f'({", ".join(bad[:3])}), {path} is not written: go on from an earlier '
                        'checkpoint with a lower learning rate'
                    )
                checkpoint = dict(
                    state_dict=weights,
                    meta=self._meta(saved, words),
                    towers={
                        name: source._asdict() for name, source in tower_sources(model).items()
                    },
                )
                self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
                if resumable:  # first: where the weights are, the rest is
                    write_atomically(
                        dict(
                            optimizer=optim,
                            meta=dict(iter=self.iter, saved=saved),
                            param_schedulers=self.strategy.scheduler_state_dict(),
                            message_hub=plain_hub(self.message_hub.state_dict()),
                        ),
                        optim_file(path),
                    )
                write_atomically(checkpoint, path)
            except UserError as error:
                fault = str(error)
        fault = self.agreement.from_main(fault)
        if fault is not None:
            raise UserError(fault)

    def _log_env(self) -> None:
        watch_log(self.logger)
        super()._log_env()

    @master_only
    def dump_config(self) -> None:
        """Into the log folder: the config in the work dir is that of the training in it."""
        write_with(os.path.join(self.log_dir, self._config_name), self.cfg.dump)

    @property
    def _config_name(self) -> str:
        return os.path.basename(self.cfg.filename or f'{self.timestamp}.py')

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
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

    def _meta(self, saved: float, words: set[str]) -> dict:
        """words: that were trained on; those that the data set holds are added."""
        trained_as = self._trained_as
        words = words.union(trained_as.get('words', ()))
        return dict(
            epoch=self.epoch,
            iter=self.iter,
            epoch_length=self.train_loop.epoch_length,
            seed=self.seed,
            saved=saved,
            begun=self._begun or self.timestamp,
            experiment_name=self.experiment_name,
            cfg=self.cfg.pretty_text,
            torch=str(torch.__version__),
            **trained_as | ({'words': sorted(words)} if words else {}),
        )

    @functools.cached_property
    def _trained_as(self) -> dict:
        """What weights of this run are trained as, see trained_as.py."""
        dataset = self.train_loop.dataloader.dataset
        data, words = data_mark(dataset), words_of(dataset)
        return dict(
            function=function_of(self.cfg.model),
            tokenizer=tokenizer_mark(self.strategy.plain_model.data_preprocessor.tokenizer),
            **({} if data is None else {'data': data}),
            **({} if words is None else {'words': words}),
        )

    def train(self) -> nn.Module:
        """As mmengine's, in a work dir that is locked meanwhile; a fresh start in a used one is
        warned of.

        However it ends, the signals of PreemptionHook then mean what they meant before: processes that
        are forked later would inherit its handler.

        Raises:
            UserError: another training has the work dir.
        """
        before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
        try:
            if not self._locked:
                self.agreement.main_does(lambda: lock_work_dir(self.work_dir))
                self._locked = True
            if not self._resume and any(Path(self.work_dir).glob('*' + OPTIM)):
                self.logger.warning(
                    f'{self.work_dir} holds checkpoints of an earlier run: this one starts afresh '
                    'and replaces those of the same names; --resume would have gone on'
                )
            self._trains = True
            with os_errors_located(self.work_dir), training_console(self.logger):
                return super().train()
        finally:
            self._trains = False
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._locked:
                release_work_dir(self.work_dir)
                self._locked = False

    def test(self) -> dict:
        """As mmengine's."""
        with os_errors_located(self.work_dir):
            return super().test()

    def load_or_resume(self) -> None:
        """Once: resume from the checkpoint that is asked for, or the newest whole one of the work
        dir; or load weights. Then, and not before (a resume may be refused), the work dir holds
        this training's config; a resumed one keeps its own."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if self._resume:
            given = self._resume if isinstance(self._resume, str) else self._load_from
            path = given or self._newest()
            if path is None:
                self.logger.info(f'no checkpoint to resume in {self.work_dir}: a fresh start')
            else:
                self.resume(path)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        path = Path(self.work_dir) / self._config_name
        if self._trains and is_main_process() and not (self._resume and path.exists()):
            write_with(path, self.cfg.dump)

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
            UserError: see `read_checkpoint` and `check_fits`; for a test, `check_function`.
        """
        checkpoint = read_checkpoint(path)
        try:
            check_function(self.cfg.model, checkpoint, path)
        except UserError as error:
            if not self._trains:
                raise
            self.logger.warning(str(error))  # the training may repair it
        self._load(checkpoint, path)
        return checkpoint

    def _load(self, checkpoint: dict, path: str | os.PathLike) -> None:
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        check_fits(self.strategy.plain_model, checkpoint, location=str(path))
        check_tokenizer(self.strategy.plain_model, checkpoint, location=str(path))
        mark_replaced(self.strategy.plain_model, checkpoint['state_dict'])
        self.strategy.load_weights(checkpoint['state_dict'])
        self.logger.info(f'weights of {path}')

    def resume(self, path: str | os.PathLike) -> None:
        """Weights, optimizer, schedule, log and position.

        Raises:
            UserError: a file does not exist or is damaged; the model, the tokenizer, the data or
                the order of samples is another one, or fewer iterations are asked for than are
                done.
        """
        checkpoint = read_checkpoint(path)
        optim = read_optim(path, checkpoint)
        meta = checkpoint['meta']
        self._check_order(meta, path)
        check_function(self.cfg.model, checkpoint, path)
        for line in self.agreement.main_does(lambda: self._compare(meta, path)):
            self.logger.warning(f'this run differs from the one that {path} is of: {line}')
        if len(optim['param_schedulers']) != len(self.param_schedulers):
            raise UserError(
                f'checkpoint {path} has {len(optim["param_schedulers"])} schedules, '
                f'this run {len(self.param_schedulers)}: keep param_scheduler'
            )
        self._load(checkpoint, path)
        self.strategy.load_optimizer_state(optim['optimizer'])
        self.strategy.load_scheduler_state_dict(optim['param_schedulers'])
        self.message_hub.load_state_dict(buffered_hub(optim['message_hub']))
        self._own_names(path, meta)
        self.train_loop.start_at(meta['iter'])
        self.train_loop.words.update(meta.get('words', ()))
        self.strategy.start_at(meta['iter'])
        self.logger.info(f'resumed {path}: epoch {self.epoch}, iteration {self.iter}')

    def _check_order(self, meta: dict, path: str | os.PathLike) -> None:
        loop = self.train_loop
        if meta['epoch_length'] != loop.epoch_length:
            raise UserError(
                f'checkpoint {path} has {meta["epoch_length"]} iterations an epoch, this run '
                f'{loop.epoch_length}: keep the data and ranks x train_dataloader.batch_size'
            )
        if meta['seed'] != self.seed:
            raise UserError(
                f'checkpoint {path} was trained with randomness.seed={meta["seed"]}, '
                f'not {self.seed}: the order of samples would be another'
            )
        if meta['iter'] > loop.max_iters:
            raise UserError(
                f'checkpoint {path} has {meta["iter"]} iterations done, more than the '
                f'{loop.max_iters} of this run: ask for more with train_cfg.'
                f'{"max_epochs" if loop.by_epoch else "max_iters"}, or resume an '
                'earlier one'
            )

    def _compare(self, meta: dict, path: str | os.PathLike) -> list[str]:
        """What this run has otherwise than the checkpoint's, by the config.

        Raises:
            UserError: its training data are others.
        """
        recorded = recorded_config(meta.get('cfg', ''))
        lines = changes(recorded, recorded_config(self.cfg.pretty_text) or {}) if recorded else []
        other = [
            line
            for line in lines
            if line.startswith('train_dataloader.dataset.')
            and not line.startswith('train_dataloader.dataset.pipeline')
        ]
        mark = self._trained_as.get('data')
        if meta.get('data', mark) != mark or (other and 'data' not in meta):
            raise UserError(
                f"checkpoint {path} was trained on other data than this run's "
                f'({"; ".join(other) or "their records or the sizes of files differ"}'
                '): resume with its data, or start from the weights alone with '
                '--cfg-options load_from=...'
            )
        return lines

    def _own_names(self, path: str | os.PathLike, meta: dict) -> None:
        """Of the files that the checkpoint names this run keeps and removes those of its own work
        dir; none, where it was resumed from elsewhere."""
        info = self.message_hub.runtime_info
        inside = os.path.realpath(Path(path).parent) == os.path.realpath(self.work_dir)
        for key in ('checkpoints', 'best_ckpt', 'stopped'):
            given = info.get(key, [])
            files = (
                [
                    own_file(self.work_dir, name)
                    for name in ([given] if isinstance(given, str) else given)
                ]
                if inside
                else []
            )
            names = [file.name for file in files if file is not None]
            if key in info:
                self.message_hub.update_info(key, names if key == 'checkpoints' else ''.join(names))
        self._begun = meta.get('begun') if inside else None


class TrainingRunner(RefSegRunner):
    """Has locked its work dir before it wrote into it."""

    _locked = True

    def build_strategy(self, strategy: dict, **kwargs: Any) -> BaseStrategy:
        """As mmengine's."""
        return super().build_strategy(dict(strategy, exclusive=True), **kwargs)


def check_start(cfg: Config) -> None:
    """The checkpoint that a run is to start from can be read, and resumed by this config:
    asked before the towers are built.

    Raises:
        UserError: it cannot.
    """
    resume, load_from = cfg.get('resume', False), cfg.get('load_from')
    path = resume if isinstance(resume, str) else load_from
    if path is not None and resume:
        checkpoint = read_checkpoint(path)
        read_optim(path, checkpoint)
        check_function(cfg.model, checkpoint, path)
    elif path is not None:
        read_checkpoint(path)


def plain_hub(state: dict) -> dict:
    """The state of mmengine's MessageHub without objects: a log is two tensors."""
    return dict(
        runtime_info={
            name: value.item() if hasattr(value, 'item') else value
            for name, value in state['runtime_info'].items()
        },
        resumed_keys=dict(state['resumed_keys']),
        log_scalars={
            name: [torch.from_numpy(values.copy()) for values in buffer.data]
            for name, buffer in state['log_scalars'].items()
        },
    )


def buffered_hub(state: dict) -> dict:
    """The reverse of `plain_hub`."""
    return dict(
        state,
        log_scalars={
            name: HistoryBuffer(*(values.numpy() for values in pair))
            for name, pair in state['log_scalars'].items()
        },
    )
