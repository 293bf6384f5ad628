"""The checkpoint of a publication: stripped, in float32 or float16, named by its hash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from ..engine import load_config
from ..engine.checkpoint import trained_keys
from ..errors import UserError
from ..models import RefSegModel
from ..models.towers.fingerprints import given_keys, tower_sources
from ..registry import MODELS
from .card_facts import FAMILY
from .official_checkpoint import write_checkpoint
from .scores_files import Tested, weights_hash

# Plain, and of no machine.
META = ('epoch', 'iter', 'epoch_length', 'seed', 'torch', 'dataset', 'tokenizer', 'words')


def published_checkpoint(
    model: RefSegModel,
    source: dict,
    names: dict[str, str | None],
    *,
    merged: Path | None,
    half: bool,
) -> dict[str, dict]:
    """What the published checkpoint holds: `state_dict`, `towers`, `meta`.

    Args:
        source: the given checkpoint.
        names: family -> public name.
        merged: the published config, where LoRA of the model is merged and its towers are written.
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


def rounded(tensor: Tensor, half: bool) -> Tensor:
    """A copy on the CPU; of floating point in float16, if `half`.

    Raises:
        UserError: a weight is too large for float16.
    """
    if not half or not tensor.is_floating_point():
        return tensor.cpu().clone()
    if not tensor.half().isfinite().all():
        raise UserError('a weight is larger than 65504, the most that float16 holds: drop --half')
    return tensor.half().cpu()


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
        key: source._replace(checkpoint=FAMILY[key])._asdict()
        for key, source in tower_sources(built).items()
    }


def check_tested(tested: Tested, source: str, path: str | Path, *published: dict) -> None:
    """The scores are of one of the checkpoints, the given or the written one.

    Raises:
        UserError: they are of another one.
    """
    hashes = [weights_hash(checkpoint) for checkpoint in published]
    if tested['sha256'] not in hashes:
        raise UserError(
            f'{source} holds the scores of other weights '
            f'({tested["file"]}, sha256 {tested["sha256"][:12]}) than '
            f'{path} (sha256 {hashes[0][:12]}): give the scores.json of its own test'
        )


def write_weights(folder: Path, name: str, checkpoint: dict) -> str:
    """<name>-<first 8 hex digits of the file's SHA-256>.pth; returns the file's name."""
    unnamed = folder / f'{name}.pth'
    write_checkpoint(checkpoint, str(unnamed))
    with open(unnamed, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    named = f'{name}-{digest[:8]}.pth'
    os.replace(unnamed, folder / named)
    return named
