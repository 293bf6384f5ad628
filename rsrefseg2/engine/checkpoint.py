"""Checkpoints: what was trained in one file, what a resume needs besides in another.

`iter_600.pth`: the weights that no tower's own files give, in float32, under their names in the
model (`state_dict`); where the towers came from, with a hash of their weights (`towers`); `meta`.
`iter_600_optim.pth`: the optimizer's state by parameter name, the schedule, the log.

Both are plain tensors, numbers and strings (`torch.load(weights_only=True)`), the same whatever
strategy and number of devices trained them. A file appears under its name when it is whole.
"""
from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from ..errors import UserError
from ..models.tower_sources import given_keys, tower_sources

OPTIM = '_optim.pth'


def optim_file(path: str | os.PathLike) -> Path:
    """The second file of the checkpoint `path`."""
    return Path(path).with_name(Path(path).stem + OPTIM)


def write_atomically(value: object, path: str | os.PathLike) -> None:
    """torch.save into a file that has its name only once it is whole and on the disk.

    Raises:
        UserError: it cannot be written; nothing is left of it, and an older file stays.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}.unfinished')  # one process writes: no clash
    try:
        with open(unfinished, 'wb') as file:
            torch.save(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:  # torch wraps what the file says
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise UserError(f'checkpoint {path} cannot be written ({_reason(error)}): free space or '
                        'choose another --work-dir; the older checkpoints are whole, --resume goes '
                        'on from the newest') from error


def _reason(error: BaseException) -> str:
    """What the system said; torch's own error hides it while its writer is closed."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, OSError):
        at = at.__cause__ or at.__context__
    return str(error).splitlines()[0] if at is None else str(at.strerror or at)


def read_checkpoint(path: str | os.PathLike) -> dict:
    """A checkpoint's weights file, on the CPU, without executing what is in it.

    Raises:
        UserError: the file does not exist, is torn, or is no checkpoint.
    """
    checkpoint = _read(path)
    if 'state_dict' not in checkpoint:
        other = (f': give {str(path).removesuffix(OPTIM)}.pth' if str(path).endswith(OPTIM)
                 else ': give the *.pth in a work dir')
        raise UserError(f'checkpoint {path} holds no "state_dict"{other}')
    return checkpoint


def read_optim(path: str | os.PathLike, checkpoint: dict) -> dict:
    """The second file of the checkpoint `path`, which was read before.

    Raises:
        UserError: it does not exist, is torn, or belongs to another checkpoint.
    """
    second = optim_file(path)
    if not second.is_file():
        raise UserError(f'checkpoint {path} cannot be resumed: {second.name}, which holds the '
                        'optimizer, is not beside it: put it there, or start from the weights '
                        'alone with --cfg-options load_from=...')
    optim = _read(second)
    if optim.get('meta', {}).get('saved') != checkpoint.get('meta', {}).get('saved', ''):
        raise UserError(f'{path} and {second.name} were not saved together: put the files of one '
                        'checkpoint side by side')
    return optim


def _read(path: str | os.PathLike) -> dict:
    if not os.path.isfile(path):
        raise UserError(f'checkpoint {path} does not exist: give the *.pth in a work dir')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        if str(error).startswith('Weights only load failed'):
            raise UserError(f'checkpoint {path} cannot be read: it holds more than tensors and '
                            f'numbers, and loading that would execute code: save its state_dict '
                            f'alone') from error
        reason = (str(error) or type(error).__name__).splitlines()[0].split('. ')[0]
        raise UserError(f'checkpoint {path} cannot be read, it is torn or no checkpoint '
                        f'({reason}): take another one') from error
    return content if isinstance(content, dict) else {}


def check_whole(path: str | os.PathLike) -> None:
    """Both files of a checkpoint, to the last byte, by the checksums that torch stores in them.

    Raises:
        UserError: what is wrong with which file.
    """
    for file in (Path(path), optim_file(path)):
        try:
            with zipfile.ZipFile(file) as archive:
                broken = archive.testzip()
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise UserError(f'{file.name}: {error}') from error
        if broken is not None:
            raise UserError(f'{file.name}: {broken} is not what was written')
    read_optim(path, read_checkpoint(path))


def find_newest(folder: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """The checkpoint of `folder` that was saved last and can be resumed, and a line for each file
    that was passed over because it is torn."""
    found: list[tuple[float, Path]] = []
    torn: list[str] = []
    for path in sorted(Path(folder).glob('*.pth')):
        if path.name.endswith(OPTIM) or path.name.startswith('best_'):
            continue
        try:
            found.append((float(read_checkpoint(path)['meta']['saved']), path))
        except UserError as error:
            torn.append(str(error))
        except (KeyError, TypeError, ValueError):
            torn.append(f'checkpoint {path} does not say when it was saved: not of this version')
    for _, path in sorted(found, reverse=True):
        try:
            check_whole(path)
        except UserError as error:
            torn.append(f'checkpoint {path} is not whole ({error})')
        else:
            return path, torn
    return None, torn


def trained_keys(model: nn.Module) -> Iterator[str]:
    """The keys of the state dict that a checkpoint holds: all but those that a tower's files give,
    frozen as they are. A tower that was drawn from a config is held whole."""
    given = given_keys(model)
    return (key for key in model.state_dict() if key not in given)


def check_fits(model: nn.Module, checkpoint: dict, *, where: str) -> None:
    """The checkpoint gives every key that the model's towers do not, and no other; the towers are
    those that it was trained on.

    Raises:
        UserError: one line with the counts and first names of the missing, the unexpected and
            those of another shape; or with the tower that is another one.
    """
    own, state_dict = model.state_dict(), checkpoint['state_dict']
    given = given_keys(model) - set(state_dict)
    faults = {
        'missing': [key for key in own if key not in state_dict and key not in given],
        'unexpected': [key for key in state_dict if key not in own],
        'of another shape': [key for key in own if key in state_dict
                             and own[key].shape != state_dict[key].shape],
    }
    if any(faults.values()):
        told = '; '.join(f'{len(keys)} {fault} ({", ".join(keys[:3])}{", ..." * (len(keys) > 3)})'
                         for fault, keys in faults.items() if keys)
        trained_on = ', '.join(sorted({tower['checkpoint'] for tower
                                       in checkpoint.get('towers', {}).values()}))
        raise UserError(f'checkpoint {where} is not of this model: {told}: use the config and the '
                        f'towers it was trained with{trained_on and f" ({trained_on})"}')
    if given:
        _check_towers(model, checkpoint.get('towers', {}), where)


def _check_towers(model: nn.Module, towers: dict, where: str) -> None:
    for name, source in tower_sources(model).items():
        expected = towers.get(name, {})
        if expected.get('sha256') != source.sha256:
            raise UserError(
                f'checkpoint {where} was trained on other weights of {name}: on '
                f'{expected.get("checkpoint")} (sha256 {str(expected.get("sha256"))[:12]}), not '
                f'on {source.checkpoint} (sha256 {source.sha256[:12]}): give its tower in the '
                'config')


def load_checkpoint(model: nn.Module, path: str | os.PathLike) -> dict:
    """Load the weights of `path` into `model`; returns the checkpoint.

    Raises:
        UserError: see `read_checkpoint` and `check_fits`.
    """
    checkpoint = read_checkpoint(path)
    checkpoint['state_dict'] = {key.removeprefix('module.'): value  # of a wrapped model
                                for key, value in checkpoint['state_dict'].items()}
    check_fits(model, checkpoint, where=str(path))
    model.load_state_dict(checkpoint['state_dict'], strict=False)
    return checkpoint


def differing(first: str | os.PathLike, second: str | os.PathLike, *,
              leave_out: tuple[str, ...] = ()) -> list[str]:
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
        ends.append(dict(
            weights=checkpoint['state_dict'], optimizer=optim['optimizer'],
            schedule=optim['param_schedulers'], iteration=checkpoint['meta']['iter'],
            losses=hub['log_scalars']['train/loss'], best=info.get('best_score'),
            best_name=Path(info.get('best_ckpt', '')).name,
            kept=[Path(name).name for name in info['checkpoints']]))
    for end in ends:
        for part in leave_out:
            end.pop(part)
    return list(_unequal(*ends))


def _unequal(one: object, other: object, where: str = '') -> Iterator[str]:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if (one.shape, one.dtype) != (other.shape, other.dtype) or not torch.equal(
                *(tensor.flatten().view(torch.uint8) for tensor in (one, other))):  # NaNs too
            yield where
    elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _unequal(one[key], other[key], f'{where}/{key}'.lstrip('/'))
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and (
            len(one) == len(other)):
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from _unequal(*pair, f'{where}/{i}')
    elif one != other:
        yield f'{where}: {one} and {other}'
