"""How a run is spread over devices: one device, DDP; zero2.py and fsdp2.py beside it."""

from __future__ import annotations

import os
import socket
from typing import Any

import torch
from mmengine._strategy import DDPStrategy as MMEngineDDPStrategy
from mmengine._strategy.single_device import SingleDeviceStrategy as MMEngineSingleDeviceStrategy
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import Tensor, nn

from ..compat import allow_cpu_ranks
from ..errors import UserError
from ..registry import STRATEGIES
from .checkpoint import trained_keys
from .rank_sync import PATIENCE, Agreement
from .run_log import claim_stamp, plain_log, release_earlier_logs
from .work_dir import lock_work_dir

_Base: Any = object  # what the strategies below have beside it: mmengine's `BaseStrategy`
DISTRIBUTED = ('DDPStrategy', 'ZeRO2Strategy', 'FSDP2Strategy')


def prepare_launch(cfg: Config, launcher: str) -> None:
    """Set `cfg.launcher`, the backend that this machine has, and how long ranks wait for each
    other.

    A distributed strategy without a launcher becomes one process in a group of its own, so every
    strategy runs with plain `python tools/train.py`.
    """
    allow_cpu_ranks()
    if launcher == 'none' and cfg.strategy.type in DISTRIBUTED:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        os.environ.update(
            RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)
        )
        launcher = 'pytorch'
    elif launcher != 'none' and cfg.strategy.type not in DISTRIBUTED:
        cfg.strategy = dict(type='DDPStrategy')  # several processes were asked for
    cfg.launcher = launcher
    cfg.env_cfg.dist_cfg.backend = 'nccl' if torch.cuda.is_available() else 'gloo'
    cfg.env_cfg.dist_cfg.setdefault('timeout', int(PATIENCE.total_seconds()))


class NamedState(_Base):
    """What a checkpoint holds, by parameter name and in float32, out of a strategy's own form.

    Every method is called on every rank. Optimizer state: `state` {name: {key: Tensor}} and, by
    group, what the schedule changes. `torch.distributed.checkpoint.state_dict` is not used for it:
    reading an optimizer before its first step makes that step, so saving would change the run, and
    it does not know ZeRO.

    Args:
        exclusive: lock the work dir for a training, before anything is written into it.
    """

    def __init__(self, *, exclusive: bool = False, **kwargs: Any) -> None:
        self._exclusive = exclusive
        super().__init__(**kwargs)

    def _setup_env(self, **kwargs: Any) -> None:
        """As mmengine's; the time stamp, which names log folder and logger, is this run's alone.

        Raises:
            UserError: on every rank, where another training has the work dir, or the log folder
                cannot be made.
        """
        super()._setup_env(**kwargs)
        self._timestamp = Agreement().main_does(self._claim)

    def _claim(self) -> str:
        if self._exclusive:
            lock_work_dir(self.work_dir)
        return claim_stamp(self.work_dir, self._timestamp)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As mmengine's, with plain text in its files."""
        release_earlier_logs()
        return plain_log(super().build_logger(*args, **kwargs))

    @property
    def plain_model(self) -> nn.Module:
        """The model without its wrapper."""
        return getattr(self.model, 'module', self.model)

    @property
    def accumulation(self) -> int:
        """Iterations that share one step of the optimizer."""
        return getattr(self.optim_wrapper, '_accumulative_counts', 1)

    def start_at(self, iteration: int) -> None:
        """Count on from here, for accumulation."""
        if self.accumulation > 1:
            self.optim_wrapper.initialize_count_status(
                self.model, iteration, self.dispatch_kwargs['max_iters']
            )

    def trained_weights(self) -> dict[str, Tensor]:
        """The weights that no tower's files give, on the CPU."""
        state = self.plain_model.state_dict()
        return {
            name: to_float32(self._whole(state[name])) for name in trained_keys(self.plain_model)
        }

    def load_weights(self, state_dict: dict[str, Tensor]) -> None:
        """What `trained_weights` gave, or a part of it that was checked."""
        self.plain_model.load_state_dict(state_dict, strict=False)

    def optimizer_state(self) -> dict:
        """The optimizer's."""
        optimizer = self.optim_wrapper.optimizer
        state = {
            name: {
                key: self._whole(value).clone() if isinstance(value, Tensor) else value
                for key, value in optimizer.state.get(parameter, {}).items()
            }
            for name, parameter in self._trained()
        }
        return dict(state=state, groups=list(map(scheduled, self.optim_wrapper.param_groups)))

    def load_optimizer_state(self, saved: dict) -> None:
        """What `optimizer_state` gave, on this or on any other strategy.

        Raises:
            UserError: it is of other parameters.
        """
        optimizer, trained = self.optim_wrapper.optimizer, dict(self._trained())
        groups = self.optim_wrapper.param_groups  # mmengine's, with a last one for the base rate
        check_names(saved, {name: p.shape for name, p in trained.items()}, len(groups))
        names = {parameter: name for name, parameter in trained.items()}
        packed, index = optimizer.state_dict(), 0
        for group, given in zip(optimizer.param_groups, packed['param_groups'], strict=True):
            for parameter, index in zip(group['params'], given['params'], strict=True):
                entry = saved['state'][names[parameter]]
                packed['state'][index] = {
                    key: self._part(value, parameter) if isinstance(value, Tensor) else value
                    for key, value in entry.items()
                }
        optimizer.load_state_dict(packed)
        for group, values in zip(self.optim_wrapper.param_groups, saved['groups'], strict=True):
            group.update(values)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [
            (name, parameter)
            for name, parameter in self.plain_model.named_parameters()
            if parameter.requires_grad
        ]

    def _whole(self, value: Tensor) -> Tensor:
        """A tensor of this rank -> the whole one, on the CPU."""
        return value.detach().cpu()

    def _part(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """The reverse, for a tensor of `parameter`'s shape; others stay as they are."""
        return value.clone()  # the file it was read from is mapped, not held


def to_float32(value: Tensor) -> Tensor:
    """Weights are stored in float32, whatever they were trained in; integers as they are."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def scheduled(group: dict) -> dict[str, float]:
    """What a schedule changes in a parameter group: `lr` beside `initial_lr`, and so on."""
    keys = [key for key in group if key.startswith('initial_')]
    return {name: group[name] for key in keys for name in (key, key.removeprefix('initial_'))}


def check_names(saved: dict, shapes: dict[str, torch.Size], groups: int) -> None:
    """The saved state is of the parameters of these names and shapes."""
    names = set(shapes)
    missing, more = names - set(saved['state']), set(saved['state']) - names
    if missing or more or groups != len(saved['groups']):
        raise UserError(
            f'the optimizer in the checkpoint is of other parameters: {len(missing)} missing '
            f'({", ".join(sorted(missing)[:3])}), {len(more)} unexpected '
            f'({", ".join(sorted(more)[:3])}), {len(saved["groups"])} groups instead of {groups}: '
            'resume with the config it was trained with'
        )
    for name, entry in saved['state'].items():
        for key, value in entry.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != shapes[name]:
                raise UserError(
                    f'the optimizer in the checkpoint has {key} of {name} in the shape '
                    f'{tuple(value.shape)}, not {tuple(shapes[name])}: resume with the '
                    'config it was trained with'
                )


@STRATEGIES.register_module()
class SingleDeviceStrategy(NamedState, MMEngineSingleDeviceStrategy):
    """One process, one device."""


@STRATEGIES.register_module()
class DDPStrategy(NamedState, MMEngineDDPStrategy):
    """mmengine's DDP, on CPU ranks too: there DDP takes no device ids."""

    model_wrapper: dict | None

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if not torch.cuda.is_available():
            self.model_wrapper = {
                'type': 'MMDistributedDataParallel',
                'broadcast_buffers': False,
                **(self.model_wrapper or {}),
                'device_ids': None,
            }
        return super()._wrap_model(model)
