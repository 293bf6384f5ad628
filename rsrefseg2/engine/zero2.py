"""DeepSpeed ZeRO-2: gradients and optimizer divided over the ranks, BF16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine._strategy import DeepSpeedStrategy
from mmengine.device import get_device
from mmengine.logging import MessageHub
from mmengine.optim import BaseOptimWrapper
from torch import Tensor, nn

from ..compat import use_deepspeed
from ..registry import STRATEGIES
from .checkpoint import trained_keys
from .strategies import NamedState, check_names, scheduled, to_float32

MOMENTS = ('exp_avg', 'exp_avg_sq')


@STRATEGIES.register_module()
class ZeRO2Strategy(NamedState, DeepSpeedStrategy):
    """DeepSpeed ZeRO-2, in BF16 by its config, with the checkpoints of every other strategy: the
    float32 masters of what is trained, Adam's moments by parameter name.

    Gradient clipping and accumulation are read from `optim_wrapper.clip_grad` and
    `accumulative_counts`, as elsewhere.
    """

    def __init__(self, **kwargs: Any) -> None:
        use_deepspeed()
        super().__init__(**kwargs)

    def _setup_distributed(
        self, launcher: str | None = None, backend: str = 'nccl', **kwargs: Any
    ) -> None:
        super()._setup_distributed(launcher, backend, auto_mpi_discovery=False, **kwargs)

    def prepare(
        self, model: nn.Module | dict, *, dispatch_kwargs: dict | None = None, **kwargs: Any
    ) -> tuple:
        """As mmengine's; tells DeepSpeed the batch size."""
        batch = (dispatch_kwargs or {}).get('train_micro_batch_size_per_gpu', 1)
        self.config['train_micro_batch_size_per_gpu'] = batch
        return super().prepare(model, dispatch_kwargs=dispatch_kwargs, **kwargs)

    def build_optim_wrapper(
        self, optim_wrapper: dict, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """As mmengine's; clipping and accumulation go to DeepSpeed's own config."""
        optim_wrapper = dict(optim_wrapper, type='DeepSpeedOptimWrapper')
        clip = optim_wrapper.pop('clip_grad', None)
        if clip is not None:
            self.config['gradient_clipping'] = clip['max_norm']
        accumulate = optim_wrapper.pop('accumulative_counts', 1)
        self.config['gradient_accumulation_steps'] = accumulate
        return super().build_optim_wrapper(optim_wrapper, model)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        wrapper = super()._wrap_model(model.to(get_device()))
        wrapper.model.step = self._step(wrapper.model, wrapper.model.step)
        return wrapper

    @staticmethod
    def _step(engine: Any, step: Callable) -> Callable:
        @torch.no_grad()  # outside, the CPU optimizer's in-place update of a leaf is refused
        def step_and_log(*args: Any, **kwargs: Any) -> None:
            step(*args, **kwargs)
            norm = engine.get_global_grad_norm()  # what mmengine logs for every other strategy
            if norm is not None:
                MessageHub.get_current_instance().update_scalar('train/grad_norm', float(norm))

        return step_and_log

    @property
    def plain_model(self) -> nn.Module:
        """The model inside DeepSpeed's engine."""
        return self.model.model.module

    @property
    def accumulation(self) -> int:
        """Iterations that share one step of the optimizer."""
        return self.config.get('gradient_accumulation_steps', 1)

    def start_at(self, iteration: int) -> None:
        """Set DeepSpeed's counters to `iteration`."""
        engine = self.model.model
        engine.micro_steps = iteration
        engine.global_steps = iteration // self.accumulation

    def trained_weights(self) -> dict[str, Tensor]:
        """float32 masters in place of their bf16 copies."""
        from deepspeed.utils import safe_get_full_fp32_param

        trained, state = dict(self._trained()), self.plain_model.state_dict()
        return {
            name: to_float32(
                (safe_get_full_fp32_param(trained[name]) if name in trained else state[name])
                .detach()
                .cpu()
            )
            for name in trained_keys(self.plain_model)
        }

    def load_weights(self, state_dict: dict[str, Tensor]) -> None:
        """Into the bf16 module and into the float32 masters."""
        from deepspeed.utils import safe_set_full_fp32_param

        self.plain_model.load_state_dict(state_dict, strict=False)
        if hasattr(self, 'optim_wrapper'):
            for name, parameter in self._trained():
                if name in state_dict:
                    safe_set_full_fp32_param(parameter, state_dict[name].float())

    def optimizer_state(self) -> dict:
        """The moments of all ranks, by parameter name, in float32."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link_moments()
        states = self.model.model.optimizer.optimizer.state.values()
        step = torch.tensor(max(float(state['step']) for state in states))
        state = {
            name: {
                'step': step.clone(),
                **{
                    key: safe_get_full_optimizer_state(parameter, key).float().cpu()
                    for key in MOMENTS
                },
            }
            for name, parameter in self._trained()
        }
        return dict(state=state, groups=list(map(scheduled, self.optim_wrapper.param_groups)))

    def load_optimizer_state(self, saved: dict) -> None:
        """What `optimizer_state` gave, on this or on any other strategy.

        Raises:
            UserError: it is of other parameters.
        """
        from deepspeed.utils import safe_set_full_optimizer_state

        trained, groups = dict(self._trained()), self.optim_wrapper.param_groups
        check_names(saved, {name: p.shape for name, p in trained.items()}, len(groups))
        self._link_moments(max(float(entry['step']) for entry in saved['state'].values()))
        for name, parameter in trained.items():
            for key in MOMENTS:
                safe_set_full_optimizer_state(parameter, saved['state'][name][key], key)
        for group, values in zip(groups, saved['groups'], strict=True):
            group.update(values)

    def _link_moments(self, steps: float | None = None) -> None:
        """Let deepspeed find every group's moments; with `steps`, make empty ones first.

        deepspeed 0.19 links them after the first group's first step, when the other groups have
        none yet.
        """
        zero = self.model.model.optimizer
        if steps is not None:
            fused = zero.optimizer.defaults.get('fused')  # which counts on the device
            for flat in zero.single_partition_of_fp32_groups:
                zero.optimizer.state[flat] = dict(
                    step=torch.tensor(steps, device=flat.device if fused else 'cpu'),
                    exp_avg=torch.zeros_like(flat),
                    exp_avg_sq=torch.zeros_like(flat),
                )
        zero._hp_optimizer_states_linked = False
        zero._lazy_init_hp_params_optimizer_state()
