"""`memory_budget='40GiB'`: the cheapest layers to compute again are picked before a training."""

from __future__ import annotations

import math
import re

from mmengine.config import Config

from ..errors import UserError
from ..models.zero_shot.zero_shot_model import refuse_zero_shot
from ..profiling.kept_memory import StepMemory, count_step
from ..profiling.recompute_choice import Choice, cheapest, least, settings_of, units_in

UNITS = {'MiB': 2**20, 'GiB': 2**30, 'MB': 10**6, 'GB': 10**9}
# Bytes of a weight over those of the model's own, and of the gradient and the optimizer for each
# number that is trained, by strategy, as if one device held all: beside the gradient and AdamW's
# two moments DDP has buckets, ZeRO-2 in BF16 a float32 master and its gradient; FSDP2 has what it
# divides and what it gathers.
STATES = {
    'SingleDeviceStrategy': (1, 12),
    'DDPStrategy': (1, 16),
    'ZeRO2Strategy': (1, 18),
    'FSDP2Strategy': (2, 12),
}
FSDP2_BF16 = 3  # float32 shards, BF16 gathered: times the BF16 weights


def bytes_of(text: str) -> int:
    """'40GiB' -> bytes; of MiB, GiB, MB and GB.

    Raises:
        UserError: it is no such text, or nothing.
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([A-Za-z]+)', text.strip())
    if found is None or found[2] not in UNITS or not float(found[1]):
        raise UserError(
            f'memory_budget={text!r} is no amount of memory: give a number and one of '
            f"{', '.join(UNITS)}, such as '40GiB'"
        )
    return int(float(found[1]) * UNITS[found[2]])


def apply_memory_budget(cfg: Config) -> str | None:
    """Set `recompute` of a config's towers to the cheapest that fits its `memory_budget`, for its
    own batch; what the config has computed again already stays. Gradients stay the same.

    Returns:
        A line for the log; None: no budget is given.
    Raises:
        UserError: the budget is no amount, or cannot be met; the model has no such layers; the
            strategy is none of STATES.
    """
    given = cfg.get('memory_budget')
    if given is None:
        return None
    budget = bytes_of(given)
    refuse_zero_shot(cfg.model, 'whose memory is not counted')
    if not {'sam', 'siglip'} <= set(cfg.model):
        raise UserError(
            f'memory_budget picks layers of SAM and SigLIP, which {cfg.model.type} has not: set '
            'memory_budget=None'
        )
    if cfg.strategy.type not in STATES:
        raise UserError(
            f'memory_budget knows what {", ".join(STATES)} hold, not {cfg.strategy.type}: set '
            'memory_budget=None'
        )
    images, sentences = batch_of(cfg)
    step = count_step(cfg.model, images, sentences, half=in_half(cfg))
    states = states_of(cfg, step)
    units = list(dict.fromkeys(layer.unit for layer in step.layers))
    always = units_in(cfg.model, units)
    found = cheapest(step, budget - states, always)
    if found is None:
        raise UserError(
            f'memory_budget={given} is too little: {images} images and {sentences} sentences '
            f'a device need at least {_needs(step, least(step, always), states)}: give more, or '
            f'lower train_dataloader.batch_size={cfg.train_dataloader.batch_size}'
        )
    for part, values in settings_of(found.again, units).items():
        cfg.model[part].update(values)
    again = ', '.join(found.again) or 'nothing'
    more = found.flop / max(step.forward_flop, 1)
    return (
        f'memory_budget={given}: {again} computed again in the backward pass, {100 * more:.0f} % '
        f'of the forward pass; {images} images and {sentences} sentences a device need '
        f'{_needs(step, found, states)}'
    )


def batch_of(cfg: Config) -> tuple[int, int]:
    """The largest batch of one device: U images, B sentences."""
    loader = cfg.train_dataloader
    together = (loader.get('batch_sampler') or {}).get('sentences_per_image', 1)
    return math.ceil(loader.batch_size / together), loader.batch_size


def in_half(cfg: Config) -> bool:
    """The strategy computes with BF16 weights."""
    strategy = cfg.strategy
    return (
        strategy.type == 'ZeRO2Strategy' and bool(strategy.get('bf16', {}).get('enabled'))
    ) or strategy.get('param_dtype') == 'bfloat16'


def states_of(cfg: Config, step: StepMemory) -> int:
    """Bytes of weights, gradients and optimizer."""
    copies, each = STATES[cfg.strategy.type]
    if cfg.strategy.type == 'FSDP2Strategy' and in_half(cfg):
        copies = FSDP2_BF16
    return copies * step.weights + each * step.trained


def _needs(step: StepMemory, choice: Choice, states: int) -> str:
    """The sum and its parts."""
    parts = states, choice.kept, choice.largest
    whole, *each = (f'{value / 2**30:.2f}' for value in (sum(parts), *parts))
    return (
        f'{whole} GiB (weights, gradients and optimizer {each[0]}, kept for the backward pass '
        f'{each[1]}, the largest layer while it comes back {each[2]})'
    )
