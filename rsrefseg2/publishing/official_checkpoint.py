"""The checkpoints of the method's public release, turned into ours and back.

Ours is a whole checkpoint: every weight of the model, towers included, as the release stores them;
`load_checkpoint` lays them over whatever towers the config names. With `thin`, weights that equal
the pretrained towers' own are left to these and to their hash, as in every checkpoint of training.
What our model has no use for stays in the file under `release`, so that the way back is exact.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..engine import load_model, read_checkpoint
from ..engine.checkpoint import check_fits, write_atomically
from ..errors import UserError
from ..models.towers.fingerprints import given_keys, tower_sources
from ..options import BENCHMARKS as RELEASED
from ..profiling.complexity import build_on_meta
from ..registry import MODELS, SCOPE
from .official_layout import UNUSED, Placing, place_model, to_official, to_ours, why_unused


class Skipped:
    """Stands for any object of a file that is neither tensor, number nor text. It does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class Conversion(NamedTuple):
    """What was placed where."""

    placed: dict[str, tuple[str, ...]]  # our key -> the release's
    numbers: dict[str, int]  # our key -> how many numbers it has
    unused: dict[str, str]  # the release's key -> why our model has no use for it
    notes: list[str]

    def lines(self) -> list[str]:
        """For people: placed weights by part, unused ones by reason, notes."""
        keys: Counter[tuple[str, str]] = Counter()
        numbers: Counter[tuple[str, str]] = Counter()
        for ours, names in self.placed.items():
            part = (_head(names[0]), _head(ours))
            keys[part] += len(names)
            numbers[part] += self.numbers[ours]
        theirs = {name for names in self.placed.values() for name in names}
        said = [f'{len(theirs)} keys of the release are {len(self.placed)} of ours:']
        said += [
            f'  {a} -> {b}: {count} key{"s" * (count > 1)}, {numbers[a, b]:,} numbers'
            for (a, b), count in keys.items()
        ]
        said.append(
            f'{len(self.unused)} keys have no use here; they are kept for the way back:'
            if self.unused
            else 'no key of the release is unused'
        )
        for why, count in Counter(self.unused.values()).items():
            first = next(name for name, reason in self.unused.items() if reason == why)
            said.append(f'  {count} ({first}{", ..." * (count > 1)}): {why}')
        return said + self.notes

    def to_dict(self) -> dict:
        """Every key by name."""
        return dict(
            placed={ours: list(names) for ours, names in self.placed.items()},
            unused=self.unused,
            notes=self.notes,
        )


def _head(name: str) -> str:
    """The part that a weight belongs to."""
    deep = {'backbone': 3, 'mask_generator': 3, 'encoder': 2, 'prompter': 2, 'losses': 2}
    parts = name.split('.')
    return '.'.join(parts[: deep.get(parts[0], 1)])


# ------------------------------------------------------------------ the release's -> ours


def from_release(
    path: str, out: str, *, cfg: Config, dataset: str, thin: bool = False
) -> Conversion:
    """Convert the release's checkpoint `path` for the model of `cfg`, one of configs/release.

    Args:
        dataset: what it was trained on, one of RELEASED.
        thin: leave the towers' own weights out of `out`; the towers must be there.
    Raises:
        UserError: it cannot be read; it was trained on another data set; a key has no place, is
            missing or has another shape; with `thin`, a tower's weight is not the tower's own.
    """
    checkpoint, skipped = read_release(path)
    named = named_dataset(checkpoint)
    if named not in (None, dataset):
        raise UserError(
            f'{path} was trained on {named}, as its own "meta" says, not on {dataset}: '
            f'give --dataset {named}'
        )
    state, placing = checkpoint['state_dict'], _place(build_on_meta(cfg.model), cfg)
    unused = {
        name: why
        for name in state
        if name not in placing.shapes and (why := why_unused(name)) is not None
    }
    _check(state, placing, unused, path, cfg)
    ours = to_ours(state, placing)
    towers: dict[str, dict] = {}
    notes = [] if named else ['the file does not say which data set it was trained on']
    if skipped:
        notes.append(f'objects in it were not read, nor their code run: {", ".join(skipped)}')
    if thin:
        ours, towers, note = _without_towers(ours, cfg, path)
        notes.append(note)
    write_checkpoint(
        dict(
            state_dict=ours,
            towers=towers,
            meta=dict(dataset=dataset, torch=str(torch.__version__)),
            release=dict(
                dataset=dataset,
                file=os.path.basename(path),
                unused={name: state[name] for name in unused},
            ),
        ),
        out,
    )
    places = {key: place.names for key, place in placing.places.items()}
    counts = {key: state[names[0]].numel() * len(names) for key, names in places.items()}
    return Conversion(places, counts, unused, notes)


def read_release(path: str) -> tuple[dict, list[str]]:
    """The file, without running code from it, and the classes whose objects were skipped.

    Beside tensors and text mmengine stores log buffers and numpy numbers; whatever a file names
    that is not plain becomes a `Skipped`.

    Raises:
        UserError: it cannot be read; what it holds as weights is not tensors.
    """
    names: list[str] = []
    if os.path.isfile(path):
        try:
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception:  # arbitrary bytes: read_checkpoint says what is wrong
            names = []
    with torch.serialization.safe_globals([(Skipped, name) for name in names]):
        return read_checkpoint(path, ours=False), sorted(names)


def named_dataset(checkpoint: dict) -> str | None:
    """The data set that a file's own `meta` names, if it names one alone."""
    meta = checkpoint.get('meta')
    texts = (
        [meta.get(key) for key in ('dataset', 'experiment_name', 'cfg')]
        if isinstance(meta, dict)
        else []
    )
    text = ' '.join(part for part in texts if isinstance(part, str)).lower().replace('-', '')
    found = [name for name in RELEASED if name in text]
    return found[0] if len(found) == 1 else None


def _place(model: nn.Module, cfg: Config) -> Placing:
    placing = place_model(model.state_dict(), model.prompter.grid_size)
    if placing.homeless:
        raise UserError(
            f'{cfg.filename} is not a model of the release, which has no '
            f'{_some(placing.homeless)}: use one of configs/release'
        )
    return placing


def _check(
    state: dict[str, Tensor], placing: Placing, unused: Iterable[str], path: str, cfg: Config
) -> None:
    """Every key has its place, and every place its key."""
    shapes = placing.shapes
    if not any(name in shapes for name in state):
        hint = (
            ': it is one of this project, give --back'
            if any(name in placing.places for name in state)
            else ''
        )
        raise UserError(f'{path} holds no key of the release ({_some(list(state))}){hint}')
    faults = {
        'without a place': [name for name in state if name not in shapes and name not in unused],
        'missing': [name for name in shapes if name not in state],
        'of another shape': [
            f'{name}: {tuple(state[name].shape)} in the file, {shape} by the config'
            for name, shape in shapes.items()
            if name in state and tuple(state[name].shape) != shape
        ],
    }
    if any(faults.values()):
        listed = '; '.join(
            f'{len(names)} {fault} ({_some(names)})' for fault, names in faults.items() if names
        )
        raise UserError(
            f'{path} is not a checkpoint of {cfg.filename}: keys {listed}: nothing is '
            'written; if it is of another variant, give its config with --config'
        )


def _without_towers(
    state: dict[str, Tensor], cfg: Config, path: str
) -> tuple[dict[str, Tensor], dict, str]:
    """What the pretrained towers do not give, where they came from, and a line on both."""
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = MODELS.build(cfg.model)
    given, own = given_keys(model), model.state_dict()
    other = [
        key
        for key in state
        if key in given and not torch.equal(state[key].float(), own[key].float())
    ]
    if other or not given:
        raise UserError(
            f'{path} cannot be thin: '
            + (
                f"{len(other)} of its {len(given)} frozen weights are not the towers' own "
                f'({_some(other)})'
                if given
                else "the config's towers have no files"
            )
            + ': drop --thin'
        )
    sources = tower_sources(model)
    note = f'{len(given)} weights are left to ' + ', '.join(
        f'{name} ({source.checkpoint}, sha256 {source.sha256[:12]})'
        for name, source in sources.items()
    )
    return (
        {key: value for key, value in state.items() if key not in given},
        {name: source._asdict() for name, source in sources.items()},
        note,
    )


# ------------------------------------------------------------------ ours -> the release's


def to_release(path: str, out: str, *, cfg: Config, dataset: str) -> Conversion:
    """Write our checkpoint `path` of the model of `cfg` in the release's layout.

    A thin checkpoint is completed from its towers.

    Raises:
        UserError: it cannot be read or does not fit the config; it was converted from a checkpoint
            of another data set; the release has no place for a weight.
    """
    checkpoint = read_checkpoint(path)
    kept = {'dataset': dataset, 'unused': {}} | checkpoint.get('release', {})
    if kept['dataset'] != dataset:
        raise UserError(
            f'{path} was trained on {kept["dataset"]}, not on {dataset}: give '
            f'--dataset {kept["dataset"]}'
        )
    model = build_on_meta(cfg.model)
    placing, state = _place(model, cfg), checkpoint['state_dict']
    if checkpoint.get('towers'):
        state = load_model(cfg, path, 'cpu', predicts=False).state_dict()
    check_fits(model, dict(checkpoint, state_dict=state), location=path)
    try:
        official = to_official(state, placing)
    except ValueError as error:
        raise UserError(f'{path}: {error}') from error
    unused = {name: why_unused(name) or 'kept from the release' for name in kept['unused']}
    lacking = [
        f'the release has besides, and this file does not: {why}'
        for _, why in UNUSED[:3]  # no constant
        if why not in unused.values()
    ]
    write_checkpoint(dict(state_dict=official | kept['unused'], meta=dict(dataset=dataset)), out)
    return Conversion(
        {key: place.names for key, place in placing.places.items()},
        {key: state[key].numel() for key in placing.places},
        unused,
        lacking,
    )


def write_checkpoint(checkpoint: dict, out: str) -> None:
    """`write_atomically` outside of a training run.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_atomically(checkpoint, out)
    except UserError as error:  # its advice is for a training run
        raise UserError(
            f'{out} cannot be written ({error.__cause__}): free space, or choose another file'
        ) from error


def _some(names: list[str]) -> str:
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)
