"""Captions of whole scenes: what is said of all objects of several scenes at once, and which of
their patches that names. What the tiny SigLIP is pretrained on."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from .language import (
    CORNERS,
    DIRECTIONS,
    EXTREMES,
    HALVES,
    SLACK,
    Ground,
    Phrase,
    Relation,
)
from .scene import Thing

Meaning = Phrase | Relation
PLACES = (*HALVES, *CORNERS, *EXTREMES)


class CaptionedScene(NamedTuple):
    """A scene to caption: its objects, and the share of each patch that each covers (n, h1*w1)."""
    ground: Ground
    areas: Tensor


def captioned(record: dict, grid_size: tuple[int, int]) -> CaptionedScene:
    """Of a line of scenes_{split}.jsonl."""
    things = [Thing(**{**thing, 'centre': tuple(thing['centre']), 'bbox': tuple(thing['bbox'])})
              for thing in record['objects']]
    masks = torch.from_numpy(np.stack([coco_mask.decode(thing.rle) for thing in things]))
    areas = F.interpolate(masks[None].float(), grid_size, mode='area')[0].flatten(1)
    return CaptionedScene(Ground(things, size=record['size']), areas)


def draw_meanings(rng: np.random.Generator, ground: Ground, count: int) -> list[Meaning]:
    """`count` things to say of a scene: in turn what an object is, where it lies, and how others
    lie to it. They name one object or several."""
    draw = (_attribute, _place, _relation)
    return [draw[i % 3](rng, ground) for i in range(count)]


def _attribute(rng: np.random.Generator, ground: Ground, often: float = 0.5) -> Phrase:
    thing = ground.things[rng.integers(len(ground.things))]
    return Phrase(thing.category, thing.colour if rng.random() < often else None,
                  thing.size if rng.random() < often else None)


def _place(rng: np.random.Generator, ground: Ground, often: float = 0.2) -> Phrase:
    phrase = _attribute(rng, ground, often)
    true = [place for place in PLACES if ground.evaluate(phrase._replace(place=place))]
    return phrase._replace(place=true[rng.integers(len(true))])


def _relation(rng: np.random.Generator, ground: Ground) -> Meaning:
    """Others beside a clear anchor; the anchor alone where nothing lies beside it."""
    anchor = next((anchor for anchor in (_place(rng, ground) if i % 2 else _attribute(rng, ground)
                                         for i in range(20))
                   if ground.clear(anchor) is not None), None)
    others = sorted({thing.category for thing in ground.things
                     if anchor is None or thing.category != anchor.category})
    if anchor is None or not others:
        return _attribute(rng, ground)
    said = [Relation(Phrase(name), where, anchor) for name in others
            for where in (*DIRECTIONS, 'closest')]
    true = [meaning for meaning in said if ground.evaluate(meaning, SLACK * ground.size)]
    return true[rng.integers(len(true))] if true else anchor


def targets(meanings: Sequence[Sequence[Meaning]], scenes: Sequence[CaptionedScene]
            ) -> tuple[Tensor, Tensor]:
    """What the meanings of all scenes, P in all, name in each of the U scenes.

    Returns:
        (P, U, N) each: the share of each patch that is named; and how far that is known: not where
        an object is named or not by a hair (SLACK), and not for a relation in another scene, where
        its anchor may be unclear.
    """
    said = [(meaning, own) for own, some in enumerate(meanings) for meaning in some]
    share = torch.zeros(len(said), len(scenes), scenes[0].areas.shape[1])
    known = torch.ones_like(share)
    for p, (meaning, own) in enumerate(said):
        for u, scene in enumerate(scenes):
            if isinstance(meaning, Relation) and u != own:
                known[p, u] = 0
                continue
            slack = SLACK * scene.ground.size
            clear = scene.ground.evaluate(meaning, slack)
            near = [i for i in scene.ground.evaluate(meaning, -slack) if i not in clear]
            if clear:
                share[p, u] = scene.areas[list(clear)].sum(0).clamp(max=1)
            if near:
                known[p, u] = 1 - scene.areas[near].sum(0).clamp(max=1)
    return share, known
