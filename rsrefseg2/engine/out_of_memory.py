"""Too little memory becomes one line: for which batch, where, and what to lower, in which order."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.runner import BaseLoop, TestLoop, ValLoop

from ..errors import UserError
from ..models.data_preprocessor import BatchShape, current_batch
from .workers import explain_lost_workers, messages

# What torch says in an error without a class of its own.
OUT_OF_MEMORY = (
    'allocate memory',
    'out of memory',
    'not enough memory',
    'killed by signal: Killed',
)
LOADERS = (
    (ValLoop, 'val_dataloader'),
    (TestLoop, 'test_dataloader'),
    (BaseLoop, 'train_dataloader'),
)
SHARDING = ('ZeRO2Strategy', 'FSDP2Strategy')


@contextlib.contextmanager
def explain_out_of_memory(cfg: Config, loader: str | None = None) -> Iterator[None]:
    """Too little memory becomes one line: the batch it was too little for, and what to lower; a
    loader's worker that ended becomes one, too (`workers.py`).

    Args:
        loader: 'train_dataloader' or 'test_dataloader'; None: prediction, without a loader.
    Raises:
        UserError: in place of a MemoryError or of torch's out-of-memory errors, see also
            `explain_lost_workers`.
    """
    current_batch.set(None)
    try:
        with explain_lost_workers():
            yield
    except (MemoryError, RuntimeError) as error:
        message = messages(error)
        if not (
            isinstance(error, (MemoryError, torch.OutOfMemoryError))
            or any(words in message for words in OUT_OF_MEMORY)
        ):
            raise
        shape, loader = current_batch.get(), _loader_at(error) or loader
        levers = levers_of(cfg, loader)
        what = f'out of memory in {"prediction" if loader is None else _phase(error)}'
        if 'killed by signal' in message:  # the system took a loader's worker
            levers.insert(0, f'{loader}.num_workers')
            what = (
                f'a worker of {loader} was killed, by the system because memory ran out or by '
                'a signal from elsewhere,'
            )
        raise UserError(
            f'{what} with {" and ".join(_checkpoints(cfg.model))}{_batch_text(shape)}: lower or '
            'set, in this order: '
            f'{"; ".join(levers)}'
        ) from error


def _loader_at(error: BaseException) -> str | None:
    """The dataloader of the loop that the error came through, the innermost one."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        loop = frame.f_locals.get('self')
        if isinstance(loop, BaseLoop):
            found = next(name for kind, name in LOADERS if isinstance(loop, kind))
    return found


def levers_of(cfg: Config, loader: str | None) -> list[str]:
    """What spares memory and is not in use yet, by config key, the first to try first."""
    model, strategy = cfg.model, cfg.get('strategy') or {}
    training = loader == 'train_dataloader'
    zero_shot = 'prompter' not in model and 'swin' not in model
    levers = []
    if loader is None:
        levers.append('another --device, such as cpu, or a smaller image')
    elif cfg[loader].batch_size > 1:
        levers.append(f'{loader}.batch_size={cfg[loader].batch_size}')
        if training:
            accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
            levers[-1] += (
                f' (raise optim_wrapper.accumulative_counts={accumulation} to keep the '
                'global batch)'
            )
    if training:
        if model.get('sam', {'recompute': True}).get('recompute', False) is not True:
            levers.append('model.sam.recompute=True')
        levers += [
            f'model.siglip.{key}=True'
            for key in ('vision_recompute', 'text_recompute')
            if 'siglip' in model and not model.siglip.get(key)
        ]
    in_bf16 = training and (
        strategy.get('type') == 'ZeRO2Strategy' or strategy.get('param_dtype') == 'bfloat16'
    )
    if not in_bf16 and not zero_shot:
        if not model.get('autocast'):
            levers.append('model.autocast=bfloat16')
        if 'sam' in model and model.get('frozen_dtype', 'float32') == 'float32':
            levers.append('model.frozen_dtype=bfloat16 (with autocast)')
    if training and strategy.get('type') not in SHARDING:
        levers.append('on several devices _base_/strategies/zero2_bf16.py or fsdp2.py')
    largest = 'model.sam' if 'sam' in model else 'model.swin'
    return [*levers, 'a smaller checkpoint' if zero_shot else f'a smaller {largest}.checkpoint']


def _checkpoints(model: Config) -> list[str]:
    """Of the towers, or of a zero-shot model's parts."""
    given = [model.get('checkpoint'), model.get('detector')]
    parts = ('siglip', 'sam', 'swin', 'bert')
    given += [model[part].checkpoint for part in parts if part in model]
    return [str(checkpoint) for checkpoint in given if checkpoint]


def _batch_text(shape: BatchShape | None) -> str:
    """The batch, as a clause."""
    if shape is None:
        return ''
    return (
        f', at U={shape.images} images (I_1 {shape.size_siglip} x {shape.size_siglip}, I_2 '
        f'{shape.size_sam} x {shape.size_sam}) and B={shape.sentences} sentences a device'
    )


def _phase(error: BaseException) -> str:
    """What was being done, from the functions that the error came through."""
    names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    for name, phase in (
        ('backward', 'the backward pass'),
        ('step', "the optimizer's step"),
        ('forward', 'the forward pass'),
    ):
        if name in names:
            return phase
    return 'loading'
