"""Checkpoints fit the model, or say clearly how they do not."""
from __future__ import annotations

import os
import pickle

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from torch import nn

from ..errors import UserError
from ..registry import HOOKS


def check_state_dict(model: nn.Module, state_dict: dict, *, where: str) -> None:
    """Every key of the model is in the state dict with its shape, and no other.

    Raises:
        UserError: one line with the counts and first names of the missing, the unexpected and
            those of another shape.
    """
    own = model.state_dict()
    state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    faults = {
        'missing': [key for key in own if key not in state_dict],
        'unexpected': [key for key in state_dict if key not in own],
        'of another shape': [key for key in own if key in state_dict
                             and own[key].shape != state_dict[key].shape],
    }
    if any(faults.values()):
        told = '; '.join(f'{len(keys)} {fault} ({", ".join(keys[:3])}{", ..." * (len(keys) > 3)})'
                         for fault, keys in faults.items() if keys)
        raise UserError(f'checkpoint {where} is not of this model: {told}: use the config and the '
                        f'towers it was trained with')


def read_checkpoint(path: str) -> dict:
    """A checkpoint's dict, on the CPU, without executing what is in it.

    Raises:
        UserError: the file does not exist, is torn, or is no checkpoint.
    """
    if not os.path.isfile(path):
        raise UserError(f'checkpoint {path} does not exist: give the *.pth in a work dir')
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        if str(error).startswith('Weights only load failed'):
            raise UserError(f'checkpoint {path} cannot be read: it holds more than tensors and '
                            f'numbers, and loading that would execute code: save its state_dict '
                            f'alone') from error
        reason = (str(error) or type(error).__name__).splitlines()[0].split('. ')[0]
        raise UserError(f'checkpoint {path} cannot be read, it is torn or no checkpoint '
                        f'({reason}): take another one') from error
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise UserError(f'checkpoint {path} holds no "state_dict": give the *.pth in a work dir')
    return checkpoint


def load_checkpoint(model: nn.Module, path: str) -> dict:
    """Load `path` into `model`, every key; returns the checkpoint.

    Raises:
        UserError: see `read_checkpoint` and `check_state_dict`.
    """
    checkpoint = read_checkpoint(path)
    check_state_dict(model, checkpoint['state_dict'], where=path)
    model.load_state_dict(checkpoint['state_dict'])
    return checkpoint


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Checkpoints hold tensors, numbers and strings alone, and are refused where they do not fit.

    mmengine stores its log as HistoryBuffer objects, which torch.load refuses without executing
    them; they become two tensors each, and buffers again on the way back. And mmengine loads what
    fits of a checkpoint of another config or other towers; here that is an error.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Called by the runner before the file is written."""
        checkpoint['meta'].update(getattr(runner, 'given_meta', {}))
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {name: [torch.from_numpy(values.copy()) for values in buffer.data]
                              for name, buffer in hub['log_scalars'].items()}
        hub['runtime_info'] = {name: value.item() if isinstance(value, np.generic) else value
                               for name, value in hub['runtime_info'].items()}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Called by the runner before the weights are copied."""
        model = getattr(runner.model, 'module', runner.model)
        check_state_dict(model, checkpoint['state_dict'],
                         where=str(runner._resume or runner._load_from))
        if 'message_hub' in checkpoint:
            hub = checkpoint['message_hub']
            hub['log_scalars'] = {name: HistoryBuffer(*(values.numpy() for values in pair))
                                  for name, pair in hub['log_scalars'].items()}
