"""How a run is spread over devices: mmengine's single device, DDP and ZeRO-2."""
from __future__ import annotations

import os
import socket

import torch
from mmengine._strategy import DDPStrategy as MMEngineDDPStrategy
from mmengine._strategy import DeepSpeedStrategy
from mmengine._strategy.single_device import SingleDeviceStrategy
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.optim import BaseOptimWrapper
from torch import Tensor, nn

from ..compat import allow_cpu_ranks, use_deepspeed
from ..registry import STRATEGIES

DISTRIBUTED = ('DDPStrategy', 'ZeRO2Strategy')


def prepare_launch(cfg: Config, launcher: str) -> None:
    """Set `cfg.launcher` and the backend that this machine has.

    A distributed strategy without a launcher becomes one process in a group of its own, so every
    strategy runs with plain `python tools/train.py`.
    """
    allow_cpu_ranks()
    if launcher == 'none' and cfg.strategy.type in DISTRIBUTED:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        os.environ.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1',
                          MASTER_PORT=str(port))
        launcher = 'pytorch'
    elif launcher != 'none' and cfg.strategy.type not in DISTRIBUTED:
        cfg.strategy = dict(type='DDPStrategy')  # several processes were asked for
    cfg.launcher = launcher
    cfg.env_cfg.dist_cfg.backend = 'nccl' if torch.cuda.is_available() else 'gloo'


@STRATEGIES.register_module()
class DDPStrategy(MMEngineDDPStrategy):
    """mmengine's DDP, on CPU ranks too: there DDP takes no device ids."""

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if not torch.cuda.is_available():
            self.model_wrapper = {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False,
                                  **(self.model_wrapper or {}), 'device_ids': None}
        return super()._wrap_model(model)


@STRATEGIES.register_module()
class ZeRO2Strategy(DeepSpeedStrategy):
    """DeepSpeed ZeRO-2, in BF16 by its config, with the checkpoints of every other strategy.

    A checkpoint is one `*.pth` with a plain state dict: the float32 master of what is trained, so
    it loads on one device without a conversion. The optimizer's moments are stored by parameter
    name. Gradient clipping is read from `optim_wrapper.clip_grad`, as elsewhere.
    """

    def __init__(self, **kwargs) -> None:
        use_deepspeed()
        super().__init__(**kwargs)

    def _setup_distributed(self, launcher: str | None = None, backend: str = 'nccl', **kwargs
                           ) -> None:
        super()._setup_distributed(launcher, backend, auto_mpi_discovery=False, **kwargs)

    def prepare(self, model: nn.Module | dict, *, dispatch_kwargs: dict | None = None, **kwargs
                ) -> tuple:
        """As mmengine's; tells DeepSpeed the batch size."""
        batch = (dispatch_kwargs or {}).get('train_micro_batch_size_per_gpu', 1)
        self.config['train_micro_batch_size_per_gpu'] = batch
        return super().prepare(model, dispatch_kwargs=dispatch_kwargs, **kwargs)

    def build_optim_wrapper(self, optim_wrapper: dict, model: nn.Module | None = None
                            ) -> BaseOptimWrapper:
        optim_wrapper = dict(optim_wrapper, type='DeepSpeedOptimWrapper')
        clip = optim_wrapper.pop('clip_grad', None)
        if clip is not None:
            self.config['gradient_clipping'] = clip['max_norm']
        accumulate = optim_wrapper.pop('accumulative_counts', 1)
        self.config['gradient_accumulation_steps'] = accumulate
        return super().build_optim_wrapper(optim_wrapper, model)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        wrapper = super()._wrap_model(model.to(get_device()))
        # Outside no_grad the CPU optimizer's in-place update of a leaf is refused.
        wrapper.model.step = torch.no_grad()(wrapper.model.step)
        return wrapper

    @property
    def _module(self) -> nn.Module:
        return self.model.model.module

    def model_state_dict(self) -> dict[str, Tensor]:
        """The whole state, float32 masters in place of their bf16 copies. Called on every rank."""
        from deepspeed.utils import safe_get_full_fp32_param
        state = {name: value.cpu() for name, value in self._module.state_dict().items()}
        for name, parameter in self._module.named_parameters():
            if parameter.requires_grad:
                state[name] = safe_get_full_fp32_param(parameter).detach().float().cpu()
        return state

    def _link_moments(self, steps: int | None = None) -> None:
        """Let deepspeed find every group's moments; with `steps`, make empty ones first.

        deepspeed 0.19 links them after the first group's first step, when the other groups have
        none yet.
        """
        zero = self.model.model.optimizer
        if steps is not None:
            for flat in zero.single_partition_of_fp32_groups:
                zero.optimizer.state[flat] = dict(
                    step=torch.tensor(float(steps)), exp_avg=torch.zeros_like(flat),
                    exp_avg_sq=torch.zeros_like(flat))
        zero._hp_optimizer_states_linked = False
        zero._lazy_init_hp_params_optimizer_state()

    def _moments(self) -> dict[str, dict[str, Tensor]]:
        """Adam's moments in float32 by parameter name. Called on every rank."""
        from deepspeed.utils import safe_get_full_optimizer_state
        self._link_moments()
        return {name: {key: safe_get_full_optimizer_state(parameter, key).float().cpu()
                       for key in ('exp_avg', 'exp_avg_sq')}
                for name, parameter in self._module.named_parameters() if parameter.requires_grad}

    def save_checkpoint(self, filename: str, *, save_optimizer: bool = True, **kwargs) -> None:
        """One file, written by the main process; every rank takes part in gathering it."""
        state, callback = self.model_state_dict(), kwargs.pop('callback', None)
        moments = self._moments() if save_optimizer and hasattr(self, 'optim_wrapper') else None

        def add(checkpoint: dict) -> None:
            if moments is not None:
                steps = self.model.model.global_steps - self.model.model.skipped_steps
                checkpoint['optimizer'] = dict(
                    zero_moments=moments, steps=steps,
                    lrs=[group['lr'] for group in self.optim_wrapper.param_groups])
            if callback is not None:
                callback(checkpoint)

        gathered, self.model_state_dict = self.model_state_dict, lambda: state
        try:
            if is_main_process():
                SingleDeviceStrategy.save_checkpoint(
                    self, filename, save_optimizer=False, callback=add, **kwargs)
        finally:
            self.model_state_dict = gathered

    def load_checkpoint(self, filename: str, **kwargs) -> dict:
        return SingleDeviceStrategy.load_checkpoint(self, filename, **kwargs)

    def resume(self, filename: str, **kwargs) -> dict:
        return SingleDeviceStrategy.resume(self, filename, **kwargs)

    def load_model_state_dict(self, state_dict: dict, *, strict: bool = False,
                              revise_keys: list | None = None) -> None:
        """Into the bf16 module and into the float32 masters."""
        from deepspeed.utils import safe_set_full_fp32_param
        self._module.load_state_dict(state_dict, strict=strict)
        if hasattr(self, 'optim_wrapper'):
            for name, parameter in self._module.named_parameters():
                if parameter.requires_grad and name in state_dict:
                    safe_set_full_fp32_param(parameter, state_dict[name].float())

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """The moments by name.

        Raises:
            UserError: the checkpoint is another strategy's.
        """
        from deepspeed.utils import safe_set_full_optimizer_state

        from ..errors import UserError
        if 'zero_moments' not in state_dict:
            raise UserError('this checkpoint holds the optimizer of another strategy: resume with '
                            'the strategy it was trained with, or use load_from for its weights')
        self._link_moments(state_dict['steps'])
        for name, parameter in self._module.named_parameters():
            for key, value in state_dict['zero_moments'].get(name, {}).items():
                safe_set_full_optimizer_state(parameter, value, key)
        for group, lr in zip(self.optim_wrapper.param_groups, state_dict['lrs'], strict=True):
            group['lr'] = lr
        self.model.model.global_steps = state_dict['steps']
