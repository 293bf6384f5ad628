"""Say one object of a scene in words, so that every word is needed.

A sentence is built from a `Phrase` (which objects) or a `Relation` (a phrase, where, an anchor).
Both can be evaluated on a scene with a slack: with a positive one only what is clearly meant
remains, with a negative one everything that might be meant. A sentence is used where both give the
target alone, and where changing any one content word gives anything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ...options import LEVELS as LEVELS
from .objects import CATEGORIES, COLOURS, SIZES
from .scene import Thing

HALVES = ('left', 'right', 'top', 'bottom', 'center')
CORNERS = ('upper left', 'upper right', 'lower left', 'lower right')
EXTREMES = ('leftmost', 'rightmost', 'topmost', 'bottommost')
DIRECTIONS = ('left', 'right', 'above', 'below')
SLACK = 0.04  # of the image's side: what counts as clearly on one side of a border
_SIGN = {
    'left': (0, -1),
    'right': (0, 1),
    'top': (1, -1),
    'bottom': (1, 1),
    'upper': (1, -1),
    'lower': (1, 1),
    'above': (1, -1),
    'below': (1, 1),
    'leftmost': (0, -1),
    'rightmost': (0, 1),
    'topmost': (1, -1),
    'bottommost': (1, 1),
}


class Phrase(NamedTuple):
    """Objects by category, colour, size class and place in the image; None is anything."""

    category: str
    colour: str | None = None
    size: str | None = None
    place: str | None = None

    def other_names(self) -> Iterator[Phrase]:
        """Every phrase with another category, colour or size."""
        for field, words in (('category', CATEGORIES), ('colour', COLOURS), ('size', SIZES)):
            own = getattr(self, field)
            if own is not None:
                yield from (self._replace(**{field: word}) for word in words if word != own)

    def other_places(self) -> Iterator[Phrase]:
        """Every phrase with another place of the same family."""
        for family in (HALVES, CORNERS, EXTREMES):
            if self.place in family:
                yield from (self._replace(place=place) for place in family if place != self.place)


class Relation(NamedTuple):
    """The objects of `target` that lie where `relation` says, seen from the one `anchor`."""

    target: Phrase
    relation: str
    anchor: Phrase


class Ground:
    """What sentences are evaluated on: the things of a scene and its size."""

    def __init__(self, things: list[Thing], *, size: int) -> None:
        self.things = things
        self.size = size
        self._of_category: dict[str, list[int]] = {name: [] for name in CATEGORIES}
        for index, thing in enumerate(things):
            self._of_category[thing.category].append(index)
        self._known: dict[tuple[Phrase | Relation, float], tuple[int, ...]] = {}

    def count(self, category: str) -> int:
        """How many objects of the category the scene has."""
        return len(self._of_category[category])

    def evaluate(self, meaning: Phrase | Relation, slack: float = 0.0) -> tuple[int, ...]:
        """The indices that `meaning` names; slack in pixels."""
        key = (meaning, slack)
        if key not in self._known:
            found = (
                self._phrase(meaning, slack)
                if isinstance(meaning, Phrase)
                else self._relation(meaning, slack)
            )
            self._known[key] = tuple(found)
        return self._known[key]

    def clear(self, meaning: Phrase | Relation) -> int | None:
        """The one object that `meaning` clearly names, else None."""
        slack = SLACK * self.size
        strict = self.evaluate(meaning, slack)
        if len(strict) == 1 and strict == self.evaluate(meaning, -slack):
            return strict[0]
        return None

    def needs_every_word(self, meaning: Phrase | Relation, target: int) -> bool:
        """Whether changing any one content word names something else than `target` alone."""
        return all(self.evaluate(other) != (target,) for other in _rivals(meaning))

    def _phrase(self, phrase: Phrase, slack: float) -> list[int]:
        named = [
            index
            for index in self._of_category[phrase.category]
            if phrase.colour in (None, self.things[index].colour)
            and phrase.size in (None, self.things[index].size)
        ]
        if phrase.place is None or not named:
            return named
        if phrase.place in EXTREMES:
            axis, sign = _SIGN[phrase.place]
            values = [sign * self.things[index].centre[axis] for index in named]
            limit = max(values) - abs(slack)
            return _alone_if_strict([i for i, v in zip(named, values) if v >= limit], slack)
        return [index for index in named if self._is_at(index, phrase.place, slack)]

    def _is_at(self, index: int, place: str, slack: float) -> bool:
        offset = [value - self.size / 2 for value in self.things[index].centre]
        if place == 'center':
            return max(map(abs, offset)) < self.size / 6 - slack
        return all(_SIGN[word][1] * offset[_SIGN[word][0]] > slack for word in place.split())

    def _relation(self, meaning: Relation, slack: float) -> list[int]:
        anchors = self.evaluate(meaning.anchor)
        # The anchor has to be clear as well, or the sentence would have two readings.
        if len(anchors) != 1 or (slack and self.clear(meaning.anchor) is None):
            return []
        named = [index for index in self.evaluate(meaning.target) if index != anchors[0]]
        if not named:
            return []
        origin = self.things[anchors[0]].centre
        offsets = [
            (self.things[index].centre[0] - origin[0], self.things[index].centre[1] - origin[1])
            for index in named
        ]
        if meaning.relation == 'closest':
            distances = [math.hypot(*offset) for offset in offsets]
            limit = min(distances) * (1.2 if slack else 1) + abs(slack)
            return _alone_if_strict([i for i, d in zip(named, distances) if d <= limit], slack)
        # More to that side than to another one: within 45 degrees, with a margin that grows with
        # the distance.
        axis, sign = _SIGN[meaning.relation]
        found = []
        for index, offset in zip(named, offsets):
            ahead, aside = sign * offset[axis], abs(offset[1 - axis])
            if ahead - aside > slack * (1 + (abs(ahead) + aside) / self.size):
                found.append(index)
        return found


def _rivals(meaning: Phrase | Relation) -> Iterator[Phrase | Relation]:
    """The meanings that differ in one content word and might still name the same object. Another
    category, colour or size of the target itself is none of them: an object has one of each."""
    if isinstance(meaning, Phrase):
        yield from meaning.other_places()
        return
    yield from (meaning._replace(anchor=anchor) for anchor in meaning.anchor.other_places())
    yield from (
        meaning._replace(relation=relation)
        for relation in (*DIRECTIONS, 'closest')
        if relation != meaning.relation
    )
    yield from (meaning._replace(anchor=anchor) for anchor in meaning.anchor.other_names())


def _alone_if_strict(near: list[int], slack: float) -> list[int]:
    """A superlative with a positive slack holds only where nothing else comes near."""
    return near if slack <= 0 or len(near) == 1 else []


def attribute_meanings(ground: Ground) -> dict[str, list[Phrase]]:
    """Level (a). Colour and size are said where the category alone would not do, and where others
    share the colour, so that neither word alone finds the target."""
    kinds: dict[str, list[Phrase]] = {'category': [], 'colour': [], 'size': [], 'size+colour': []}
    for thing in ground.things:
        name, colour, size = thing.category, thing.colour, thing.size
        if ground.count(name) == 1:
            kinds['category'].append(Phrase(name))
            continue
        shared = any(o.colour == colour and o.category != name for o in ground.things)
        by_colour = ground.evaluate(Phrase(name, colour)) if colour and shared else ()
        by_size = ground.evaluate(Phrase(name, size=size))
        if len(by_colour) == 1:
            kinds['colour'].append(Phrase(name, colour))
        if len(by_size) == 1:
            kinds['size'].append(Phrase(name, size=size))
        if len(by_colour) > 1 and len(by_size) > 1:
            kinds['size+colour'].append(Phrase(name, colour, size))
    return kinds


def position_meanings(ground: Ground, min_same: int) -> dict[str, list[Phrase]]:
    """Level (b), for the categories that occur at least `min_same` times."""
    names = sorted({t.category for t in ground.things if ground.count(t.category) >= min_same})
    return {
        kind: [Phrase(name, place=place) for name in names for place in places]
        for kind, places in (('half', HALVES), ('corner', CORNERS), ('extreme', EXTREMES))
    }


def relation_meanings(ground: Ground, min_same: int) -> dict[str, list[Relation]]:
    """Level (c), by the anchor: plain, coloured, or nested (found by its place). 'closest' is a
    kind of its own: it fits nearly any anchor, and would otherwise be most of the sentences."""
    anchors: dict[str, set[Phrase]] = {'plain': set(), 'coloured': set(), 'nested': set()}
    for thing in ground.things:
        if ground.count(thing.category) == 1:
            anchors['plain'].add(Phrase(thing.category))
            continue
        if thing.colour:
            anchors['coloured'].add(Phrase(thing.category, thing.colour))
        for place in (*HALVES, *CORNERS, *EXTREMES):
            anchors['nested'].add(Phrase(thing.category, place=place))
    names = sorted({t.category for t in ground.things if ground.count(t.category) >= min_same})
    kinds: dict[str, list[Relation]] = {kind: [] for kind in (*anchors, 'closest')}
    for kind, phrases in anchors.items():
        for anchor in sorted(phrases, key=repr):
            if ground.clear(anchor) is None:
                continue
            for name in names:
                if name != anchor.category:
                    kinds[kind] += [Relation(Phrase(name), where, anchor) for where in DIRECTIONS]
                    kinds['closest'].append(Relation(Phrase(name), 'closest', anchor))
    return kinds
