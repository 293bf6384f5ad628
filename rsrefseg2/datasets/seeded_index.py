"""An index that was drawn in a certain epoch, and the randomness that belongs to it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


class SeededIndex(int):
    """The index of a sample, with the numbers that seed its random transforms.

    An int everywhere else; it travels to the loader's workers with its seed.

    Args:
        index: of the sample.
        seed: (seed of the run, epoch).
    """

    seed: tuple[int, int]

    def __new__(cls, index: int, seed: tuple[int, int]) -> SeededIndex:
        draw = super().__new__(cls, index)
        draw.seed = seed
        return draw

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.seed)


@contextlib.contextmanager
def own_randomness(index: int) -> Iterator[None]:
    """Inside, Python's, NumPy's and torch's generators are a function of the draw alone: neither
    of the worker that reads the sample, nor of what was read before. Outside they go on as if
    nothing had been. Nothing happens for an index that was not drawn.
    """
    if not isinstance(index, SeededIndex):
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = np.random.SeedSequence((*index.seed, int(index))).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(int(seeds[2]))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
