"""The optimizer sees only what is trained."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from ..bounds import NonNegativeFloat
from ..errors import UserError
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Only parameters with a gradient: frozen towers take no optimizer state and no decay.

    `paramwise_cfg`: the options of `group_parameters`.
    """

    def __call__(self, model: nn.Module):
        model = getattr(model, 'module', model)
        params = group_parameters(model, **(self.paramwise_cfg or {}))
        for group in params:
            if 'rate' in group:
                group['lr'] = group.pop('rate') * self.optimizer_cfg['lr']
        wrapper = {'type': 'OptimWrapper', **self.optim_wrapper_cfg}
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=params))
        return OPTIM_WRAPPERS.build(dict(wrapper, optimizer=optimizer))


def group_parameters(
    model: nn.Module, *, decay_1d: bool = True, rates: Mapping[str, NonNegativeFloat] | None = None
) -> list[dict]:
    """The trained parameters, as the optimizer takes them; `rate` is a factor of the learning rate
    where it is not 1.

    Args:
        decay_1d: apply weight decay to biases, norms and scales too.
        rates: {beginning of a parameter's name: factor}; the longest that fits counts.
    Raises:
        UserError: a beginning of no trained parameter.
    """
    rates = dict(rates or {})
    groups: dict[tuple[float, bool], list] = {(1.0, True): []}
    used: set[str | None] = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place = max((p for p in rates if name.startswith(p)), key=len, default=None)
            used.add(place)
            key = 1.0 if place is None else rates[place], decay_1d or parameter.ndim > 1
            groups.setdefault(key, []).append(parameter)
    if unused := set(rates) - used:
        raise UserError(
            f'optim_wrapper.paramwise_cfg.rates: no trained parameter begins with '
            f'{", ".join(sorted(unused))}'
        )
    return [
        dict(
            params=params,
            **({} if decay else {'weight_decay': 0.0}),
            **({} if rate == 1 else {'rate': rate}),
        )
        for (rate, decay), params in groups.items()
        if params or (rate, decay) == (1.0, True)
    ]
