"""FLOP of a training step, counted from the backward pass itself, on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .complexity import _autocast_on_meta, _MetaScalars


class TrainingFlops(NamedTuple):
    """Forward and backward. A batch of U images and B sentences takes U * image + B * sentence."""

    image: int
    sentence: int


def count_training_flops(model: nn.Module) -> TrainingFlops:
    """Model FLOP of an `RSRefSeg2` as `build_on_meta` gives it.

    One multiply-accumulate is 2 FLOP; matrix products, convolutions and attention are counted, as
    in `summary.py`. A trained linear layer so counts three times its forward pass, a frozen one
    twice (its weight takes no gradient), one below everything trained once, attention three times.
    What a run computes twice to save memory counts once; losses (elementwise) not at all.
    Sentences have the text tower's full length, as in training.
    """
    encoder, generator, size = model.encoder, model.mask_generator, model.mask_generator.input_size
    with torch.device('meta'):
        where = torch.empty(1, 3, encoder.image_size, encoder.image_size)
        how = torch.empty(1, 3, *size)
        ids = torch.zeros(1, encoder.max_length, dtype=torch.int64)
        lengths = torch.full((1,), encoder.max_length)
    with torch.enable_grad(), _MetaScalars(encoder.max_length - 1), _autocast_on_meta():
        v, of_v = _stage(encoder.encode_images, where)
        features, of_features = _stage(generator.encode_images, how)
        text, of_text = _stage(encoder.encode_text, ids, lengths)
        prompts, of_prompter = _stage(model.prompter, v, text)
        _, of_decoder = _stage(generator, *features, prompts.p_sparse, prompts.p_dense)
    return TrainingFlops(of_v + of_features, of_text + of_prompter + of_decoder)


def _stage(call: Callable, *inputs: Any) -> tuple[Any, int]:
    """-> the result, cut off from what made it, and the FLOP of `call` forward and backward."""
    with FlopCounterMode(display=False) as counter:
        result = call(*inputs)
        reached = [value for value in _tensors(result) if value.requires_grad]
        if reached:
            torch.autograd.backward(reached, [torch.empty_like(value) for value in reached])
    return _cut(result), counter.get_total_flops()


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _cut(value: Any) -> Any:
    """The same structure of leaves, which take a gradient where the tensors did."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(_cut, value))
    return type(value)(map(_cut, value)) if isinstance(value, (tuple, list)) else value
