"""The optimizer sees only what is trained."""
from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Only parameters with a gradient: frozen towers take no optimizer state and no decay.

    `paramwise_cfg`: the options of `group_parameters`.
    """

    def __call__(self, model: nn.Module):
        model = getattr(model, 'module', model)
        params = group_parameters(model, **(self.paramwise_cfg or {}))
        wrapper = {'type': 'OptimWrapper', **self.optim_wrapper_cfg}
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=params))
        return OPTIM_WRAPPERS.build(dict(wrapper, optimizer=optimizer))


def group_parameters(model: nn.Module, *, decay_1d: bool = True) -> list[dict]:
    """The trained parameters, as the optimizer takes them.

    Args:
        decay_1d: apply weight decay to biases, norms and scales too.
    """
    groups: dict[bool, list] = {True: [], False: []}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[decay_1d or parameter.ndim > 1].append(parameter)
    params = [dict(params=groups[True])]
    if groups[False]:
        params.append(dict(params=groups[False], weight_decay=0.0))
    return params
