"""How the cost of a pass grows: with the sentences asked of a picture, with the picture's side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from mmengine.config import Config

from ..models.towers.plain_forms import plain_forms
from .bench import Part, build_model, flop_by_part, make_work, parts_of, peak_of, run
from .machine import Clock, peak_memory, reset_peak
from .step_watch import StepWatch

Axis = Literal['sentences', 'side']
VALUES: dict[str, tuple[int, ...]] = {
    'sentences': (1, 2, 4, 8, 16, 32, 64),  # of each picture
    'side': (256, 512, 1024, 2048),  # of a picture, in pixels
}


class Point(NamedTuple):
    """A pass of one size."""

    value: int  # of the axis
    sentences: int  # B
    parts: list[Part]  # the last is `total`
    memory: int  # bytes at the peak


def sweep(
    config: Config,
    device: torch.device,
    axis: Axis,
    *,
    values: Sequence[int],
    lever: str,
    images: int = 1,
    per_image: int = 1,
    side: int = 800,
    training: bool = False,
    repeats: int = 5,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Point]:
    """One model with a lever, passes of each value; the rest as given."""
    peak = peak_of(lever, device)
    model, points = build_model(config, lever, device), []
    for value in values:
        tell(f'{axis} {value}')
        count = images * (value if axis == 'sentences' else per_image)
        work = make_work(images, count, value if axis == 'side' else side, device)
        clock = Clock(device)
        reset_peak(device)
        with plain_forms(lever == 'plain'):
            flop = flop_by_part(config, work, training=training)
            run(
                model, work, clock, passes=repeats + 1, watch=StepWatch(model) if training else None
            )
        points.append(Point(value, count, parts_of(clock, flop, peak), peak_memory(device)))
    return points
