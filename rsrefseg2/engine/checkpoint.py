"""Checkpoints: what was trained in one file, what a resume needs besides in another.

`iter_600.pth`: the weights that no tower's own files give, in float32, under their names in the
model (`state_dict`); where the towers came from, with a hash of their weights (`towers`); `meta`.
`iter_600_optim.pth`: the optimizer's state by parameter name, the schedule, the log.

Both are plain tensors, numbers and strings (`torch.load(weights_only=True)`), the same whatever
strategy and number of devices trained them. A file appears under its name when it is whole.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn

from ..errors import UserError
from ..models.towers.fingerprints import given_keys, mark_replaced, tower_sources
from .checkpoint_files import (
    OPTIM,
    check_whole,
    find_newest,
    optim_file,
    read_checkpoint,
    read_optim,
    write_atomically,
)
from .trained_as import tokenizer_mark

__all__ = [
    'OPTIM',
    'check_fits',
    'check_tokenizer',
    'check_whole',
    'differing',
    'find_newest',
    'load_checkpoint',
    'optim_file',
    'read_checkpoint',
    'read_optim',
    'trained_keys',
    'write_atomically',
]


def trained_keys(model: nn.Module) -> Iterator[str]:
    """The keys of the state dict that a checkpoint holds: all but those that a tower's files give,
    frozen as they are. A tower that was drawn from a config is held whole."""
    given = given_keys(model)
    return (key for key in model.state_dict() if key not in given)


def check_fits(model: nn.Module, checkpoint: dict, *, location: str) -> None:
    """The checkpoint gives every key that the model's towers do not, and no other; the towers are
    those that it was trained on.

    Raises:
        UserError: one line with the counts and first names of the missing, the unexpected and
            those of another shape; or with the tower that is another one, or is configured
            otherwise.
    """
    own, state_dict = model.state_dict(), checkpoint['state_dict']
    given = given_keys(model) - set(state_dict)
    faults = {
        'missing': [key for key in own if key not in state_dict and key not in given],
        'unexpected': [key for key in state_dict if key not in own],
        'of another shape': [
            key for key in own if key in state_dict and own[key].shape != state_dict[key].shape
        ],
        'of another type': [
            key
            for key in own
            if key in state_dict
            and own[key].is_floating_point() != state_dict[key].is_floating_point()
        ],
    }
    if any(faults.values()):
        listed = '; '.join(
            f'{len(keys)} {fault} ({", ".join(keys[:3])}{", ..." * (len(keys) > 3)})'
            for fault, keys in faults.items()
            if keys
        )
        trained_on = ', '.join(
            sorted({tower['checkpoint'] for tower in checkpoint.get('towers', {}).values()})
        )
        raise UserError(
            f'checkpoint {location} is not of this model: {listed}: use the config and the '
            f'towers it was trained with{trained_on and f" ({trained_on})"}'
        )
    if given and given == given_keys(model) and not checkpoint.get('towers'):  # weights alone
        print_log(
            f'checkpoint {location} does not say which towers it was trained on: those of the '
            'config are taken for them',
            'current',
            logging.WARNING,
        )
    elif given:
        _check_towers(model, checkpoint.get('towers', {}), location)
    _check_settings(model, checkpoint.get('towers', {}), location)


def _check_towers(model: nn.Module, towers: dict, location: str) -> None:
    for name, source in tower_sources(model).items():
        expected = towers.get(name, {})
        if expected.get('sha256') != source.sha256:
            raise UserError(
                f'checkpoint {location} was trained on other weights of {name}: on '
                f'{expected.get("checkpoint")} (sha256 {str(expected.get("sha256"))[:12]}), not '
                f'on {source.checkpoint} (sha256 {source.sha256[:12]}): give its tower in the '
                'config'
            )


def _check_settings(model: nn.Module, towers: dict, location: str) -> None:
    """The towers' config.json says what it said in the training. Keys that only one of the two
    has are passed over: another version of transformers wrote them."""
    for name, source in tower_sources(model).items():
        recorded = towers.get(name, {}).get('settings', {})
        differing = [
            f'{key}={source.settings[key]!r} instead of {recorded[key]!r}'
            for key in sorted(recorded.keys() & source.settings.keys())
            if source.settings[key] != recorded[key]
        ]
        if differing:
            raise UserError(
                f'checkpoint {location} was trained with another config.json of {name} '
                f'({source.checkpoint}), here it has {", ".join(differing)}: its weights would '
                'compute something else: give the tower of its training'
            )


def check_tokenizer(model: nn.Module, checkpoint: dict, *, location: str) -> None:
    """The model reads sentences as the checkpoint's did.

    Raises:
        UserError: its tokenizer is another one.
    """
    mark = checkpoint.get('meta', {}).get('tokenizer')
    if mark is not None and mark != tokenizer_mark(model.data_preprocessor.tokenizer):
        raise UserError(
            f'checkpoint {location} was trained with another tokenizer than the one '
            'beside the text tower (model.siglip.checkpoint, model.bert.checkpoint): words get other '
            'numbers: give its tower in the config'
        )


def load_checkpoint(model: nn.Module, path: str | os.PathLike) -> dict:
    """Load the weights of `path` into `model`; returns the checkpoint.

    Raises:
        UserError: see `read_checkpoint` and `check_fits`.
    """
    checkpoint = read_checkpoint(path)
    check_fits(model, checkpoint, location=str(path))
    check_tokenizer(model, checkpoint, location=str(path))
    mark_replaced(model, checkpoint['state_dict'])
    model.load_state_dict(checkpoint['state_dict'], strict=False)
    return checkpoint


def differing(
    first: str | os.PathLike, second: str | os.PathLike, *, leave_out: tuple[str, ...] = ()
) -> list[str]:
    """Where two resumable checkpoints differ in a bit: weights, optimizer, schedule, position, the
    log of the loss, the best score, the names of those kept. [] where a run that was resumed ended
    as the one that was not.

    Args:
        leave_out: of these parts.
    """
    ends = []
    for path in (first, second):
        checkpoint = read_checkpoint(path)
        optim = read_optim(path, checkpoint)
        hub = optim['message_hub']
        info = hub['runtime_info']
        ends.append(
            dict(
                weights=checkpoint['state_dict'],
                optimizer=optim['optimizer'],
                schedule=optim['param_schedulers'],
                iteration=checkpoint['meta']['iter'],
                losses=hub['log_scalars']['train/loss'],
                best=info.get('best_score'),
                best_name=Path(info.get('best_ckpt', '')).name,
                kept=[Path(name).name for name in info['checkpoints']],
            )
        )
    for end in ends:
        for part in leave_out:
            end.pop(part)
    return list(_unequal(ends[0], ends[1]))


def _unequal(one: object, other: object, location: str = '') -> Iterator[str]:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if (one.shape, one.dtype) != (other.shape, other.dtype) or not torch.equal(
            *(tensor.flatten().view(torch.uint8) for tensor in (one, other))
        ):  # NaNs too
            yield location
    elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _unequal(one[key], other[key], f'{location}/{key}'.lstrip('/'))
    elif (
        isinstance(one, (list, tuple))
        and isinstance(other, (list, tuple))
        and (len(one) == len(other))
    ):
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from _unequal(*pair, f'{location}/{i}')
    elif one != other:
        yield f'{location}: {one} and {other}'
