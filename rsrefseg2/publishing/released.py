"""The authors' three checkpoints by name: fetched from the hub, converted once, kept.

The place is that of the README of github.com/KyanChen/RSRefSeg2, which does not name the files. A
re-test of February 2026 fetched `refsegrs.pth` and `rrsisd.pth`. RISBench's name is not known: the
hub is asked which files there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from mmengine.config import Config
from mmengine.logging import print_log

from ..engine import load_config
from ..errors import UserError, make_folder, os_errors_explained
from ..files import cache_folder
from ..models.towers import hub
from ..models.towers.catalogue import licence_of
from .official_checkpoint import RELEASED, from_release

REPOSITORY = 'KyanChen/RSRefSeg2'
LICENCE = 'Apache-2.0'  # of the authors' repository, which names no other one for the weights
CONFIG = 'configs/release/{}.py'
NAMES = {f'rsrefseg2-{dataset}': dataset for dataset in RELEASED}


def fetch_released(name: str) -> tuple[str, str, str]:
    """(config, checkpoint, source and licence in one line) of one of `NAMES`.

    The checkpoint is converted at the first call, into `cache_folder`. A second process waits for
    it; after an interruption the next call converts.

    Raises:
        UserError: the hub does not give the file, and the cache neither; `from_release` refuses it.
    """
    dataset = NAMES[name]
    config = load_config(CONFIG.format(dataset))
    converted = cache_folder() / 'released' / f'{dataset}.pth'
    if not converted.is_file():
        make_folder(converted.parent)
        lock = FileLock(converted.with_suffix('.lock'))
        with os_errors_explained(f'locking {lock.lock_file}'), lock:
            if not converted.is_file():
                convert(dataset, config, converted)
    return str(config.filename), str(converted), describe_source(name, config)


def convert(dataset: str, config: Config, out: Path) -> None:
    """`from_release`, of the file that `fetch_official` fetches."""
    official = fetch_official(dataset, config)
    print_log(f'converting {official.name} of {REPOSITORY}, once: {out}', 'current')
    from_release(str(official), str(out), cfg=config, dataset=dataset)


def describe_source(name: str, config: Config) -> str:
    """Whose weights these are and under which licence, in one line."""
    towers = ', '.join(
        f'{tower} ({licence_of(tower) or "licence not known"})' for tower in _towers(config)
    )
    return (
        f"{name}: the authors' weights, https://huggingface.co/{REPOSITORY} (licence of their "
        f'code: {LICENCE}), on {towers}'
    )


def fetch_official(dataset: str, config: Config) -> Path:
    """The authors' file, in the hub's cache.

    Raises:
        UserError: see `fetch_released`.
    """
    by_hand = ', '.join(f'`hf download {name}`' for name in (REPOSITORY, *_towers(config)))
    otherwise = (
        f'on a machine with network run {by_hand} and bring its cache here (HF_HOME moves it, '
        f'HF_ENDPOINT names another server), or put their file for {dataset} anywhere and run '
        f'`rsrefseg2 convert-release FILE OUT --dataset {dataset}`, then predict with '
        f'--config {CONFIG.format(dataset)} --checkpoint OUT'
    )
    chosen: list[str] = []

    def choose(names: Sequence[str]) -> list[str]:
        chosen[:] = [choose_file(names, dataset, otherwise)]
        return chosen

    folder = hub.fetch_files(REPOSITORY, choose, otherwise=otherwise)
    return folder / chosen[0]


def choose_file(names: Sequence[str], dataset: str, otherwise: str) -> str:
    """`<dataset>.pth`, or else the only *.pth whose name has the data set's in it.

    Raises:
        UserError: there is none, or several.
    """
    named = [
        name
        for name in names
        if name.endswith('.pth') and dataset in name.lower().replace('-', '').replace('_', '')
    ]
    if f'{dataset}.pth' in named:
        return f'{dataset}.pth'
    if len(named) == 1:
        return named[0]
    held = ', '.join(sorted(named or (name for name in names if name.endswith('.pth')))) or 'none'
    raise UserError(
        f'{REPOSITORY}: which file is of {dataset} cannot be told from its *.pth ({held}): '
        f'{otherwise}'
    )


def _towers(config: Config) -> list[str]:
    return [config.model[family].checkpoint for family in ('siglip', 'sam')]
