"""A trained model from its config and its checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..errors import UserError
from ..models import RefSegModel
from ..models.zero_shot.zero_shot_model import is_zero_shot
from ..registry import MODELS, SCOPE
from ..shipped import find_shipped
from .checkpoint import load_checkpoint, read_checkpoint
from .cpu_threads import limit_threads
from .trained_as import check_function


def check_checkpoint(config: Config, checkpoint: str | Path | None) -> None:
    """A zero-shot model has no checkpoint, every other one has.

    Raises:
        UserError: one is given for the first, or none for the others.
    """
    zero_shot = is_zero_shot(config.model)
    if zero_shot and checkpoint is not None:
        raise UserError(
            f'{config.filename} is of a zero-shot model ({config.model.type}), whose weights are '
            f'those that the config names: leave out the checkpoint {checkpoint}'
        )
    if not zero_shot and checkpoint is None:
        raise UserError(f'{config.filename} is of a trained model: give its checkpoint, too')


def load_model(
    config: Config,
    checkpoint: str | Path | None,
    device: str | torch.device | None = None,
    *,
    predicts: bool = True,
) -> RefSegModel:
    """The config's model with the checkpoint's weights, in eval mode, on the device; the config is
    its `cfg`. With None for the checkpoint a zero-shot model, which answers the same calls for a
    test and a prediction.

    A checkpoint below demo/ is found from any folder, as configs are.

    Args:
        predicts: nothing but predictions are asked of it (`RSRefSeg2.for_prediction`); False where
            its weights are written.

    Raises:
        UserError: see `check_checkpoint`, `read_checkpoint` and `check_fits`.
    """
    limit_threads()
    init_default_scope(config.get('default_scope', SCOPE))
    check_checkpoint(config, checkpoint)
    if checkpoint is None:
        model = MODELS.build(config.model)
        model.cfg = config
        return model.to(find_device(device)).eval()
    if not os.path.lexists(checkpoint) and Path(checkpoint).parts[:1] == ('demo',):
        checkpoint = find_shipped(str(checkpoint), what='checkpoint')
    # Before the towers are built, which takes a while.
    content = read_checkpoint(str(checkpoint))
    check_function(config.model, content, checkpoint)
    words = content.get('meta', {}).get('words')
    del content  # the towers need the room
    device = find_device(device)
    model = MODELS.build(config.model)
    load_checkpoint(model, str(checkpoint))
    model.cfg = config
    model.known_words = None if words is None else frozenset(words)
    model = model.to(device).eval()
    return model.for_prediction() if predicts else model


def find_device(device: str | torch.device | None) -> torch.device:
    """The device itself, or the first GPU, or the CPU; an error where it is not there."""
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'device {device} cannot be used ({reason}); try --device cpu') from None
    return device
