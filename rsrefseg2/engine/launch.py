"""From a config file and a command line to a runner."""

from __future__ import annotations

import os
import re

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import FlexibleRunner

from ..errors import UserError, make_folder, os_errors_located
from ..models.zero_shot.zero_shot_model import NOT_TRAINED, refuse_zero_shot
from ..shipped import find_shipped
from .config_check import check_config, check_top_keys
from .config_files import read_config
from .memory_budget import apply_memory_budget
from .renames import rename, rename_options
from .runner import RefSegRunner, TrainingRunner, check_start
from .strategies import prepare_launch
from .work_dir import release_work_dir


def load_config(path: str, *, options: dict | None = None, work_dir: str | None = None) -> Config:
    """The config at `path` with `--cfg-options` merged, checked: keys, classes, values.

    `work_dir`: the argument, else the config's own, else work_dirs/<config's name>.

    Raises:
        UserError: the file does not exist or cannot be read; an unknown key or class, a value that
            its parameter does not take; `work_dir` and an option of that name differ.
    """
    path = find_shipped(path)
    cfg = with_options(read_config(path), options, path)
    asked = (options or {}).get('work_dir', work_dir)
    if work_dir is not None and work_dir != asked:
        raise UserError(
            f'--work-dir {work_dir} and --cfg-options work_dir={asked} '
            'name two folders: give one of them'
        )
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', os.path.splitext(os.path.basename(path))[0])
    return cfg


def with_options(cfg: Config, options: dict | None, path: str) -> Config:
    """`cfg`, read from `path`, with `--cfg-options` merged and then checked.

    Raises:
        UserError: an unknown key or class, a value that its parameter does not take.
    """
    options = rename_options(options or {})
    check_top_keys(cfg, options, path)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f'config {path}, --cfg-options: {error.args[0]}') from error
    rename(cfg._cfg_dict)
    _check_names(cfg, options, path)
    init_default_scope(cfg.get('default_scope', 'rsrefseg2'))
    check_config(cfg)
    return cfg


def _check_names(cfg: Config, options: dict, path: str) -> None:
    """What names the run is text, and stays inside the work dir."""
    if 'launcher' in options:
        raise UserError('--cfg-options launcher=... has no effect: choose it with --launcher')
    for key in ('work_dir', 'experiment_name', 'default_scope'):
        if not isinstance(cfg.get(key), str | None):
            raise UserError(f'{path}: {key} is {cfg[key]!r}, expected a text')
    name = cfg.get('experiment_name') or 'name'
    if name in ('.', '..') or re.search(r'[/\\\0]', name):
        raise UserError(f'{path}: experiment_name {name!r} is no plain name: leave out slashes')


def build_runner(cfg: Config, *, launcher: str = 'none', training: bool = False) -> RefSegRunner:
    """A runner that trains or tests `cfg` with the launcher that it was started by.

    Args:
        training: lock the work dir now, before anything is written into it; else `train` does.

    Raises:
        UserError: a zero-shot model is to be trained; the checkpoint to start from does not exist or cannot be read; the work dir
            cannot be made, or another training has it; `memory_budget` cannot be met.
    """
    if training:
        refuse_zero_shot(cfg.model, NOT_TRAINED)
    check_start(cfg)
    make_folder(cfg.work_dir)
    prepare_launch(cfg, launcher)
    picked = apply_memory_budget(cfg) if training else None
    with os_errors_located(cfg.work_dir):
        try:
            runner = (TrainingRunner if training else RefSegRunner).from_cfg(cfg)
        except BaseException:
            if training:
                release_work_dir(cfg.work_dir)
            raise
    if picked is not None:
        runner.logger.info(picked)
    _warn_of_batch(runner, cfg)
    _warn_of_accumulation(runner, cfg)
    if (cfg.get('randomness') or {}).get('seed') is None:
        runner.logger.warning(
            f'randomness.seed is None: this run drew {runner.seed}; set '
            f'randomness.seed={runner.seed} to repeat or resume it'
        )
    return runner


def _warn_of_batch(runner: FlexibleRunner, cfg: Config) -> None:
    """The learning rate belongs to a global batch: ranks x batch x accumulation."""
    recipe = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if recipe is None or cfg.get('train_dataloader') is None:
        return
    batch, accumulation = (
        cfg.train_dataloader.batch_size,
        cfg.optim_wrapper.get('accumulative_counts', 1),
    )
    product = runner.world_size * batch * accumulation
    if product != recipe:
        rate = (cfg.optim_wrapper.get('optimizer') or {}).get('lr')
        advice = (
            ''
            if rate is None
            else f': by linear scaling optim_wrapper.optimizer.lr={rate * product / recipe:.3g} fits'
        )
        runner.logger.warning(
            f'global batch {product} ({runner.world_size} ranks x {batch} x accumulation '
            f'{accumulation}), but the learning rate is for {recipe}{advice}'
        )


def _warn_of_accumulation(runner: FlexibleRunner, cfg: Config) -> None:
    """Where a loss or a layer sees the whole batch, accumulation is not a larger one."""
    accumulation = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if accumulation == 1 or cfg.get('train_dataloader') is None:
        return
    seen = [
        what
        for what, on in (
            (
                "BatchNorm's statistics (model.prompter.dense)",
                (cfg.model.get('prompter') or {}).get('dense'),
            ),
            ("BatchNorm's statistics (model.decoder)", cfg.model.get('swin')),
            (
                'the sample contrast (model.losses.sample)',
                (cfg.model.get('losses') or {}).get('sample'),
            ),
        )
        if on is not None
    ]
    if seen:
        runner.logger.warning(
            f'optim_wrapper.accumulative_counts={accumulation} is not the same as a batch '
            f'{accumulation} times as large: {" and ".join(seen)} see one batch of '
            f'{cfg.train_dataloader.batch_size} sentences a device at a time'
        )
