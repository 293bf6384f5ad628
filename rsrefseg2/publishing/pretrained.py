"""A trained model by name: one of the authors' three, one of the hub, or a published folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import ModelCard, constants

from ..engine import calibration_path, load_config, load_model
from ..engine.checkpoint_files import HASHED
from ..engine.config_variables import fill
from ..engine.trained_as import recorded_config
from ..errors import UserError, suggest
from ..files import read_text
from ..models import RefSegModel
from ..models.towers import hub
from ..registry import PRETRAINED
from .card_facts import FAMILIES
from .released import NAMES, fetch_released

TYPE = re.compile(r'((rsrefseg2|mmdet)\.)?\w+')  # of a registry
CARD = 'README.md'


class Pretrained(NamedTuple):
    """A model's two files, and whose they are."""

    config: str
    checkpoint: str
    source: str  # with the licence, in one line


@PRETRAINED.register_module()
def load_pretrained(name: str | Path, device: str | torch.device | None = 'cpu') -> RefSegModel:
    """The model that `find_pretrained` finds, in eval mode, its weights as they are: for less time
    call `for_prediction`.

    Args:
        device: None: the first GPU if there is one, else the CPU.
    Raises:
        UserError: see `find_pretrained` and `load_model`.
    """
    found = find_pretrained(name)
    return load_model(load_config(found.config), found.checkpoint, device, predicts=False)


def find_pretrained(name: str | Path) -> Pretrained:
    """The config and the checkpoint of a model by its name.

    Args:
        name: rsrefseg2-rrsisd, -refsegrs or -risbench, which are fetched from the authors and
            converted (`fetch_released`); a folder of `publish` or `save_pretrained`; a name of the
            hub (owner/name) that holds such a folder.
    Raises:
        UserError: nothing has that name; what has it is no published model; the hub does not give
            it; its config, from the hub, is no list of plain values (`check_plain`).
    """
    name = str(name)
    if name in NAMES:
        return Pretrained(*fetch_released(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        names = [path.name for path in folder.iterdir()]
        config, weights = find_pair(names, name)
        return _pretrained(folder, config, weights, name)
    if not hub.is_hub_name(name):
        raise UserError(
            f'no model is named {name!r}{suggest(name, NAMES)}: give one of {", ".join(NAMES)}, a '
            'name of the hub (owner/name), or a folder of rsrefseg2 publish'
        )
    return _fetch_published(name)


def _fetch_published(name: str) -> Pretrained:
    """A published folder that somebody has put on the hub."""
    pair: list[str] = []

    def choose(names: Sequence[str]) -> list[str]:
        pair[:] = find_pair(names, name)
        beside = [calibration_path(pair[1]).name, CARD]  # where they are there
        return [*pair, *beside, *(f'{family}/*' for family in FAMILIES)]

    otherwise = (
        f'fetch it with `hf download {name}` on a machine with network and bring its cache here '
        '(HF_HOME moves it, HF_ENDPOINT names another server), or give a folder'
    )
    folder = hub.fetch_files(name, choose, otherwise=otherwise)
    config, weights = pair
    check_plain(folder / config, name)
    return _pretrained(folder, config, weights, f'{constants.ENDPOINT}/{name}')


def _pretrained(folder: Path, config: str, weights: str, where: str) -> Pretrained:
    card = folder / CARD
    licence = (
        ModelCard(read_text(card), ignore_metadata_errors=True).data.to_dict().get('license')
        if card.is_file()
        else None
    )
    return Pretrained(
        str(folder / config),
        str(folder / weights),
        f'{weights} from {where}, licence {licence or "not stated"}',
    )


def find_pair(names: Sequence[str], where: str) -> tuple[str, str]:
    """(NAME.py, NAME-<8 hex digits>.pth) among the names of a published folder's files.

    Raises:
        UserError: there is no such pair, or more than one.
    """
    pairs = [
        (f'{named[1]}.py', name)
        for name in names
        if (named := HASHED.fullmatch(name)) and '/' not in name and f'{named[1]}.py' in names
    ]
    if len(pairs) != 1:
        raise UserError(
            f'{where} holds {len(pairs)} published models (NAME.py and NAME-<8 hex digits>.pth), '
            "expected one: give what rsrefseg2 publish wrote; the authors' own weights are "
            f'{", ".join(NAMES)}'
        )
    return pairs[0]


def check_plain(path: Path, name: str) -> None:
    """A config from the hub is a list of plain values, as `publish` writes it.

    A config is a program otherwise, and may bring others: `_base_` and `custom_imports`, or a
    `type` that is no class of a registry but a function of any module.

    Raises:
        UserError: it is not.
    """
    config = recorded_config(fill(read_text(path, what='the config'), str(path)))
    fault = next(_faults(config), None) if config else 'something else than values'
    if fault is not None:
        raise UserError(
            f'{name}: its config {path.name} is not read, as it has {fault}, which could run a '
            f'program: `hf download {name} --local-dir DIR`, read it, and give DIR if you trust it'
        )


def _faults(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        yield from (key for key in ('_base_', 'custom_imports') if key in part)
        kind = part.get('type')
        if isinstance(kind, str) and not TYPE.fullmatch(kind):
            yield f'type={kind!r}'
    elif not isinstance(part, (list, tuple)):
        return
    for child in part.values() if isinstance(part, Mapping) else part:
        yield from _faults(child)
