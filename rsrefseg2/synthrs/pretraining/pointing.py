"""How well two towers alone point: no prompter, no masks."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from ...datasets import RRSISD, unique_images_collate
from ...datasets.scene_files import SCENES, read_scenes, single_target
from ...rle import decode
from .pointing_task import PointingPretraining

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]
BATCH = 96  # sentences


@torch.no_grad()
def pointing_game(
    task: PointingPretraining, data_root: Path, *, split: str = 'test'
) -> dict[str, float]:
    """Percentage of sentences with one target whose nearest patch, by cosine of v and t_sent, shows more of the
    target than of any other object: by level and by rule ('relation: closest').

    Args:
        data_root: a SynthRS folder with the layout rrsisd, or one of `convert coco --to rrsisd`.
    """
    converted = (data_root / SCENES).is_dir()
    known = {
        sentence['keys']['rrsisd']: (scene, sentence)
        for scene in read_scenes(data_root / SCENES if converted else data_root, split)
        for sentence in scene['sentences']
    }
    layout = data_root if converted else data_root / 'rrsisd'
    dataset = RRSISD(data_root=str(layout), split=split, classes=None, pipeline=PIPELINE)
    side = task.grid_size[1]
    hits = defaultdict(list)
    task.eval()
    for start in range(0, len(dataset), BATCH):
        batch = unique_images_collate(
            dataset.__getitems__(range(start, min(start + BATCH, len(dataset))))
        )
        data = task.preprocess(batch, False)
        cosine = torch.einsum('bnd,bd->bn', *task.features(data['inputs']))
        for sample, patch in zip(data['data_samples'], cosine.argmax(1).tolist(), strict=True):
            scene, sentence = known[sample.sample_id]
            target = single_target(sentence)
            if target is None:
                continue
            hit = _shows_most(scene, patch, side) == target
            hits[sentence['level']].append(hit)
            hits[f'{sentence["level"]}: {sentence["kind"]}'].append(hit)
    return {name: round(100 * float(np.mean(found)), 1) for name, found in sorted(hits.items())}


def _shows_most(scene: dict, patch: int, side: int) -> int | None:
    """The object of which a patch of a side x side grid shows most pixels; None: none, or two
    equally."""
    rows, columns = (
        slice(int(k * length / side), math.ceil((k + 1) * length / side))
        for k, length in zip(divmod(patch, side), scene['objects'][0]['rle']['size'], strict=True)
    )
    pixels = [
        int(decode(thing['rle'], location='an object of a scene')[rows, columns].sum())
        for thing in scene['objects']
    ]
    most = max(pixels)
    return pixels.index(most) if most and pixels.count(most) == 1 else None
