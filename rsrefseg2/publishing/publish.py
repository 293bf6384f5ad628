"""A trained model made ready to be given away: stripped and hashed weights, a config that holds on
any machine, a model card; on request plain towers with LoRA merged, and the adapters alone."""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from torch import Tensor

from ..engine import load_config, load_model, read_checkpoint
from ..engine.checkpoint import trained_keys
from ..engine.trained_as import recorded_config
from ..errors import UserError
from ..files import write_text
from ..models import RSRefSeg2
from ..models.towers.fingerprints import given_keys, tower_sources
from ..registry import MODELS
from .card_facts import FAMILY, Facts, Scores, Tower, describe_towers, own_modules, public_names
from .export_towers import merge_towers, write_adapters, write_sam, write_siglip
from .model_card import write_card
from .official_checkpoint import write_checkpoint
from .out_folder import check_free, staged
from .portable_config import differing_keys, portable, published_config, write_config
from .scores_files import weights_hash

ODD = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\[\](){}`$&;!#%\ud800-\udfff]')  # in a file's name
# Plain, and of no machine.
META = ('epoch', 'iter', 'epoch_length', 'seed', 'torch', 'dataset', 'tokenizer')


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
        names: 'siglip', 'sam' -> the hub name of a tower that the config names by a folder.
    Raises:
        UserError: the checkpoint does not fit the config; towers to merge were drawn at random; no
            tower has adapters; a weight is too large for float16; the scores are of another
            checkpoint; `out` holds something else. Nothing is written.
    """
    out = Path(os.path.realpath(out))
    check_free(out)
    name = check_name(Path(cfg.filename).stem)
    if merge_lora and cfg.model.get('init') == 'random':
        raise UserError(
            'towers drawn at random (model.init=random) have no files that could be '
            'written anew: drop --merge-lora, the checkpoint holds them whole'
        )
    source = read_checkpoint(checkpoint)
    meta = source.get('meta', {})
    recorded = recorded_config(meta.get('cfg', ''))
    names = public_names(cfg, names or {})
    exact = copy.deepcopy(cfg)
    exact.model.pop('frozen_dtype', None)  # what is written is float32
    model = load_model(exact, checkpoint, 'cpu')
    whole = not given_keys(model) - set(source['state_dict'])
    towers = describe_towers(model, names, source.get('towers', {}))
    config = published_config(cfg, names, merged=merge_lora)

    with staged(out) as stage:
        folders = list_adapters(model, towers, stage) if adapters else []
        if merge_lora:
            merge_towers(model)
            write_siglip(model, cfg.model.siglip.checkpoint, stage / 'siglip')
            write_sam(model, cfg.model.sam.checkpoint, stage / 'sam')
        write_config(config, stage / f'{name}.py', comment(merge_lora))
        content = published_checkpoint(
            model, source, names, merged=stage / f'{name}.py' if merge_lora else None, half=half
        )
        if scores and scores.tested:
            check_tested(scores, checkpoint, source, content)
        weights = write_weights(stage, name, content)
        facts = Facts(
            name=name,
            weights=weights,
            config=f'{name}.py',
            meta=meta,
            scores=scores,
            trained=portable(recorded or cfg.to_dict()),
            test=(config.get('test_dataloader') or {}).get('dataset'),
            towers=towers,
            merged=merge_lora,
            whole=whole,
            adapters=folders,
            half=half,
            modules=own_modules(config),
        )
        write_text(stage / 'README.md', write_card(facts))
    return Published(
        out, weights, f'{name}.py', folders, advice(cfg, recorded, towers, scores, facts.modules)
    )


def list_adapters(model: RSRefSeg2, towers: list[Tower], stage: Path) -> list[str]:
    """Writes the adapters of `model`; returns their folders, below `stage`."""
    bases = {tower.family: tower.name if tower.on_hub else None for tower in towers}
    folders = write_adapters(model, stage / 'adapters', bases)
    return [str(folder.relative_to(stage)) for folder in folders]


def published_checkpoint(
    model: RSRefSeg2, source: dict, names: dict[str, str | None], *, merged: Path | None, half: bool
) -> dict[str, dict]:
    """What the published checkpoint holds: `state_dict`, `towers`, `meta`.

    Args:
        source: the given checkpoint.
        names: 'siglip', 'sam' -> public name.
        merged: the published config, where LoRA of `model` is merged and its towers are written.
        half: weights in float16.
    Raises:
        UserError: a weight is too large for float16.
    """
    state, meta = model.state_dict(), source.get('meta', {})
    if merged is not None:
        held, towers = check_merged(merged, state)
    else:
        held = set(source['state_dict'])
        towers = {
            key: dict(tower, checkpoint=names[FAMILY[key]] or FAMILY[key])
            for key, tower in source.get('towers', {}).items()
            if key in FAMILY
        }
    kept = META if merged is not None else (*META, 'function')
    return dict(
        state_dict={key: rounded(state[key], half) for key in sorted(held)},
        towers=towers,
        meta={key: meta[key] for key in kept if key in meta},
    )


def check_name(name: str) -> str:
    """The name of a config, after which the published files are named.

    Raises:
        UserError: some file system, shell or page would read it as something else.
    """
    odd = sorted(set(ODD.findall(name)))
    if odd:
        raise UserError(
            f'the config is named {name!r}: published files have its name, and not '
            f'every system takes {" ".join(map(repr, odd))} in one: rename the config'
        )
    return name


def check_tested(scores: Scores, path: str | Path, *published: dict) -> None:
    """The scores are of one of the checkpoints, the given or the written one.

    Raises:
        UserError: they are of another one.
    """
    hashes = [weights_hash(checkpoint) for checkpoint in published]
    if scores.tested['sha256'] not in hashes:
        raise UserError(
            f'{scores.source} holds the scores of other weights '
            f'({scores.tested["file"]}, sha256 {scores.tested["sha256"][:12]}) than '
            f'{path} (sha256 {hashes[0][:12]}): give the scores.json of its own test'
        )


def rounded(tensor: Tensor, half: bool) -> Tensor:
    """A copy; of floating point in float16, if `half`.

    Raises:
        UserError: a weight is too large for float16.
    """
    if not half or not tensor.is_floating_point():
        return tensor.clone()
    if not tensor.half().isfinite().all():
        raise UserError('a weight is larger than 65504, the most that float16 holds: drop --half')
    return tensor.half()


def advice(
    cfg: Config,
    recorded: dict | None,
    towers: list[Tower],
    scores: Scores | None,
    modules: Sequence[tuple[str, str]],
) -> list[str]:
    """What whoever publishes could still say better."""
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
        for tower in towers
        if tower.name is None and not tower.drawn
    ]
    lines += [
        f'the config imports {module}, which is not part of the folder: give {file} away, too'
        for module, file in modules
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


def check_merged(config: Path, state: dict[str, Tensor]) -> tuple[set[str], dict[str, dict]]:
    """The published towers read back: the keys that they do not give, and their hashes.

    Raises:
        RuntimeError: they do not give the weights that were written.
    """
    cfg = load_config(str(config))
    cfg.model.pop('frozen_dtype', None)
    built = MODELS.build(cfg.model)
    own = built.state_dict()
    wrong = [key for key in given_keys(built) if not torch.equal(own[key], state[key])]
    if wrong or own.keys() != state.keys():
        raise RuntimeError(f'the written towers are not the merged ones: {wrong[:3]}')
    return set(trained_keys(built)), {
        key: dict(checkpoint=FAMILY[key], sha256=source.sha256)
        for key, source in tower_sources(built).items()
    }


def write_weights(folder: Path, name: str, checkpoint: dict) -> str:
    """<name>-<first 8 hex digits of the file's SHA-256>.pth; returns the file's name."""
    unnamed = folder / f'{name}.pth'
    write_checkpoint(checkpoint, unnamed)
    with open(unnamed, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    named = f'{name}-{digest[:8]}.pth'
    os.replace(unnamed, folder / named)
    return named
