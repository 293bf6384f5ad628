"""Which layers to compute again in the backward pass, so that a training step fits a budget."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, combinations
from typing import Any, NamedTuple

from .kept_memory import StepMemory

STAGE = 'SAM stage '
TOWERS = {'SigLIP vision': 'vision_recompute', 'SigLIP text': 'text_recompute'}


class Choice(NamedTuple):
    """A set of units that are computed again, and what it takes."""

    again: tuple[str, ...]  # of `units_of`
    kept: int  # bytes, from the forward to the backward pass
    largest: int  # bytes more while the largest layer comes back
    flop: int  # of the second forward passes


def choices(step: StepMemory, always: Collection[str] = ()) -> Iterator[Choice]:
    """Every set of units with those of `always`, the smallest sets first."""
    units = list(dict.fromkeys(layer.unit for layer in step.layers))
    free = [unit for unit in units if unit not in always]
    for more in chain.from_iterable(combinations(free, n) for n in range(len(free) + 1)):
        again = tuple(unit for unit in units if unit in always or unit in more)
        yield Choice(again, step.kept(again), step.largest_again(again), step.flop(again))


def cheapest(step: StepMemory, room: int, always: Collection[str] = ()) -> Choice | None:
    """Of the sets that need at most `room` bytes the one with the least to compute again, and of
    equals the one that needs least; None: none does."""
    fitting = [one for one in choices(step, always) if one.kept + one.largest <= room]
    return min(fitting, key=lambda one: (one.flop, one.kept + one.largest), default=None)


def least(step: StepMemory, always: Collection[str] = ()) -> Choice:
    """The set that needs the fewest bytes."""
    return min(choices(step, always), key=lambda one: (one.kept + one.largest, one.flop))


def units_in(model_cfg: Mapping, units: Iterable[str]) -> tuple[str, ...]:
    """Those of a model's units that its config has computed again already."""
    stages = model_cfg['sam'].get('recompute', False)
    return tuple(
        unit
        for unit in units
        if (
            model_cfg['siglip'].get(TOWERS[unit], False)
            if unit in TOWERS
            else stages is True or stages and int(unit.removeprefix(STAGE)) in stages
        )
    )


def settings_of(again: Collection[str], units: Collection[str]) -> dict[str, dict[str, Any]]:
    """Of a model with these units -> {'sam': {'recompute': ...}, 'siglip': {...}}."""
    of_sam = [unit for unit in units if unit not in TOWERS]
    chosen = [unit for unit in of_sam if unit in again]
    recompute: Any = len(chosen) == len(of_sam)
    if chosen and not recompute:
        recompute = [int(unit.removeprefix(STAGE)) for unit in chosen]
    return {
        'sam': {'recompute': recompute},
        'siglip': {key: unit in again for unit, key in TOWERS.items()},
    }
