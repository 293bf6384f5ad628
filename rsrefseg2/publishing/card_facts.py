"""What a model card says, gathered from a config, a checkpoint and the scores of a test."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..confidence import Calibration
from ..errors import UserError
from ..evaluation import Interval, Protocol, dumped_samples, find_protocol, score, score_intervals
from ..markup import code, link
from ..models import RefSegModel
from ..models.towers.catalogue import licence_of
from ..models.towers.fingerprints import tower_sources
from ..models.towers.hub import is_hub_name
from .export_towers import public_name
from .scores_files import Tested, percentages, read_scores_file

# A tower's name in the model -> its family.
FAMILY = {
    'encoder.vision_model': 'siglip',
    'encoder.text_model': 'siglip',
    'mask_generator.sam': 'sam',
    'swin.swin': 'swin',
    'bert.bert': 'bert',
}
FAMILIES = tuple(dict.fromkeys(FAMILY.values()))  # also keys of a config's `model`
UNKNOWN = 'not known'


class Scores(NamedTuple):
    """What a test found, in percent."""

    values: dict[str, float]
    intervals: dict[str, Interval]  # 95 %, over images; {}: not computed
    protocol: Protocol
    samples: int | None
    source: str
    tested: Tested | None = None  # the checkpoint that they are of, where the file says it


class Tower(NamedTuple):
    """One of the pretrained models."""

    family: str  # of FAMILIES
    name: str | None  # hub name, or the place in this package; None: a folder of one's own
    drawn: bool  # at random, from a config
    sha256: str | None  # of the weights it was trained on (`towers.fingerprints.content_hash`)
    licence: str | None

    @property
    def on_hub(self) -> bool:
        """Whether its name is one of the hub."""
        return self.name is not None and is_hub_name(self.name)

    @property
    def described(self) -> str:
        """Where it comes from, for people."""
        if self.name is None:
            return 'drawn at random' if self.drawn else f'a folder of the author ({UNKNOWN} which)'
        return (
            link(self.name, f'https://huggingface.co/{self.name}')
            if self.on_hub
            else f'{code(self.name)}, shipped with the code'
        )


class Facts(NamedTuple):
    """All that a card says, beside the method."""

    name: str
    weights: str  # file names in the folder
    config: str
    trained: dict[str, Any]  # the run's config, its paths moved
    meta: dict[str, Any]  # the checkpoint's own record
    test: Mapping | None  # the data set that the published config tests on
    scores: Scores | None
    towers: Sequence[Tower]
    merged: bool
    whole: bool  # the towers' weights are in the checkpoint
    adapters: Sequence[str]  # folders
    half: bool  # the checkpoint is in float16
    modules: Sequence[tuple[str, str]] = ()  # `own_modules`
    beside: Sequence[str] = ()  # families whose tower lies beside the config as it was given
    calibration: Calibration | None = None  # that lies beside the weights


# ------------------------------------------------------------------ scores


def read_scores(path: str | Path) -> Scores:
    """A scores.json of tools/test.py, or what tools/analysis/score.py --json prints.

    Raises:
        UserError: see `read_scores_file`.
    """
    given = read_scores_file(path)
    intervals = {
        name: Interval(*map(_defined, pair))
        for name, pair in given.get('intervals', {}).items()
        if pair
    }
    return Scores(
        {name: _defined(value) for name, value in percentages(given).items()},
        intervals,
        find_protocol(given['protocol']),
        given.get('samples'),
        Path(path).name,
        given.get('checkpoint'),
    )


def _defined(value: float | None) -> float:
    """A score; NaN for null."""
    return math.nan if value is None else value


def score_dump(path: str | Path, protocol: Protocol) -> Scores:
    """The scores of a dump, with their 95 % intervals from resampled images.

    Raises:
        UserError: see `read_dump`.
    """
    report, images = score(dumped_samples(path), protocol)
    return Scores(
        report.scores(), score_intervals(images), protocol, report.all.samples, Path(path).name
    )


# ------------------------------------------------------------------ towers


def public_names(cfg: Config, given: dict[str, str]) -> dict[str, str | None]:
    """Family -> the public name of the config's tower, or None.

    Raises:
        UserError: a given name is no hub name, or of a tower that has another one already, or that
            the model has not.
    """
    names = {}
    for family in sorted(set(given) - set(cfg.model)):
        raise UserError(f'--{family} {given[family]}: this model has no {family}: drop it')
    for family in (family for family in FAMILIES if family in cfg.model):
        own, asked = public_name(family, cfg.model[family].checkpoint), given.get(family)
        if asked is not None and not is_hub_name(asked):
            raise UserError(f'--{family} {asked!r} is no name of the hub (owner/name)')
        if asked is not None and own not in (None, asked):
            raise UserError(f'--{family} {asked}: the config names {own} itself: drop --{family}')
        names[family] = asked or own
    return names


def describe_towers(
    model: RefSegModel, names: dict[str, str | None], sources: dict[str, dict]
) -> list[Tower]:
    """For the card: where each tower comes from, its hash by the checkpoint, its licence."""
    read = {FAMILY[key] for key in tower_sources(model)}
    hashes = {FAMILY[key]: tower.get('sha256') for key, tower in sources.items() if key in FAMILY}
    return [
        Tower(
            family,
            name if family in read else None,
            family not in read,
            hashes.get(family),
            licence_of(name),
        )
        for family, name in names.items()
    ]


# ------------------------------------------------------------------ modules of one's own


def own_modules(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(module, its file below a folder of PYTHONPATH) of each that the config imports."""
    names = (config.get('custom_imports') or {}).get('imports', [])
    return [(name, _module_file(name)) for name in ([names] if isinstance(names, str) else names)]


def _module_file(name: str) -> str:
    file = Path(getattr(sys.modules.get(name), '__file__', None) or '')
    return name.replace('.', '/') + ('/__init__.py' if file.stem == '__init__' else '.py')
