"""Generate a split: scenes with sentences of every level, each from its own seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...datasets.checks import SPLITS
from ...options import RELATIONS
from .language import (
    LEVELS,
    Ground,
    Phrase,
    Relation,
    attribute_meanings,
    position_meanings,
    relation_meanings,
)
from .scene import Scene, draw_scene
from .wording import say

VERSION = 2  # raised where the same arguments give other scenes or sentences

# How often each kind of a level is asked for; where a scene has none, the next one is taken.
KIND_WEIGHTS = {
    'attribute': (0.15, 0.35, 0.25, 0.25),
    'position': (0.35, 0.35, 0.3),
    'relation': RELATIONS,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence, its level and kind, and the index of the one object that it names."""

    text: str
    level: str
    kind: str
    target: int


def _choose(
    rng: np.random.Generator,
    ground: Ground,
    level: str,
    candidates: dict[str, list[Phrase] | list[Relation]],
    count: int,
    weights: tuple[float, ...],
) -> list[Sentence] | None:
    """`count` different sentences of a level, of different targets where possible, or None."""
    kinds, said, used = list(candidates), set(), set()
    sentences: list[Sentence] = []
    while len(sentences) < count:
        order = [
            kinds[index] for index in rng.choice(len(kinds), len(kinds), replace=False, p=weights)
        ]
        pool = [
            (kind, candidates[kind][index])
            for kind in order
            for index in rng.permutation(len(candidates[kind]))
        ]
        spare = None
        for kind, meaning in pool:
            target = None if meaning in said else ground.clear(meaning)
            if target is None or not ground.needs_every_word(meaning, target):
                continue
            spare = spare or (kind, meaning, target)
            if target not in used:
                spare = (kind, meaning, target)
                break
        if spare is None:
            return None
        kind, meaning, target = spare
        said.add(meaning)
        used.add(target)
        sentences.append(Sentence(text=say(meaning, rng), level=level, kind=kind, target=target))
    return sentences


def make_scene(
    *,
    seed: int,
    split: str,
    index: int,
    size: int = 128,
    min_same: int = 4,
    per_level: int = 2,
    relations: tuple[float, ...] = KIND_WEIGHTS['relation'],
    object_scale: float = 1.0,
) -> tuple[Scene, list[Sentence]]:
    """Scene `index` of a split: it depends on nothing but these arguments.

    Scenes are drawn until one has `per_level` sentences of every level. relations: the weights of
    the relation level's kinds. object_scale: see `draw_scene`.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), index]))
    weights = {**KIND_WEIGHTS, 'relation': relations}
    while True:
        scene = draw_scene(rng, size=size, min_same=min_same, object_scale=object_scale)
        ground = Ground(scene.things, size=size)
        meanings: dict[str, dict[str, Any]] = {
            'attribute': attribute_meanings(ground),
            'position': position_meanings(ground, min_same),
            'relation': relation_meanings(ground, min_same),
        }
        chosen = [
            _choose(rng, ground, level, meanings[level], per_level, weights[level])
            for level in LEVELS
        ]
        if all(chosen):
            return scene, [sentence for sentences in chosen for sentence in sentences or ()]
