"""Which parameter gets which rate and decay."""

import pytest
import torch
from torch import nn

from rsrefseg2.engine.optim import TrainableOptimWrapperConstructor, group_parameters
from rsrefseg2.errors import UserError


def model():
    parts = nn.ModuleDict(dict(encoder=nn.Linear(2, 3), prompter=nn.Linear(3, 3)))
    parts.encoder_2 = nn.Linear(3, 2)
    parts.encoder_2.weight.requires_grad_(False)
    return parts


@pytest.mark.parametrize('decay_1d', [True, False])
def test_each_trained_parameter_once_with_its_rate_and_decay(decay_1d):
    parts = model()
    rates = {'encoder.': 0.1, 'encoder.bias': 0.5}
    wrapper = TrainableOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', lr=0.02, weight_decay=0.3)),
        dict(decay_1d=decay_1d, rates=rates),
    )(parts)
    found = {
        id(p): (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }
    expected = {}
    for name, parameter in parts.named_parameters():
        if name != 'encoder_2.weight':
            rate = {'encoder.weight': 0.1, 'encoder.bias': 0.5}.get(name, 1.0)
            decays = decay_1d or name.endswith('weight')
            expected[id(parameter)] = (pytest.approx(0.02 * rate), 0.3 if decays else 0.0)
    assert found == expected
    assert sum(len(group['params']) for group in wrapper.optimizer.param_groups) == len(expected)


def test_without_rates_the_groups_are_as_they_were():
    parts = model()
    first, second = group_parameters(parts, decay_1d=False)
    assert first == dict(params=[parts['encoder'].weight, parts['prompter'].weight])
    assert second == dict(
        params=[parts['encoder'].bias, parts['prompter'].bias, parts.encoder_2.bias],
        weight_decay=0.0,
    )
    assert group_parameters(parts) == [
        dict(params=[p for p in parts.parameters() if p.requires_grad])
    ]


def test_a_rate_of_nothing_is_an_error():
    with pytest.raises(UserError, match='begins with encodr'):
        group_parameters(model(), rates={'encodr': 0.1, 'prompter': 0.5})


def test_the_schedule_scales_every_rate():
    wrapper = TrainableOptimWrapperConstructor(
        dict(optimizer=dict(type='SGD', lr=1.0)), dict(rates={'prompter': 0.25})
    )(model())
    schedule = torch.optim.lr_scheduler.LambdaLR(wrapper.optimizer, lambda step: 0.5)
    assert schedule.get_last_lr() == [0.5, 0.125]
