"""What a tower's own files hold, so that nobody needs to store it again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Of a tower's config.json, what changes nothing that its weights compute.
NO_FUNCTION = re.compile(
    r'_.*|transformers_version|architectures|(torch_)?dtype|return_dict|output_.*|use_cache'
    r'|.*dropout|initializer_.*'
)


class TowerSource(NamedTuple):
    """Where a tower's weights came from."""

    checkpoint: str  # hub name or folder, as the config has it
    sha256: str  # of the weights as they were loaded, however their files are cut
    settings: dict[str, Any]  # of its config.json, see `function_of_config`


def content_hash(tower: nn.Module) -> str:
    """SHA-256 of a tower's weights, see `state_hash`."""
    return state_hash(tower.state_dict())


def state_hash(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, shapes and values of weights, in the order of the names."""
    state = sorted(state_dict.items())
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter free
        digests = pool.map(_digest, (value for _, value in state))
        whole = hashlib.sha256()
        for (name, value), digest in zip(state, digests, strict=True):
            whole.update(f'{name} {tuple(value.shape)} {digest}\n'.encode())
    return whole.hexdigest()


def function_of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted key: value} of a tower's config, of all that may change what its weights compute."""
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            within = function_of_config({str(name): child for name, child in value.items()})
            settings |= {f'{key}.{name}': child for name, child in within.items()}
        elif not NO_FUNCTION.fullmatch(key):
            settings[key] = list(value) if isinstance(value, tuple) else value
    return settings


def _digest(value: Tensor) -> str:
    flat = value.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(flat.numpy()).hexdigest()


def set_source(tower: nn.Module, source: TowerSource | None) -> None:
    """Remember on the tower itself where it came from; None: its weights were drawn."""
    tower.tower_source = source


def tower_sources(model: nn.Module) -> dict[str, TowerSource]:
    """The sources of the towers in `model`, by the tower's name."""
    return {name: tower.tower_source for name, tower in _sourced(model)}


def given_keys(model: nn.Module) -> set[str]:
    """The keys of the model's state dict that its towers' files give: frozen weights and constants
    of every tower that has a source, but for those that a checkpoint replaced."""
    keys = set()
    for prefix, tower in _sourced(model):
        keys |= {f'{prefix}.{name}' for name, p in tower.named_parameters() if not p.requires_grad}
        keys |= {f'{prefix}.{name}' for name, _ in tower.named_buffers()}
    return keys & set(model.state_dict()) - getattr(model, 'replaced', set())


def mark_replaced(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Before `state_dict` is loaded: remember which of `given_keys` it gives other values, as a
    whole checkpoint may: checkpoints of this model then hold them. Of weights that are cut over
    ranks all count as others."""
    own = model.state_dict()
    model.replaced = getattr(model, 'replaced', set()) | {
        key
        for key in given_keys(model) & set(state_dict)
        if hasattr(own[key], 'full_tensor')
        or not torch.equal(own[key], state_dict[key].to(own[key]))
    }


def _sourced(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return (
        (name, module)
        for name, module in model.named_modules()
        if getattr(module, 'tower_source', None) is not None
    )
