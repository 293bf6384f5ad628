"""The sentences of one picture: every candidate that is clear, then a varied choice by seed."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .language import CORNERS, SIDES, Phrase, Picture, Relation
from .wording import say

LEVELS = ('attribute', 'position', 'relation')
_WEIGHTS = {'attribute': 0.12, 'position': 0.36, 'relation': 0.52}   # how often a level is tried
_LEVEL = {'category': 'attribute', 'size': 'attribute', 'side': 'relation',
          'diagonal': 'relation', 'closest': 'relation'}             # the others: position
Meanings = dict[str, list[Phrase | Relation]]                        # by kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How many sentences; those of one instance are of different kinds."""
    per_object: int = 3
    per_image: int = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expression:
    """A sentence, its level and kind, and the index of the one instance that it names."""
    text: str
    level: str
    kind: str
    target: int


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
                if (len(members) == 1) == (kind == 'category'):
                    anchors.append(phrase)
    for anchor in anchors:
        if picture.clear(anchor) is None:
            continue
        for category, members in picture.members.items():
            # "the plane left of the rightmost plane" is odd where there are two
            if category == anchor.category and len(members) < 3:
                continue
            for where in (*SIDES, *CORNERS, 'closest'):
                kind = 'diagonal' if ' ' in where else 'side' if where in SIDES else where
                add(kind, Relation(category, where, anchor))
    return found


def expressions_of(picture: Picture, names: Mapping[str, Sequence[str]], rng: np.random.Generator,
                   *, limits: Limits, check: Callable[[str, int], bool]) -> list[Expression]:
    """The picture's sentences: in each round, every instance gets one of a kind of its own.

    Args:
        names: category -> its names in sentences.
        check: (sentence, instance) -> whether an independent reading finds the instance alone;
            a sentence that fails is left out.
    """
    meanings = meanings_of(picture)
    chosen: list[Expression] = []
    said: set[str] = set()
    for _ in range(limits.per_object):
        for target in rng.permutation(sorted(meanings)).tolist():
            if len(chosen) == limits.per_image:
                return chosen
            kinds = meanings[target]
            if not kinds:
                continue
            kind = _draw_kind(rng, list(kinds))
            options = kinds.pop(kind)
            text = say(options[rng.integers(len(options))], names, rng)
            if text not in said and check(text, target):
                said.add(text)
                chosen.append(Expression(text=text, level=_level(kind), kind=kind, target=target))
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
