"""A trained model made ready to be given away: stripped and hashed weights, a config that holds on
any machine, a model card; on request plain towers with LoRA merged, and the adapters alone."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ..confidence import Calibration
from ..engine import load_model, read_checkpoint, write_calibration
from ..engine.calibration_files import calibration_of
from ..engine.trained_as import recorded_config
from ..errors import UserError
from ..files import write_text
from ..models import RefSegModel, RSRefSeg2
from ..models.towers.fingerprints import given_keys
from .card_facts import Facts, Scores, Tower, describe_towers, own_modules, public_names
from .export_towers import merge_towers, write_adapters, write_sam, write_siglip
from .model_card import write_card
from .out_folder import check_free, staged
from .portable_config import differing_keys, portable, published_config, write_config
from .published_weights import check_tested, published_checkpoint, write_weights

RESERVED = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\[\](){}`$&;!#%\ud800-\udfff]')  # in a file's name


class Published(NamedTuple):
    """What lies in the folder."""

    folder: Path
    weights: str  # file names
    config: str
    adapters: list[str]
    notes: list[str]  # for whoever publishes


def publish(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    *,
    scores: Scores | None = None,
    merge_lora: bool = False,
    adapters: bool = False,
    half: bool = False,
    names: dict[str, str] | None = None,
) -> Published:
    """Write the folder `out`; it appears when it is whole.

    Args:
        cfg: the config of the run.
        scores: what a test of this checkpoint found; None: the card says that it was not tested.
        merge_lora: write the towers into `out` as plain folders of transformers, LoRA merged.
        adapters: write the adapters into `out`/adapters in PEFT's format.
        half: the checkpoint's weights in float16, half the size; they are read as float32.
        names: a key of `card_facts.FAMILY`'s values -> the hub name of a tower that the config
            names by a folder.
    Raises:
        UserError: the checkpoint does not fit the config; towers to merge were drawn at random or
            have no LoRA; no tower has adapters; a weight is too large for float16; the scores or the
            calibration are of another checkpoint; `out` holds something else. Nothing is written.
    """
    out = Path(os.path.realpath(out))
    check_free(out)
    given = read_given(cfg, checkpoint, names or {}, merge_lora=merge_lora)
    with staged(out) as stage:
        facts = write_files(
            given, stage, scores=scores, merge_lora=merge_lora, adapters=adapters, half=half
        )
        write_text(stage / 'README.md', write_card(facts))
    return Published(out, facts.weights, facts.config, list(facts.adapters), advice(given, facts))


class Given(NamedTuple):
    """A run to publish, read and checked."""

    cfg: Config
    checkpoint: Path
    name: str  # of what is published
    names: dict[str, str | None]  # family -> public name
    source: dict  # the checkpoint
    recorded: dict | None  # the config that the checkpoint was trained with
    model: RefSegModel  # in float32, LoRA not merged
    towers: list[Tower]
    calibration: Calibration | None = None  # that lies beside the checkpoint


def read_given(
    cfg: Config, checkpoint: str | Path, names: dict[str, str], *, merge_lora: bool
) -> Given:
    """The run, before anything is written.

    Raises:
        UserError: see `publish`.
    """
    name = check_name(Path(cfg.filename).stem)
    if merge_lora and cfg.model.get('init') == 'random':
        raise UserError(
            'towers drawn at random (model.init=random) have no files that could be '
            'written anew: drop --merge-lora, the checkpoint holds them whole'
        )
    if merge_lora and 'siglip' not in cfg.model:
        raise UserError(
            f'the towers of {cfg.model.type} are trained whole, without LoRA: drop --merge-lora'
        )
    source = read_checkpoint(checkpoint)
    public = public_names(cfg, names)
    exact = copy.deepcopy(cfg)
    exact.model.pop('frozen_dtype', None)  # what is written is float32
    model = load_model(exact, checkpoint, 'cpu', predicts=False)
    return Given(
        cfg,
        Path(checkpoint),
        name,
        public,
        source,
        recorded_config(source.get('meta', {}).get('cfg', '')),
        model,
        describe_towers(model, public, source.get('towers', {})),
        calibration_of(model, checkpoint),
    )


def write_files(
    given: Given,
    stage: Path,
    *,
    scores: Scores | None,
    merge_lora: bool,
    adapters: bool,
    half: bool,
) -> Facts:
    """All files but the card, into `stage`; with `merge_lora` LoRA of `given.model` is merged.
    Returns what the card says."""
    cfg, name, model, source = given.cfg, given.name, given.model, given.source
    whole = not given_keys(model) - set(source['state_dict'])
    folders = list_adapters(model, given.towers, stage) if adapters else []
    if merge_lora:
        assert isinstance(model, RSRefSeg2)  # by `read_given`
        merge_towers(model)
        write_siglip(model, cfg.model.siglip.checkpoint, stage / 'siglip')
        write_sam(model, cfg.model.sam.checkpoint, stage / 'sam')
    config, file = published_config(cfg, given.names, merged=merge_lora), stage / f'{name}.py'
    write_config(config, file, comment(merge_lora))
    content = published_checkpoint(
        model, source, given.names, merged=file if merge_lora else None, half=half
    )
    if scores and scores.tested:
        check_tested(scores.tested, scores.source, given.checkpoint, source, content)
    weights = write_weights(stage, name, content)
    if given.calibration is not None:
        write_calibration(given.calibration, stage / weights)
    return Facts(
        name=name,
        weights=weights,
        config=file.name,
        meta=source.get('meta', {}),
        scores=scores,
        trained=portable(given.recorded or cfg.to_dict()),
        test=(config.get('test_dataloader') or {}).get('dataset'),
        towers=given.towers,
        merged=merge_lora,
        whole=whole,
        adapters=folders,
        half=half,
        modules=own_modules(config),
        calibration=given.calibration,
    )


def list_adapters(model: RefSegModel, towers: list[Tower], stage: Path) -> list[str]:
    """Writes the adapters of `model`; returns their folders, below `stage`."""
    bases = {tower.family: tower.name if tower.on_hub else None for tower in towers}
    folders = write_adapters(model, stage / 'adapters', bases)
    return [str(folder.relative_to(stage)) for folder in folders]


def check_name(name: str) -> str:
    """The name of a config, after which the published files are named.

    Raises:
        UserError: some file system, shell or page would read it as something else.
    """
    reserved = sorted(set(RESERVED.findall(name)))
    if reserved:
        raise UserError(
            f'the config is named {name!r}: published files have its name, and not '
            f'every system takes {" ".join(map(repr, reserved))} in one: rename the config'
        )
    return name


def advice(given: Given, facts: Facts) -> list[str]:
    """What whoever publishes could still say better."""
    cfg, recorded, scores = given.cfg, given.recorded, facts.scores
    lines = []
    other = [] if recorded is None else differing_keys(cfg.to_dict(), recorded)
    if recorded is None:
        lines.append(
            'the checkpoint does not say what it was trained with: the card describes the '
            'config as it was given'
        )
    elif other:
        lines.append(
            f'the run had another {", ".join(other)} than the config that was given, and the card '
            "says the run's: give the config that the run left in its work dir"
        )
    lines += [
        f'the card names no source of {tower.family}, which the config names by a folder: '
        f'give its hub name with --{tower.family}'
        for tower in facts.towers
        if tower.name is None and not tower.drawn
    ]
    lines += [
        f'the config imports {module}, which is not part of the folder: give {file} away, too'
        for module, file in facts.modules
    ]
    if scores and not scores.tested:
        lines.append(
            f'{scores.source} does not say which checkpoint it is of: a scores.json of '
            'tools/test.py does'
        )
    return lines


def comment(merged: bool) -> str:
    """The head of the config file."""
    return 'The whole config of a published model: README.md beside it says how to use it.' + (
        '\nLoRA is merged into the towers beside this file: for tests and predictions.'
        if merged
        else ''
    )
