"""Where scalars and pictures go: scalars.json; TensorBoard, Weights & Biases by a line each."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner
from mmengine.visualization import (
    LocalVisBackend,
    TensorboardVisBackend,
    Visualizer,
    WandbVisBackend,
)
from mmengine.visualization.vis_backend import BaseVisBackend

from ..errors import UserError, os_errors_located, suggest
from ..extras import require_extra
from ..registry import HOOKS, VISUALIZERS


@VISUALIZERS.register_module()
class RefSegVisualizer(Visualizer):
    """mmengine's, with `scalars.json` in the folder of each start. A line in a config adds more::

        visualizer = dict(tensorboard=True)
        visualizer = dict(wandb=dict(project='rsrefseg2'))

    or `--cfg-options visualizer.tensorboard=True`. Both get every scalar as `train/...` or
    `val/...`, by iteration, and the panels; they start with the training, and a resumed run goes on
    in the same curves.

    Args:
        name, save_dir: the runner's.
        tensorboard: write events to <work dir>/tensorboard.
        wandb: report to Weights & Biases; True, or a dict of options of `wandb.init`. Its mode
            (`WANDB_MODE=offline`) and its key are W&B's own settings.
        vis_backends: further ones of mmengine.
    Raises:
        UserError: a package is missing; an option of `wandb` that it does not know.
    """

    def __init__(
        self,
        name: str,
        *,
        save_dir: str,
        tensorboard: bool = False,
        wandb: bool | dict | None = False,
        vis_backends: list[dict] | None = None,
    ) -> None:
        work_dir = os.path.dirname(save_dir)
        self._folder = os.path.join(save_dir, 'vis_data')
        trackers: list[Tracker] = []
        if tensorboard:
            require_extra('tensorboard', 'visualizer.tensorboard', otherwise='drop it')
            trackers.append(TensorBoard(os.path.join(work_dir, 'tensorboard')))
        if wandb is not None and wandb is not False:
            trackers.append(WeightsAndBiases(work_dir, {} if wandb is True else dict(wandb)))
        super().__init__(
            name=name,
            save_dir=save_dir,
            vis_backends=[dict(type='LocalVisBackend'), *(vis_backends or ()), *trackers],
        )

    @master_only
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """As mmengine's."""
        with os_errors_located(self._folder):
            super().add_config(config, **kwargs)

    @master_only
    def add_scalars(self, scalar_dict: dict, step: int = 0, **kwargs: Any) -> None:
        """As mmengine's."""
        with os_errors_located(self._folder):
            super().add_scalars(scalar_dict, step=step, **kwargs)

    @master_only
    def begin(self, config: Config, iteration: int) -> None:
        """Training begins, after `iteration` iterations; 0: a fresh start."""
        for backend in self._vis_backends.values():
            if isinstance(backend, Tracker):
                backend.begin(config, iteration)

    @master_only
    def add_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """(H, W, 3) uint8, to every backend but the work dir's own."""
        for backend in self._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):
                backend.add_image(name, picture, step)


@HOOKS.register_module()
class TrackerHook(Hook):
    """Starts TensorBoard and W&B, once the first step is known."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: FlexibleRunner) -> None:
        """Tells the visualizer how many iterations an earlier start made."""
        if isinstance(runner.visualizer, RefSegVisualizer):
            runner.visualizer.begin(runner.cfg, runner.iter)


class Tracker(BaseVisBackend):
    """Before a backend of mmengine: one curve per run, however often it is resumed. Until the
    training begins (a test has no curve) nothing reaches the backend."""

    first_step: int | None = None

    def begin(self, config: Config, iteration: int) -> None:
        """Training begins, after `iteration` iterations."""
        self.first_step = iteration + 1
        self.add_config(config)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """The run's config, once."""
        if self.first_step is not None:
            super().add_config(config, **kwargs)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """What the logger writes after an iteration, with its number, or after a validation."""
        if self.first_step is not None:
            phase = 'train' if 'iter' in scalar_dict else 'val'
            named = {
                f'{phase}/{name.removeprefix(f"{phase}/")}': value
                for name, value in scalar_dict.items()
                if name not in ('iter', 'step')
            }
            self.write(named, step)

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs: Any) -> None:
        """One scalar by its full name."""
        if self.first_step is not None:
            self.write({name: value}, step)

    def write(self, values: dict[str, Any], step: int) -> None:
        """Scalars by their full names, to the backend."""
        for name, value in values.items():
            super().add_scalar(name, value, step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """(H, W, 3) uint8."""
        if self.first_step is not None:
            super().add_image(name, image, step, **kwargs)


class TensorBoard(Tracker, TensorboardVisBackend):
    """mmengine's; every start writes a file of its own into one folder, which TensorBoard reads as
    one run: what an earlier start wrote of the steps that come now is hidden."""

    def _init_env(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._tensorboard = SummaryWriter(self._save_dir, purge_step=self.first_step)


class WeightsAndBiases(Tracker, WandbVisBackend):
    """mmengine's, which numbers what it is given itself; here the step is the iteration. The run's
    id is kept in the work dir, so that a resumed run is the same one there."""

    def __init__(self, save_dir: str, options: dict) -> None:
        super().__init__(save_dir, options)
        wandb = require_extra('wandb', 'visualizer.wandb', otherwise='drop it')
        known = inspect.signature(wandb.init).parameters
        for key in options:
            if key not in known:
                raise UserError(
                    f'visualizer.wandb: wandb.init has no option {key!r}{suggest(key, known)}'
                )
        self._errors = wandb.errors

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Given to `wandb.init`; mmengine's would upload the code beside it."""
        if self.first_step is not None:
            self._init_kwargs.setdefault('config', config.to_dict())
            _ = self.experiment  # starts the run

    def _init_env(self) -> None:
        kept = Path(self._save_dir) / 'wandb_run_id'
        if self.first_step is not None and self.first_step > 1 and kept.is_file():
            self._init_kwargs.setdefault('id', kept.read_text().strip())
            self._init_kwargs.setdefault('resume', 'allow')
        try:
            super()._init_env()
        except self._errors.Error as error:
            raise UserError(
                f'Weights & Biases does not start ({error}): `wandb login`, or set '
                'WANDB_MODE=offline and `wandb sync` later'
            ) from error
        kept.write_text(self._wandb.run.id)

    def write(self, values: dict[str, Any], step: int) -> None:
        """As Tracker's, at the iteration `step`."""
        self._wandb.log(values, step=step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """(H, W, 3) uint8."""
        if self.first_step is not None:
            self.write({name: self._wandb.Image(image)}, step)

    def close(self) -> None:
        """Ends the run; mmengine calls `wandb.join`, which is gone."""
        if hasattr(self, '_wandb'):
            self._wandb.finish()
