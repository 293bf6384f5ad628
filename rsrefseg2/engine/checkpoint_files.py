"""The files of a checkpoint: read without running what is in them, held to a schema, checked to the
last byte; written whole or not at all. What they hold: checkpoint.py."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, TypeVar

import msgspec
import torch
from torch import Tensor

from ..errors import UserError
from ..files import open_regular

T = TypeVar('T')
OPTIM = '_optim.pth'
# publish.py's names: <name>-<first 8 hex digits of the file's SHA-256>.pth; a date is none.
HASHED = re.compile(r'(.+)-(?!(?:19|20)\d{6}\b)([0-9a-f]{8})\.pth')
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
Count = Annotated[int, msgspec.Meta(ge=0)]


class Meta(TypedDict, total=False):
    """What a checkpoint says of its run; any of it may be absent, and more be there."""

    epoch: Count
    iter: Count
    epoch_length: Annotated[int, msgspec.Meta(ge=1)]
    seed: int | None
    saved: float
    begun: str
    cfg: str
    function: dict[str, Any]
    tokenizer: str
    data: str
    words: list[str]  # of the training sentences


class RuntimeInfo(TypedDict, total=False):
    """What hooks of ours keep in mmengine's hub."""

    checkpoints: list[str]
    stopped: str
    best_ckpt: str
    best_score: float


class Hub(TypedDict):
    """`plain_hub`'s."""

    runtime_info: RuntimeInfo
    resumed_keys: dict[str, bool]
    log_scalars: dict[str, tuple[Tensor, Tensor]]


class Optimizer(TypedDict):
    """`NamedState.optimizer_state`'s; its tensors are checked by hand."""

    state: dict[str, dict[str, Any]]
    groups: list[dict[str, float]]


class Tower(TypedDict):
    """`TowerSource`'s."""

    checkpoint: str
    sha256: str
    settings: NotRequired[dict[str, Any]]


class Release(TypedDict, total=False):
    """What convert_release.py keeps of a released file."""

    dataset: str
    unused: dict[str, Any]


class Saved(TypedDict):
    """When a second file was saved."""

    iter: Count
    saved: float


class Second(TypedDict):
    """An `_optim.pth`."""

    optimizer: Optimizer
    meta: Saved
    param_schedulers: list[dict[str, Any]]
    message_hub: Hub


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
        unfinished.unlink(missing_ok=True)  # a link is not followed
        with open(unfinished, 'xb') as file:
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
        raise UserError(
            f'checkpoint {path} cannot be written ({_reason(error)}): free space or '
            'choose another --work-dir; the older checkpoints are whole, --resume goes '
            'on from the newest'
        ) from error


def _reason(error: BaseException) -> str:
    """What the system said; torch's own error hides it while its writer is closed."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, OSError):
        at = at.__cause__ or at.__context__
    return str(error).splitlines()[0] if at is None else str(at.strerror or at)


def read_checkpoint(path: str | os.PathLike, *, ours: bool = True) -> dict:
    """A checkpoint's weights file, on the CPU, without executing what is in it: whole by its
    checksums, and by the hash in its name where it was published.

    Weights alone, a file of names and tensors, become the `state_dict` of a checkpoint; `module.`,
    which DDP puts before every name, is taken off.

    Args:
        ours: False: of another program, whose `meta` says other things.
    Raises:
        UserError: the file does not exist, is damaged, or is no checkpoint; a weight is NaN or
            infinite.
    """
    content = _read(path)
    if (
        'state_dict' not in content
        and content
        and all(isinstance(value, Tensor) for value in content.values())
    ):
        content = dict(state_dict=content)
    if 'state_dict' not in content:
        other = (
            f': give {str(path).removesuffix(OPTIM)}.pth'
            if str(path).endswith(OPTIM)
            else ': give the *.pth in a work dir'
        )
        raise UserError(f'checkpoint {path} holds no "state_dict"{other}')
    location = f'checkpoint {path}'
    weights = _weights(content['state_dict'], f'{location}: state_dict')
    if weights and all(name.startswith('module.') for name in weights):
        weights = {name.removeprefix('module.'): value for name, value in weights.items()}
    bad = [
        name
        for name, value in weights.items()
        if value.is_floating_point() and not value.float().isfinite().all()
    ]
    if bad:
        raise UserError(
            f'{location}: {len(bad)} of {len(weights)} weights are NaN or infinite '
            f'({_some(bad)}): the training diverged or the file is damaged: take '
            'another one'
        )
    if ours:
        _hold(content.get('towers', {}), dict[str, Tower], f'{location}: towers')
        _hold(content.get('meta', {}), Meta, f'{location}: meta')
        release = _hold(content.get('release', {}), Release, f'{location}: release')
        _weights(release.get('unused', {}), f'{location}: release.unused')
    return dict(content, state_dict=weights)


def read_optim(path: str | os.PathLike, checkpoint: dict) -> dict:
    """The second file of the checkpoint `path`, which was read before.

    Raises:
        UserError: it does not exist, is damaged, or belongs to another checkpoint.
    """
    second = optim_file(path)
    if not second.is_file():
        raise UserError(
            f'checkpoint {path} cannot be resumed: {second.name}, which holds the '
            'optimizer, is not beside it: put it there, or start from the weights '
            'alone with --cfg-options load_from=...'
        )
    optim, location = _read(second), f'checkpoint {second}'
    _hold(optim, Second, location)
    for name, entry in optim['optimizer']['state'].items():
        tensors = {key: value for key, value in entry.items() if isinstance(value, Tensor)}
        _weights(tensors, f'{location}: optimizer.state of {name}')
        rest = {key: value for key, value in entry.items() if key not in tensors}
        _hold(rest, dict[str, float], f'{location}: optimizer.state of {name}')
    for name, pair in optim['message_hub']['log_scalars'].items():
        _weights(dict(enumerate(pair)), f'{location}: message_hub.log_scalars of {name}', names=int)
        if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
            raise UserError(
                f'{location}: message_hub.log_scalars of {name} are no two equal rows: '
                'take another checkpoint'
            )
    meta = checkpoint.get('meta', {})
    if not {'iter', 'epoch_length', 'seed', 'saved'} <= meta.keys():
        raise UserError(
            f'checkpoint {path} does not say where its run stood: not of this version: '
            'start from the weights alone with --cfg-options load_from=...'
        )
    if (optim['meta']['saved'], optim['meta']['iter']) != (meta['saved'], meta['iter']):
        raise UserError(
            f'{path} and {second.name} were not saved together: put the files of one '
            'checkpoint side by side'
        )
    return optim


def _read(path: str | os.PathLike) -> dict:
    location = f'checkpoint {path}'
    if not os.path.lexists(path):
        raise UserError(f'{location} does not exist: give the *.pth in a work dir')
    with open_regular(path, what='the checkpoint') as file:
        named = HASHED.fullmatch(Path(path).name)
        if named and not hashlib.file_digest(file, 'sha256').hexdigest().startswith(named[2]):
            raise UserError(
                f'{location} is not what was published under this name, its SHA-256 does '
                f'not begin with {named[2]}: fetch it again, or rename what was '
                'changed on purpose'
            )
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        content = (
            None if broken else torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        )
    except Exception as error:  # arbitrary bytes: each of the readers' errors is the file's
        if str(error).startswith('Weights only load failed'):
            raise UserError(
                f'{location} cannot be read: it holds more than tensors and numbers, and '
                'loading that would execute code: save its state_dict alone, '
                "torch.save(model.state_dict(), 'weights.pth')"
            ) from error
        reason = (str(error) or type(error).__name__).splitlines()[0].split('. ')[0]
        raise UserError(
            f'{location} cannot be read, it is torn or no checkpoint ({reason}): take another one'
        ) from error
    if broken is not None:
        raise UserError(
            f'{location} is damaged, {broken} in it is not what was written: take another one'
        )
    return content if isinstance(content, dict) else {}


def _weights(value: Any, location: str, *, names: type = str) -> dict[str, Tensor]:
    """`value`, if it is names and plain tensors that the file holds whole."""
    if not isinstance(value, dict):
        raise UserError(
            f'{location} is no dict of names and tensors but of type '
            f'{type(value).__name__}: take another checkpoint'
        )
    for name, tensor in value.items():
        if not isinstance(name, names):
            fault = f'the name {name!r} is no text'
        elif not isinstance(tensor, Tensor):
            fault = f'{name!r} is no tensor but of type {type(tensor).__name__}'
        elif tensor.dtype not in FLOATS + INTEGERS:
            fault = f'{name!r} is of type {str(tensor.dtype).removeprefix("torch.")}'
        elif tensor.layout != torch.strided or tensor.device.type != 'cpu':
            fault = f'{name!r} is no plain tensor'
        elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            fault = f'{name!r} of shape {tuple(tensor.shape)} is larger than what is stored of it'
        else:
            continue
        raise UserError(f'{location}: {fault}: take another checkpoint')
    return value


def _hold(value: Any, kind: type[T], location: str) -> T:
    """`value` as it is, if it is a `kind`."""
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        what, _, place = str(error).partition(' - at `')
        place = place.rstrip('`').lstrip('$.')
        message = what[:1].lower() + what[1:].replace('`', '')
        raise UserError(
            f'{location}{"." * bool(place)}{place}: {message}: take another checkpoint'
        ) from None
    return value


def check_whole(path: str | os.PathLike) -> None:
    """Both files of a checkpoint, to the last byte, by the checksums that torch stores in them.

    Raises:
        UserError: what is wrong with which file.
    """
    read_optim(path, read_checkpoint(path))


def find_newest(folder: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """The checkpoint of `folder` that is farthest, of the run that began last, and can be resumed;
    and a line for each file that was passed over because it cannot."""
    found: list[tuple[tuple[str, float], Path]] = []
    passed: list[str] = []
    for path in sorted(Path(folder).glob('*.pth')):
        if path.name.endswith(OPTIM) or path.name.startswith(('best_', '.')):
            continue
        try:
            meta = read_checkpoint(path).get('meta', {})
        except UserError as error:
            passed.append(str(error))
        else:
            found.append(((meta.get('begun', ''), meta.get('iter', -math.inf)), path))
    for _, path in sorted(found, reverse=True):
        try:
            check_whole(path)
        except UserError as error:
            passed.append(str(error))
        else:
            return path, passed
    return None, passed


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)
