"""Generate a split: scenes with sentences of every level, each from its own seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
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
from .more_levels import MORE_LEVELS, none_meanings, several_meanings
from .scene import Scene, draw_scene
from .wording import say

VERSION = 2  # raised where the same arguments give other scenes or sentences

# How often each kind of a level is asked for; where a scene has none, the next one is taken.
KIND_WEIGHTS = {
    'attribute': (0.15, 0.35, 0.25, 0.25),
    'position': (0.35, 0.35, 0.3),
    'relation': RELATIONS,
    'several': (0.2, 0.2, 0.15, 0.2, 0.25),  # category, colour, size, place, pair
    'none': (0.25, 0.25, 0.25, 0.25),  # category, attribute, place, relation
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence, its level and kind, and the index of the one object that it names."""

    text: str
    level: str
    kind: str
    target: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupSentence:
    """A sentence of level several or none, and the indices, rising, of all objects that it names."""

    text: str
    level: str
    kind: str
    targets: tuple[int, ...]


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
    scene, _, sentences = next(
        _draw(
            [seed, SPLITS.index(split), index],
            size=size,
            min_same=min_same,
            per_level=per_level,
            relations=relations,
            object_scale=object_scale,
        )
    )
    return scene, sentences


def make_more(
    *, seed: int, split: str, index: int, more: tuple[str, ...], per_level: int = 2, **options: Any
) -> tuple[Scene, list[Sentence | GroupSentence]]:
    """As `make_scene`, and `per_level` sentences of each of the levels `more` behind the others.

    They are drawn from random numbers of their own. The scene and its other sentences are those of
    `make_scene`, unless one of the levels has too few sentences there: then the next scene is taken.

    Args:
        more: of MORE_LEVELS.
        options: those of `make_scene`.
    """
    place = [seed, SPLITS.index(split), index]
    rng = np.random.default_rng(np.random.SeedSequence([*place, 1]))
    options = {'size': 128, 'min_same': 4, 'relations': RELATIONS, 'object_scale': 1.0, **options}
    for scene, ground, sentences in _draw(place, per_level=per_level, **options):
        groups = [
            _choose_groups(rng, ground, level, per_level) for level in MORE_LEVELS if level in more
        ]
        if all(groups):
            return scene, [*sentences, *(s for group in groups for s in group or ())]
    raise AssertionError('_draw never ends')


def _choose_groups(
    rng: np.random.Generator, ground: Ground, level: str, count: int
) -> list[GroupSentence] | None:
    """`count` different sentences of level several or none, or None where there are fewer."""
    kinds = several_meanings(ground) if level == 'several' else none_meanings(ground)
    names, sentences = list(kinds), list[GroupSentence]()
    while len(sentences) < count:
        order = rng.choice(len(names), len(names), replace=False, p=KIND_WEIGHTS[level])
        kind = next((names[place] for place in order if kinds[names[place]]), None)
        if kind is None:
            return None
        meaning, targets = kinds[kind].pop(rng.integers(len(kinds[kind])))
        text = say(meaning, rng, plural=level == 'several')
        sentences.append(GroupSentence(text=text, level=level, kind=kind, targets=targets))
    return sentences


def _draw(
    entropy: list[int],
    *,
    size: int,
    min_same: int,
    per_level: int,
    relations: tuple[float, ...],
    object_scale: float,
) -> Iterator[tuple[Scene, Ground, list[Sentence]]]:
    """Endless scenes with their sentences of LEVELS, from one seed."""
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
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
            sentences = [sentence for found in chosen for sentence in found or ()]
            yield scene, ground, sentences
