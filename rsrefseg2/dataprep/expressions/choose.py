"""The sentences of one picture: every candidate that is clear, then a varied choice by seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...options import PER_IMAGE, PER_OBJECT
from .relations import CORNERS, SIDES, Phrase, Picture, Relation
from .sentences import say

_WEIGHTS = {'attribute': 0.1, 'position': 0.25, 'relation': 0.65}  # how often a level is tried
_LEVEL = {
    'category': 'attribute',
    'size': 'attribute',
    'side': 'relation',
    'diagonal': 'relation',
    'closest': 'relation',
}  # the others: position
Meanings = dict[str, list[Phrase | Relation]]  # by kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How many sentences, at most."""

    per_object: int = PER_OBJECT
    per_image: int = PER_IMAGE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expression:
    """A sentence, its level and kind, the index of the one instance that it names, and what it
    means."""

    text: str
    level: str
    kind: str
    target: int
    meaning: Phrase | Relation


def meanings_of(picture: Picture) -> dict[int, Meanings]:
    """{instance: {kind: what is clearly true of it alone}}."""
    found: dict[int, Meanings] = {}

    def add(kind: str, meaning: Phrase | Relation) -> None:
        target = picture.clear(meaning)
        if target is not None:
            found.setdefault(target, {}).setdefault(kind, []).append(meaning)

    anchors = []
    for category, members in picture.members.items():
        for kind, phrases in picture.phrases(category).items():
            for phrase in phrases:
                add(kind, phrase)
                # A place that the anchor's category does not need would be left over for the target
                if kind != 'most in half' and (len(members) == 1) == (kind == 'category'):
                    anchors.append(phrase)
    for anchor in anchors:
        if picture.clear(anchor) is None:
            continue
        for category, members in picture.members.items():
            # "the plane left of the rightmost plane" sounds wrong where there are two
            if category == anchor.category and len(members) < 3:
                continue
            for where in (*SIDES, *CORNERS, 'closest'):
                kind = 'diagonal' if ' ' in where else 'side' if where in SIDES else where
                add(kind, Relation(category, where, anchor))
    return found


def expressions_of(
    picture: Picture,
    names: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    *,
    limits: Limits,
    check: Callable[[str, int], bool],
) -> list[Expression]:
    """The picture's sentences: in each round, every instance gets one, of another kind while there
    are any.

    Args:
        names: category -> its names in sentences.
        check: (sentence, instance) -> whether an independent reading finds the instance alone;
            a sentence that fails is left out.
    """
    meanings = meanings_of(picture)
    chosen: list[Expression] = []
    said: set[str] = set()
    used: set[tuple[str, int]] = set()
    for _ in range(limits.per_object):
        for target in rng.permutation(sorted(meanings)).tolist():
            if len(chosen) == limits.per_image:
                return chosen
            kinds = {kind: left for kind, left in meanings[target].items() if left}
            if not kinds:
                continue
            fresh = [kind for kind in kinds if (kind, target) not in used] or list(kinds)
            kind = _draw_kind(rng, fresh)
            used.add((kind, target))
            meaning = kinds[kind].pop(rng.integers(len(kinds[kind])))
            text = say(meaning, names, rng)
            if text not in said and check(text, target):
                said.add(text)
                chosen.append(
                    Expression(
                        text=text, level=_level(kind), kind=kind, target=target, meaning=meaning
                    )
                )
    return chosen


def _level(kind: str) -> str:
    return _LEVEL.get(kind, 'position')


def _draw_kind(rng: np.random.Generator, kinds: list[str]) -> str:
    """A level by its weight, then one of its kinds."""
    levels = sorted({_level(kind) for kind in kinds})
    weights = np.array([_WEIGHTS[level] for level in levels])
    level = levels[rng.choice(len(levels), p=weights / weights.sum())]
    own = [kind for kind in kinds if _level(kind) == level]
    return own[rng.integers(len(own))]
