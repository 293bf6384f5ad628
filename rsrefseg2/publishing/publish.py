"""A trained model made ready to be given away: stripped and hashed weights, a config that holds on
any machine, a model card; on request plain towers with LoRA merged, and the adapters alone."""

from __future__ import annotations

import copy
import filecmp
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from safetensors import SafetensorError
from torch import Tensor

from ..engine import load_config, load_model, read_checkpoint
from ..engine.checkpoint import trained_keys
from ..engine.trained_as import recorded_config
from ..errors import UserError, make_folder, os_errors_told
from ..files import write_text
from ..models import RSRefSeg2
from ..models.towers.catalogue import licence_of
from ..models.towers.fingerprints import given_keys, tower_sources
from ..models.towers.hub import is_hub_name
from ..registry import MODELS
from .export_towers import merge_towers, public_name, write_adapters, write_sam, write_siglip
from .model_card import Facts, Scores, Tower, write_card
from .official_checkpoint import write_checkpoint
from .portable_config import differing_keys, portable, published_config, write_config
from .scores_files import weights_hash

# A tower's name in the model -> its family.
FAMILY = {
    'encoder.vision_model': 'siglip',
    'encoder.text_model': 'siglip',
    'mask_generator.sam': 'sam',
}
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
            'written anew: leave --merge-lora away, the checkpoint holds them whole'
        )
    source = read_checkpoint(checkpoint)
    meta = source.get('meta', {})
    names = public_names(cfg, names or {})
    exact = copy.deepcopy(cfg)
    exact.model.pop('frozen_dtype', None)  # what is written is float32
    model = load_model(exact, checkpoint, 'cpu')
    held = set(source['state_dict'])
    whole = not given_keys(model) - held
    sources = source.get('towers', {})
    towers = describe_towers(model, names, sources)

    recorded = recorded_config(meta.get('cfg', ''))
    with os_errors_told(f'writing to {out.parent}'):
        stage = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        folders = [
            str(folder.relative_to(stage))
            for folder in (
                write_adapters(
                    model,
                    stage / 'adapters',
                    {tower.family: tower.name if tower.on_hub else None for tower in towers},
                )
                if adapters
                else ()
            )
        ]
        if merge_lora:
            merge_towers(model)
            write_siglip(model, cfg.model.siglip.checkpoint, stage / 'siglip')
            write_sam(model, cfg.model.sam.checkpoint, stage / 'sam')
        config = published_config(cfg, names, merged=merge_lora)
        write_config(config, stage / f'{name}.py', comment(merge_lora))
        state = model.state_dict()
        if merge_lora:
            held, sources = check_merged(stage / f'{name}.py', state)
        else:
            sources = {
                key: dict(tower, checkpoint=names[FAMILY[key]] or FAMILY[key])
                for key, tower in sources.items()
                if key in FAMILY
            }
        given = {key: rounded(state[key], half) for key in sorted(held)}
        if scores and scores.tested:
            check_tested(scores, checkpoint, source, dict(state_dict=given))
        weights = write_weights(
            stage,
            name,
            state_dict=given,
            towers=sources,
            meta={
                key: meta[key]
                for key in (*META, *(() if merge_lora else ('function',)))
                if key in meta
            },
        )
        card = write_card(
            Facts(
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
            )
        )
        write_text(stage / 'README.md', card)
        put_in_place(stage, out)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f'{out} cannot be written ({error}): free space, or choose another folder'
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    notes = advice(cfg, recorded, towers)
    if scores and not scores.tested:
        notes.append(
            f'{scores.source} does not say which checkpoint it is of: a scores.json of '
            'tools/test.py does'
        )
    return Published(out, weights, f'{name}.py', folders, notes)


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
        raise UserError(
            'a weight is larger than 65504, the most that float16 holds: leave --half away'
        )
    return tensor.half()


def advice(cfg: Config, recorded: dict | None, towers: list[Tower]) -> list[str]:
    """What whoever publishes could still say better."""
    lines = [
        f'the card names no source of {tower.family}, which the config names by a folder: '
        f'give its hub name with --{tower.family}'
        for tower in towers
        if tower.name is None and not tower.drawn
    ]
    if recorded is None:
        return [
            'the checkpoint does not say what it was trained with: the card describes the '
            'config as it was given',
            *lines,
        ]
    other = differing_keys(cfg.to_dict(), recorded)
    return (
        [
            f'the run had another {", ".join(other)} than the config that was given, and the card '
            "says the run's: give the config that the run left in its work dir"
        ]
        if other
        else []
    ) + lines


def public_names(cfg: Config, given: dict[str, str]) -> dict[str, str | None]:
    """Family -> the public name of the config's tower, or None.

    Raises:
        UserError: a given name is no hub name, or of a tower that has another one already.
    """
    names = {}
    for family in ('siglip', 'sam'):
        own, told = public_name(family, cfg.model[family].checkpoint), given.get(family)
        if told is not None and not is_hub_name(told):
            raise UserError(f'--{family} {told!r} is no name of the hub (owner/name)')
        if told is not None and own not in (None, told):
            raise UserError(f'--{family} {told}: the config names {own} itself, leave it away')
        names[family] = told or own
    return names


def describe_towers(
    model: RSRefSeg2, names: dict[str, str | None], sources: dict[str, dict]
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


def write_weights(folder: Path, name: str, **checkpoint: dict) -> str:
    """<name>-<first 8 hex digits of the file's SHA-256>.pth; returns the file's name."""
    unnamed = folder / f'{name}.pth'
    write_checkpoint(checkpoint, unnamed)
    with open(unnamed, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    named = f'{name}-{digest[:8]}.pth'
    os.replace(unnamed, folder / named)
    return named


# ------------------------------------------------------------------ the folder


def check_free(out: Path) -> None:
    """Asked before any work.

    Raises:
        UserError: `out` is a file, or holds something that is no publication.
    """
    make_folder(out.parent)
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file: give a folder that is new or empty')
    if (
        out.is_dir()
        and any(out.iterdir())
        and not ((out / 'README.md').is_file() and list(out.glob('*-????????.pth')))
    ):
        raise UserError(f'{out} is not empty: give a folder that is new or empty')


def put_in_place(stage: Path, out: Path) -> None:
    """`stage` becomes `out`, unless `out` holds the very same already.

    Raises:
        UserError: `out` holds another publication.
    """
    if out.is_dir() and any(out.iterdir()):
        if not same_files(stage, out):
            held = ', '.join(sorted(path.name for path in out.glob('*.pth')))
            raise UserError(
                f'{out} holds another publication ({held}): choose another --out, or '
                'remove that one'
            )
        return
    for file in stage.rglob('*'):
        if file.is_file():  # safetensors writes for its owner alone
            shutil.copymode(stage / 'README.md', file)
    mask = os.umask(0)
    os.umask(mask)
    stage.chmod(0o777 & ~mask)  # mkdtemp's own is for one user alone
    os.replace(stage, out)


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte for byte."""
    files = [
        {path.relative_to(folder): path for path in folder.rglob('*') if path.is_file()}
        for folder in (one, other)
    ]
    return files[0].keys() == files[1].keys() and all(
        filecmp.cmp(files[0][name], files[1][name], shallow=False) for name in files[0]
    )
