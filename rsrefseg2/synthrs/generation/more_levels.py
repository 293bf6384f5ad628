"""Meanings of two further levels: several objects, and none.

`several`: all objects of a phrase, two or more, or one object and another. `none`: nothing fulfils
the sentence, clearly: even with a slack against it, nothing comes near.
"""

from __future__ import annotations

from typing import NamedTuple

from ...options import MORE_LEVELS as MORE_LEVELS
from .language import (
    CORNERS,
    DIRECTIONS,
    HALVES,
    SLACK,
    Ground,
    Phrase,
    Relation,
    attribute_meanings,
)
from .objects import CATEGORIES, COLOURS, SIZES


class Pair(NamedTuple):
    """One object and another, each by a phrase of its own."""

    first: Phrase
    second: Phrase


# Kind -> what it may say, each with the objects that it names.
Kinds = dict[str, list[tuple[Phrase | Relation | Pair, tuple[int, ...]]]]


def clear_group(ground: Ground, meaning: Phrase | Pair) -> tuple[int, ...] | None:
    """The two or more objects that `meaning` clearly names, rising, else None."""
    if isinstance(meaning, Pair):
        ends = {ground.clear(meaning.first), ground.clear(meaning.second)} - {None}
        return tuple(sorted(end for end in ends if end is not None)) if len(ends) == 2 else None
    slack = SLACK * ground.size
    strict = ground.evaluate(meaning, slack)
    if len(strict) < 2 or strict != ground.evaluate(meaning, -slack):
        return None
    return tuple(sorted(strict))


def clearly_empty(ground: Ground, meaning: Phrase | Relation) -> bool:
    """Whether nothing comes near what `meaning` says; the anchor of a relation is clear."""
    if isinstance(meaning, Relation) and ground.clear(meaning.anchor) is None:
        return False
    return not ground.evaluate(meaning, -SLACK * ground.size)


def several_meanings(ground: Ground) -> Kinds:
    """Level several; each is clear, and names other objects with any one word changed or left out."""
    counts = {name: ground.count(name) for name in CATEGORIES}
    names = [name for name, count in counts.items() if count > 1]
    ones = [phrase for kind in attribute_meanings(ground).values() for phrase in kind]
    kinds: dict[str, list[Phrase | Pair]] = {
        'category': [Phrase(name) for name in names],
        'colour': [
            Phrase(name, colour)
            for name in names
            if CATEGORIES[name].coloured
            for colour in COLOURS
            if any(o.colour == colour and o.category != name for o in ground.things)
        ],
        'size': [Phrase(name, size=size) for name in names for size in SIZES],
        'place': [Phrase(name, place=place) for name in names for place in (*HALVES, *CORNERS)],
        'pair': [Pair(first, second) for first in ones for second in ones if first != second],
    }
    return {
        kind: [(meaning, group) for meaning in found if (group := _group(ground, meaning))]
        for kind, found in kinds.items()
    }


def _group(ground: Ground, meaning: Phrase | Pair) -> tuple[int, ...] | None:
    """What `meaning` clearly names; None where its attribute or place could be left out or its place
    be another. Another colour or size names other objects in any case."""
    group = clear_group(ground, meaning)
    if isinstance(meaning, Pair) or meaning == Phrase(meaning.category):
        return group
    others = (Phrase(meaning.category), *meaning.other_places())
    return None if group in {tuple(sorted(ground.evaluate(o))) for o in others} else group


def none_meanings(ground: Ground) -> Kinds:
    """Level none: the category is not there (easy); or it is, and no object of it has the colour or
    size, lies at the place, or lies so from the anchor (hard). A colour is that of other objects."""
    there = [name for name in CATEGORIES if ground.count(name)]
    colours = sorted({thing.colour for thing in ground.things if thing.colour})
    attributes: list[Phrase | Relation] = [
        *(Phrase(name, c) for name in there if CATEGORIES[name].coloured for c in colours),
        *(Phrase(name, size=size) for name in there for size in SIZES),
    ]
    ones = [phrase for kind in attribute_meanings(ground).values() for phrase in kind]
    kinds: dict[str, list[Phrase | Relation]] = {
        'category': [Phrase(name) for name in CATEGORIES if name not in there],
        'attribute': attributes,
        'place': [Phrase(name, place=place) for name in there for place in (*HALVES, *CORNERS)],
        'relation': [
            Relation(Phrase(name), where, anchor)
            for anchor in ones
            for name in there
            if name != anchor.category
            for where in DIRECTIONS
        ],
    }
    return {
        kind: [(meaning, ()) for meaning in found if clearly_empty(ground, meaning)]
        for kind, found in kinds.items()
    }
