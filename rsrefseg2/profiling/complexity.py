"""Parameters and FLOPs by part, counted on the meta device: no weights, no memory, no network.

One multiply-accumulate counts as 2 FLOP; matrix products, convolutions and attention are counted,
elementwise work is not. LoRA stands apart from the towers it adapts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from ..models import LAVT, ModelInputs
from ..models.zero_shot.zero_shot_model import refuse_zero_shot
from ..registry import MODELS, SCOPE
from ..tables import plain_table

PARTS = ('vision_tower', 'text_tower', 'sam', 'prompter', 'lora')
# Of a baseline: part -> the model's attributes.
LAVT_PARTS = {
    'vision_tower': ('swin',),
    'text_tower': ('bert',),
    'fusion': ('fusions', 'gates', 'norms'),
    'interaction': ('intra_scale', 'cross_scale', 'enhancement'),
    'decoder': ('decoder',),
}
ROWS = (
    'vision_tower',
    'text_tower',
    'sam',
    'sam_image_encoder',
    'sam_prompt_encoder',
    'sam_mask_decoder',
    'prompter',
    'lora',
    'fusion',
    'interaction',
    'decoder',
    'other',
    'total',
)


class _MetaScalars(TorchFunctionMode):
    """float(x), int(x) and bool(x) of a tensor without data: `value`, where torch would raise.

    The model asks for SigLIP's scale and bias when it is built (no count depends on them), for the
    number of words of the longest sentence, and whether no sentence has padding.
    """

    CASTS = {Tensor.__float__: float, Tensor.__int__: int, Tensor.__bool__: bool}

    def __init__(self, value: int = 0) -> None:
        super().__init__()
        self.value = value

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func in self.CASTS and args[0].is_meta:
            return self.CASTS[func](self.value)
        return func(*args, **(kwargs or {}))


def build_on_meta(model_cfg: dict) -> nn.Module:
    """The model of a config with `init='random'`, its tensors without data.

    Raises:
        UserError: it is a zero-shot model.
    """
    refuse_zero_shot(model_cfg, 'whose parts are not counted')
    with torch.device('meta'), _MetaScalars(), DefaultScope.overwrite_default_scope(SCOPE):
        return MODELS.build(dict(copy.deepcopy(model_cfg), init='random')).eval()


def summarize(model: nn.Module) -> dict[str, dict[str, int]]:
    """{'parameters': {part: number}, 'flops': {part: number}} of an `RSRefSeg2` or a `LAVT`.

    'sam' holds `sam_image_encoder` and `sam_mask_decoder` (in 'parameters' also
    `sam_prompt_encoder`), which are listed beside it; 'total' is the sum of the parts.
    """
    if isinstance(model, LAVT):
        return {'parameters': count_by_part(model), 'flops': count_flops_by_part(model)}
    return {'parameters': count_parameters(model), 'flops': count_flops(model)}


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters by part, all and trainable (`<part>_trainable`)."""
    sam = model.mask_generator.sam
    places = {
        'vision_tower': model.encoder.vision_model,
        'text_tower': model.encoder.text_model,
        'sam': sam,
        'sam_image_encoder': sam.vision_encoder,
        'sam_prompt_encoder': sam.prompt_encoder,
        'sam_mask_decoder': sam.mask_decoder,
        'prompter': model.prompter,
    }
    counts = {name: _count(place, lora=False) for name, place in places.items()}
    counts['lora'] = _count(model, lora=True)
    named = sum(counts[part] for part in PARTS)
    total = _count(model, lora=None)
    counts['other'] = total - named  # the losses' learnable scales
    trainable = {
        f'{name}_trainable': _count(place, lora=False, trainable=True)
        for name, place in places.items()
    }
    trainable['lora_trainable'] = _count(model, lora=True, trainable=True)
    all_trainable = _count(model, lora=None, trainable=True)
    trainable['other_trainable'] = all_trainable - sum(
        trainable[f'{part}_trainable'] for part in PARTS
    )
    return {**counts, **trainable, 'total': total, 'trainable': all_trainable}


def count_flops(model: nn.Module) -> dict[str, int]:
    """FLOP of one forward pass by part: one image, one sentence of the text tower's full length."""
    encoder, generator, size = model.encoder, model.mask_generator, model.mask_generator.input_size
    with torch.device('meta'):
        image_where = torch.empty(1, 3, encoder.image_size, encoder.image_size)
        image_how = torch.empty(1, 3, *size)
        ids = torch.zeros(1, encoder.max_length, dtype=torch.int64)
        lengths = torch.full((1,), encoder.max_length)
    counts, lora = {}, 0

    def stage(name: str, call: Callable, *args: Any) -> Any:
        nonlocal lora
        with FlopCounterMode(display=False) as counter:
            result = call(*args)
        adapters = _lora_flops(counter)
        counts[name] = counter.get_total_flops() - adapters
        lora += adapters
        return result

    # With gradients on, though none is taken: torch's module tracker fails on learnable arguments
    # (the position embeddings) under no_grad. Nothing is stored on meta anyway.
    with torch.enable_grad(), _MetaScalars(encoder.max_length - 1), _autocast_on_meta():
        v = stage('vision_tower', encoder.encode_images, image_where)
        text = stage('text_tower', encoder.encode_text, ids, lengths)
        features = stage('sam_image_encoder', generator.encode_images, image_how)
        prompts = stage('prompter', model.prompter, v, text)
        stage('sam_mask_decoder', generator, *features, prompts.p_sparse, prompts.p_dense)
    counts['sam'] = counts['sam_image_encoder'] + counts['sam_mask_decoder']
    counts['lora'] = lora
    return {**counts, 'total': sum(counts[part] for part in PARTS)}


def count_by_part(model: LAVT) -> dict[str, int]:
    """Numbers of parameters of each part of a baseline (`LAVT_PARTS`), all and trainable."""
    counts, trained = (
        {
            name: sum(
                _count(part, lora=None, trainable=only)
                for part in (getattr(model, one) for one in parts)
                if part is not None
            )
            for name, parts in LAVT_PARTS.items()
        }
        for only in (False, True)
    )
    total, trainable = (_count(model, lora=None, trainable=only) for only in (False, True))
    counts['other'] = total - sum(counts.values())
    trained['other'] = trainable - sum(trained.values())
    return {
        **counts,
        **{f'{name}_trainable': value for name, value in trained.items()},
        'total': total,
        'trainable': trainable,
    }


def count_flops_by_part(model: LAVT) -> dict[str, int]:
    """FLOP of one forward pass of a baseline by part: one image, one sentence of full length."""
    side, length = model.swin.image_size, model.bert.max_length
    with torch.device('meta'):
        image, ids = torch.empty(1, 3, side, side), torch.zeros(1, length, dtype=torch.int64)
        one, lengths = torch.zeros(1, dtype=torch.int64), torch.full((1,), length)
    counter = FlopCounterMode(display=False)
    with torch.enable_grad(), _MetaScalars(length), _autocast_on_meta(), counter:
        model(ModelInputs(image, image, one, ids, lengths, one))

    found = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    root, counts = type(model).__name__, dict.fromkeys(LAVT_PARTS, 0)
    for name, flops in found.items():
        modules = name.split('.')
        above = ('.'.join(modules[:end]) for end in range(2, len(modules)))
        if modules[0] == root and len(modules) > 1 and not any(one in found for one in above):
            part = next(key for key, parts in LAVT_PARTS.items() if modules[1] in parts)
            counts[part] += flops
    return {**counts, 'total': counter.get_total_flops()}


def table(summary: dict[str, dict[str, int]]) -> str:
    """The summary as text, for people."""
    parameters, flops = summary['parameters'], summary['flops']
    lines = []
    for name in (name for name in ROWS if name in parameters):
        trainable = parameters['trainable' if name == 'total' else f'{name}_trainable']
        label = '  ' + name.removeprefix('sam_') if name.startswith('sam_') else name
        gflop = f'{flops[name] / 1e9:,.1f}' if name in flops else None
        lines.append((label, *(f'{n / 1e6:,.3f}' for n in (parameters[name], trainable)), gflop))
    of_towers = (
        '\nvision_tower is without its pooling head; the towers are counted without their LoRA '
        'adapters, which are the row lora.'
    )
    return (
        plain_table(('part', 'parameters (M)', 'trainable (M)', 'GFLOP'), lines)
        + '\n\nFLOP of one forward pass for one image and one sentence of full length; '
        f'1 MAC = 2 FLOP.{of_towers if "lora" in parameters else ""}'
    )


@contextmanager
def _autocast_on_meta() -> Iterator[None]:
    """torch.autocast refuses the meta device, even with enabled=False, as the dense prompt uses it
    to leave half precision; here none is active, so doing nothing is the same."""
    with patch.object(torch, 'autocast', lambda *args, **kwargs: nullcontext()):
        yield


def _count(module: nn.Module, *, lora: bool | None, trainable: bool = False) -> int:
    """Numbers in parameters; with `lora` only those that are (True) or are not (False) adapters."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if (lora is None or _is_lora(name) == lora) and (parameter.requires_grad or not trainable)
    )


def _is_lora(name: str) -> bool:
    return 'lora_A' in name.split('.') or 'lora_B' in name.split('.')


def _lora_flops(counter: FlopCounterMode) -> int:
    """FLOP inside the adapters' two linear layers."""
    return sum(
        sum(ops.values()) for name, ops in counter.get_flop_counts().items() if _is_lora(name)
    )
