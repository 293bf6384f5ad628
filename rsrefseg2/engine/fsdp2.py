"""FSDP2: weights, gradients and optimizer divided over the ranks by torch itself."""

from __future__ import annotations

from typing import Any, Literal

import torch
from mmengine._strategy import DDPStrategy as MMEngineDDPStrategy
from mmengine.device import get_device
from torch import Tensor, nn

from ..errors import UserError
from ..registry import STRATEGIES
from .strategies import NamedState

# transformers' classes of one layer of each tower: the units that are gathered one at a time.
UNITS = (
    'SiglipEncoderLayer',
    'Siglip2EncoderLayer',
    'CLIPEncoderLayer',
    'Sam2MultiScaleBlock',
    'SamVisionLayer',
)


@STRATEGIES.register_module()
class FSDP2Strategy(NamedState, MMEngineDDPStrategy):
    """torch's `fully_shard`: each tower layer a unit, the rest of the model another.

    Checkpoints are those of every other strategy: whole tensors by name.

    Args:
        param_dtype: 'float32', or 'bfloat16': weights are gathered and used in bf16; the shards,
            the optimizer and the gradients' sums stay in float32.
    """

    def __init__(
        self, *, param_dtype: Literal['float32', 'bfloat16'] = 'float32', **kwargs: Any
    ) -> None:
        if param_dtype not in ('float32', 'bfloat16'):
            raise ValueError(f"param_dtype is 'float32' or 'bfloat16', not {param_dtype!r}")
        super().__init__(**kwargs)
        self.param_dtype = getattr(torch, param_dtype)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        device = get_device()
        model = model.to(device)
        mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
        precision = (
            MixedPrecisionPolicy()
            if self.param_dtype == torch.float32
            else (
                MixedPrecisionPolicy(
                    param_dtype=self.param_dtype,
                    reduce_dtype=torch.float32,
                    cast_forward_inputs=False,
                )
            )
        )
        units = [module for module in model.modules() if type(module).__name__ in UNITS]
        if not units:
            raise UserError(
                f'FSDP2Strategy knows no layer of these towers ({", ".join(UNITS)}): '
                'choose _base_/strategies/ddp.py or zero2_bf16.py'
            )
        for unit in units:
            fully_shard(unit, mesh=mesh, mp_policy=precision)
        # Kept whole between forward and backward: its parts are called by name, not through it.
        return fully_shard(model, mesh=mesh, mp_policy=precision, reshard_after_forward=False)

    def _whole(self, value: Tensor) -> Tensor:
        return (value.full_tensor() if hasattr(value, 'full_tensor') else value).detach().cpu()

    def _part(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        from torch.distributed.tensor import distribute_tensor

        if value.shape != parameter.shape or not hasattr(parameter, 'device_mesh'):
            return value.clone()
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements
        )

    def load_weights(self, state_dict: dict[str, Tensor]) -> None:
        """As the base's; each rank keeps its part."""
        own = self.plain_model.state_dict()
        super().load_weights(
            {name: self._part(value, own[name]) for name, value in state_dict.items()}
        )
