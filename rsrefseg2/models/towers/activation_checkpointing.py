"""Less memory: layers computed again in the backward pass, frozen weights stored in BF16."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from ...errors import UserError

# What autocast rounds to BF16 at every use.
PRODUCTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def recompute_in_backward(tower: nn.Module, stages: bool | Sequence[int] = True) -> None:
    """Activation checkpointing: in training, a layer of `tower` keeps its input alone, and is
    computed a second time in the backward pass, with the same random numbers.

    Gradients, names and parameters stay as they are; eval computes nothing twice. A layer's hooks
    (FSDP2's) stay outside of what is computed again.

    Args:
        stages: True: every layer; or Hiera's stages, from 1. A block of an early stage takes as
            much time as a later one's and holds twice the next stage's: in Hiera-L stages 1 and 2
            are 8 of 48 blocks, and 37 % of what all of them spare.
    Raises:
        UserError: a stage that the tower has not, or stages of a tower that has none; no layer.
    """
    layers = layers_of(tower)
    if not layers:
        raise UserError(
            f'{type(tower).__name__} has no layers that transformers can compute '
            'again: drop recompute'
        )
    if stages is not True:
        layers = _of_stages(tower, stages)
    for layer in layers:  # transformers' own switch, without its reentrant default
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def layers_of(tower: nn.Module) -> list[nn.Module]:
    """The layers that can be computed again, in the order of the tower."""
    return [module for module in tower.modules() if isinstance(module, GradientCheckpointingLayer)]


def stages_of(tower: nn.Module) -> list[list[nn.Module]]:
    """Hiera's blocks by stage; empty: the tower has no stages."""
    ends = getattr(getattr(tower, 'backbone', None), 'stage_ends', ())
    starts, blocks = [0, *(end + 1 for end in ends)], layers_of(tower)
    return [blocks[start : end + 1] for start, end in zip(starts, ends)]


def _of_stages(tower: nn.Module, stages: Any) -> list[nn.Module]:
    known = stages_of(tower)
    if not known:
        raise UserError(
            f'recompute={stages!r}: {type(tower).__name__} has no stages: set recompute=True'
        )
    if not isinstance(stages, (list, tuple)) or not set(stages) <= set(range(1, len(known) + 1)):
        raise UserError(
            f'recompute is True, False, or a list of stages from 1 to {len(known)}, not {stages!r}'
        )
    return [block for stage in sorted(set(stages)) for block in known[stage - 1]]


def store_frozen_in_bfloat16(tower: nn.Module) -> None:
    """Keep in BF16 the frozen weights and biases of `tower` that autocast rounds to BF16 whenever
    they are used, and its table of tokens; half of their memory, and no cast of them in a step.

    Under autocast an image tower's features stay the same to the bit; a text tower's change by
    the rounding of its table. Norms, position embeddings and all that is trained stay as they are.
    Without autocast such a tower does not run.
    """
    table = tower.get_input_embeddings()
    for module in tower.modules():
        if isinstance(module, PRODUCTS) or isinstance(module, nn.Embedding) and module is table:
            for name, value in list(module.named_parameters(recurse=False)):
                if not value.requires_grad:
                    half = value.detach().to(torch.bfloat16)
                    setattr(module, name, nn.Parameter(half, requires_grad=False))
