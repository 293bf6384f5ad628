"""From a config file and a command line to a runner."""
from __future__ import annotations

import os

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import FlexibleRunner

from ..compat import trust_mmengine_checkpoints
from ..errors import UserError
from .config_check import check_config
from .strategies import prepare_launch


def load_config(path: str, *, options: dict | None = None, work_dir: str | None = None) -> Config:
    """The config at `path` with `--cfg-options` merged, checked for unknown keys and classes.

    `work_dir`: the argument, else the config's own, else work_dirs/<config's name>.

    Raises:
        UserError: the file does not exist or does not parse; an unknown key or class.
    """
    if not os.path.isfile(path):
        raise UserError(f'config {path} does not exist')
    try:
        cfg = Config.fromfile(path)
        if options:
            cfg.merge_from_dict(options)
    except (KeyError, SyntaxError, TypeError, FileNotFoundError) as error:
        raise UserError(f'config {path}: {error}') from error
    init_default_scope(cfg.get('default_scope', 'rsrefseg2'))
    check_config(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', os.path.splitext(os.path.basename(path))[0])
    return cfg


def build_runner(cfg: Config, *, launcher: str = 'none') -> FlexibleRunner:
    """A runner that trains or tests `cfg` with the launcher that it was started by."""
    prepare_launch(cfg, launcher)
    trust_mmengine_checkpoints()
    runner = FlexibleRunner.from_cfg(cfg)
    _warn_of_batch(runner, cfg)
    return runner


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
