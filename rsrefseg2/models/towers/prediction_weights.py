"""Less time for a model that predicts alone: LoRA merged, the towers in BF16 or int8."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ...errors import UserError
from .lora import merge_lora

PredictionDtype = Literal['bfloat16', 'int8']


def convert_for_prediction(towers: Iterable[nn.Module], dtype: PredictionDtype) -> None:
    """Merge the LoRA of each tower and convert its weights, in place; no way leads back.

    Callers see float32: prompter and mask decoder stay as they are.

    Args:
        dtype: 'bfloat16': weights and activations, so that nothing is cast on the way, as autocast
            does at each layer. 'int8': the linear layers' weights by output channel, their inputs
            by pass (torch's dynamic quantisation); all else stays float32.
    Raises:
        UserError: int8 on a GPU, or with a torch that cannot quantise.
    """
    for tower in towers:
        merge_lora(tower)
        if dtype == 'bfloat16':
            _run_in_bfloat16(tower)
        else:
            _quantise(tower)


def _run_in_bfloat16(tower: nn.Module) -> None:
    """BF16 inside of the tower, and of those of its layers that are called beside it (CLIP's and the
    giant SigLIP's heads), float32 at their ends."""
    tower.to(torch.bfloat16)
    beside = (getattr(tower, name, None) for name in ('head', 'post_layernorm'))
    for module in (tower, *filter(None, beside)):
        module.register_forward_pre_hook(_round_inputs, with_kwargs=True)
        module.register_forward_hook(lambda module, args, output: _cast(output, torch.float32))


def _round_inputs(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _cast(args, torch.bfloat16), _cast(kwargs, torch.bfloat16)


def _cast(values: Any, dtype: torch.dtype) -> Any:
    """Every floating tensor of a tree of them."""

    def cast(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return tree_map(cast, values)


def _quantise(tower: nn.Module) -> None:
    device = next(tower.parameters()).device
    if device.type != 'cpu':
        raise UserError(
            f"model.prediction_dtype='int8' runs on CPUs alone, not on {device}: take 'bfloat16'"
        )
    try:
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
    except ImportError as error:
        raise UserError(
            f"model.prediction_dtype='int8' needs torch.ao.quantization, which torch "
            f"{torch.__version__} lacks ({error}): take 'bfloat16'"
        ) from None
    with _engine(), warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*deprecated')  # all of torch.ao
        quantize_dynamic(tower, {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """What packs the weights: oneDNN, the only one that uses AMX, where the processor multiplies
    8-bit numbers without overflow (VNNI); else torch's choice."""
    before = torch.backends.quantized.engine
    able = torch.cpu.get_capabilities()
    if able.get('avx512_vnni') or able.get('avx_vnni'):
        torch.backends.quantized.engine = 'onednn'
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
