"""From a config file and a command line to a runner."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import FlexibleRunner

from ..errors import UserError, make_folder
from .config_check import check_config, check_top_keys
from .config_files import read_config
from .runner import RefSegRunner, check_start
from .strategies import prepare_launch

# What torch says in an error without a class of its own.
OUT_OF_MEMORY = ('allocate memory', 'out of memory', 'not enough memory',
                 'killed by signal: Killed')


def load_config(path: str, *, options: dict | None = None, work_dir: str | None = None) -> Config:
    """The config at `path` with `--cfg-options` merged, checked for unknown keys and classes.

    `work_dir`: the argument, else the config's own, else work_dirs/<config's name>.

    Raises:
        UserError: the file does not exist or cannot be read; an unknown key, class or choice.
    """
    cfg = read_config(path)
    check_top_keys(cfg, options or (), path)
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f'config {path}, --cfg-options: {error.args[0]}') from error
    init_default_scope(cfg.get('default_scope', 'rsrefseg2'))
    check_config(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', os.path.splitext(os.path.basename(path))[0])
    return cfg


def build_runner(cfg: Config, *, launcher: str = 'none') -> RefSegRunner:
    """A runner that trains or tests `cfg` with the launcher that it was started by.

    Raises:
        UserError: the checkpoint to start from does not exist or cannot be read; the work dir
            cannot be made.
    """
    check_start(cfg.get('load_from'), cfg.get('resume', False))
    make_folder(cfg.work_dir)
    prepare_launch(cfg, launcher)
    runner = RefSegRunner.from_cfg(cfg)
    _warn_of_batch(runner, cfg)
    return runner


@contextlib.contextmanager
def explain_out_of_memory(cfg: Config, loader: str | None = None) -> Iterator[None]:
    """Too little memory becomes one line: the batch it was too little for, and what to lower.

    Args:
        loader: 'train_dataloader' or 'test_dataloader'; None: prediction, without a loader.
    Raises:
        UserError: in place of a MemoryError or of torch's out-of-memory errors.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = str(error)
        if not (isinstance(error, (MemoryError, torch.OutOfMemoryError))
                or any(words in message for words in OUT_OF_MEMORY)):
            raise
        towers = f'{cfg.model.siglip.checkpoint} and {cfg.model.sam.checkpoint}'
        if loader is None:
            raise UserError(f'out of memory in prediction with {towers}: free memory, choose '
                            'another --device, such as cpu, or a smaller image; a model of smaller '
                            'towers needs less') from error
        batch, other = cfg[loader].batch_size, ''
        if 'killed by signal' in message:  # the system took a loader's worker
            other += f', or lower {loader}.num_workers'
        if loader == 'train_dataloader' and cfg.strategy.type != 'ZeRO2Strategy':
            other += ', or another strategy (_base_/strategies/zero2_bf16.py)'
        raise UserError(
            f'out of memory at {loader}.batch_size={batch} sentences a device, with {towers}: '
            f'lower {loader}.batch_size (in training, optim_wrapper.accumulative_counts keeps the '
            f'global batch), or take a smaller model.sam.checkpoint{other}') from error


def _warn_of_batch(runner: FlexibleRunner, cfg: Config) -> None:
    """The learning rate belongs to a global batch: ranks x batch x accumulation."""
    recipe = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if recipe is None or cfg.get('train_dataloader') is None:
        return
    batch, accumulation = (cfg.train_dataloader.batch_size,
                           cfg.optim_wrapper.get('accumulative_counts', 1))
    product = runner.world_size * batch * accumulation
    if product != recipe:
        runner.logger.warning(
            f'global batch {product} ({runner.world_size} ranks x {batch} x accumulation '
            f'{accumulation}), but the learning rate is for {recipe}: change '
            f'train_dataloader.batch_size or the rate')
