"""What is clearly true of exactly one instance: phrases and relations, with margins.

Positions are those of the centres of the masks' tight boxes, as fractions of the picture's width
and height from its middle (-0.5 to 0.5); relations between two instances are measured in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

HALVES = ('left', 'right', 'top', 'bottom')
CORNERS = ('upper left', 'upper right', 'lower left', 'lower right')
EXTREMES = ('leftmost', 'rightmost', 'topmost', 'bottommost')
SIZES = ('largest', 'smallest')
SIDES = ('left', 'right', 'above', 'below')
_SIGN = {
    'left': (0, -1),
    'right': (0, 1),
    'top': (1, -1),
    'bottom': (1, 1),
    'above': (1, -1),
    'below': (1, 1),
    'upper': (1, -1),
    'lower': (1, 1),
}
_SIGN |= {f'{word}most': _SIGN[word] for word in HALVES}

# Of the picture's width or height, from its middle: what is clearly there, and what might be
# called so. A corner is named by its third of the picture, the middle by its inner fifth.
CLEAR = {'half': 0.12, 'corner': 1 / 6, 'center': 0.1}
LOOSE = {'half': -0.08, 'corner': -0.08, 'center': 0.23}
LEAD = 0.06  # of the same: by how much a leftmost leads
AREA_RATIO = 1.8  # of the largest to the next
NEARER = 1.35  # of the second distance to the smallest one
CONE, WIDE_CONE = 0.6, 1.4  # aside / ahead of what is left of it, of what might be called so
SEEN_SIZE = 0.08  # of the picture's longer side: an instance that no annotator misses


class Thing(NamedTuple):
    """An instance; box (x0, y0, x1, y1) of its mask in pixels, area in pixels."""

    category: str
    box: tuple[float, float, float, float]
    area: int
    doubtful: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the box, in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def length(self) -> float:
        """The box's longer side, in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


class Phrase(NamedTuple):
    """Instances by category and place; `most`: the outermost or largest of these. None is anything."""

    category: str
    most: str | None = None
    place: str | None = None


class Relation(NamedTuple):
    """The instances of `category` that lie where `where` says, seen from the one `anchor`."""

    category: str
    where: str
    anchor: Phrase


class Picture:
    """What phrases and relations are evaluated on; `crowds`: categories nothing is said of."""

    def __init__(
        self,
        things: Sequence[Thing],
        *,
        height: int,
        width: int,
        crowds: frozenset[str] = frozenset(),
    ) -> None:
        self.things = things
        self.shape = width, height  # as (x, y)
        self._slack = LEAD / 2 * min(self.shape)
        self.members: dict[str, list[int]] = {}
        for index, thing in enumerate(things):
            if thing.category not in crowds:
                self.members.setdefault(thing.category, []).append(index)

    def clear(self, meaning: Phrase | Relation) -> int | None:
        """The one instance that `meaning` clearly names, else None."""
        found = self._phrase(meaning) if isinstance(meaning, Phrase) else self._relation(meaning)
        return None if found is None or self.things[found].doubtful else found

    def phrases(self, category: str) -> dict[str, list[Phrase]]:
        """{kind: what might name an instance of `category`}."""
        places = {
            'half': [Phrase(category, place=place) for place in HALVES],
            'corner': [Phrase(category, place=place) for place in CORNERS],
            'center': [Phrase(category, place='center')],
        }
        if len(self.members[category]) == 1:
            return {'category': [Phrase(category)], **places}
        return {
            **places,
            'size': [Phrase(category, most=most) for most in SIZES],
            'extreme': [Phrase(category, most=most) for most in EXTREMES],
            'most in half': [
                Phrase(category, most, place)
                for place in HALVES
                for most in (*SIZES, *EXTREMES)
                if most in SIZES or _SIGN[most][0] != _SIGN[place][0]
            ],
        }

    # ------------------------------------------------------------------ phrases

    def _phrase(self, phrase: Phrase) -> int | None:
        members = self.members.get(phrase.category, [])
        if phrase.most is None and phrase.place is None:
            seen = len(members) == 1 and self._is_large(members[0])
            return members[0] if seen else None
        strict = loose = members
        if phrase.place is not None:
            strict, loose = (
                [i for i in members if self._is_at(i, phrase.place, limits)]
                for limits in (CLEAR, LOOSE)
            )
        if phrase.most is None:
            return _only(strict, loose)
        found = self._most(strict, phrase.most)
        return found if found is not None and found == self._most(loose, phrase.most) else None

    def _most(self, members: list[int], most: str) -> int | None:
        if len(members) < 2:
            return None
        return (self._by_size if most in SIZES else self._extreme)(members, most)

    def _is_large(self, index: int) -> bool:
        return self.things[index].length >= SEEN_SIZE * max(self.shape)

    def _is_at(self, index: int, place: str, limits: dict[str, float]) -> bool:
        offset = [value / side - 0.5 for value, side in zip(self.things[index].centre, self.shape)]
        if place == 'center':
            return max(map(abs, offset)) < limits['center']
        limit = limits['corner' if ' ' in place else 'half']
        return all(_SIGN[word][1] * offset[_SIGN[word][0]] > limit for word in place.split())

    def _extreme(self, members: list[int], place: str) -> int | None:
        """Ahead with its centre, by a clear lead, and with its outer edge."""
        axis, sign = _SIGN[place]
        first, second = sorted(members, key=lambda i: -sign * self.things[i].centre[axis])[:2]
        box = self.things[first].box
        lead = sign * (self.things[first].centre[axis] - self.things[second].centre[axis])
        edges = {i: sign * self.things[i].box[axis + (2 if sign > 0 else 0)] for i in members}
        clear = lead >= max(LEAD * self.shape[axis], (box[axis + 2] - box[axis]) / 2)
        return first if clear and max(edges, key=edges.__getitem__) == first else None

    def _by_size(self, members: list[int], size: str) -> int | None:
        order = sorted(members, key=lambda i: self.things[i].area, reverse=size == 'largest')
        first, second = (self.things[i] for i in order[:2])
        big, little = (first, second) if size == 'largest' else (second, first)
        if big.area < AREA_RATIO * little.area or big.length < 1.15 * little.length:
            return None
        if size == 'smallest' and not (self._is_large(order[0]) and self._is_inside(first)):
            return None
        return order[0]

    def _is_inside(self, thing: Thing) -> bool:
        """Away from the border, where a part of it might be cut off."""
        return min(thing.box) > 2 and all(
            thing.box[axis + 2] < self.shape[axis] - 2 for axis in (0, 1)
        )

    # ------------------------------------------------------------------ relations

    def _relation(self, meaning: Relation) -> int | None:
        anchor = self.clear(meaning.anchor)
        if anchor is None:
            return None
        members = [i for i in self.members.get(meaning.category, []) if i != anchor]
        if meaning.where == 'closest':
            return self._closest(members, anchor)
        return _only(
            [i for i in members if self._is_beside(i, anchor, meaning.where)],
            [i for i in members if self._may_be_beside(i, anchor, meaning.where)],
        )

    def _steps(self, index: int, anchor: int, where: str) -> list[float]:
        """How far `index` lies ahead of `anchor`, for each word of `where`, in pixels."""
        here, there = self.things[anchor].centre, self.things[index].centre
        return [
            sign * (there[axis] - here[axis])
            for axis, sign in (_SIGN[word] for word in where.split())
        ]

    def _is_beside(self, index: int, anchor: int, where: str) -> bool:
        """Clearly there: well inside the direction, and the two boxes apart along it."""
        steps = self._steps(index, anchor, where)
        if min(steps) < LEAD * min(self.shape):
            return False
        for word in where.split():
            axis, sign = _SIGN[word]
            near, far = (anchor, index) if sign > 0 else (index, anchor)
            if self.things[near].box[axis + 2] > self.things[far].box[axis]:
                return False
        if len(steps) == 2:
            return min(steps) > 0.5 * max(steps)
        aside = self._aside(index, anchor, where)
        return aside < CONE * steps[0] and aside < steps[0] - self._slack

    def _may_be_beside(self, index: int, anchor: int, where: str) -> bool:
        steps = self._steps(index, anchor, where)
        if len(steps) == 2:
            return min(steps) > -self._slack
        return self._aside(index, anchor, where) < WIDE_CONE * (steps[0] + self._slack)

    def _aside(self, index: int, anchor: int, where: str) -> float:
        axis = 1 - _SIGN[where][0]
        return abs(self.things[index].centre[axis] - self.things[anchor].centre[axis])

    def _closest(self, members: list[int], anchor: int) -> int | None:
        """Nearest by the centres and by the gaps between the boxes."""
        if len(members) < 2:
            return None
        origin = self.things[anchor]
        far = {i: math.dist(self.things[i].centre, origin.centre) for i in members}
        gap = {i: _gap(self.things[i].box, origin.box) for i in members}
        first, second = sorted(members, key=far.__getitem__)[:2]
        clear = far[second] >= max(NEARER * far[first], far[first] + self._slack) and all(
            gap[i] >= NEARER * gap[first] + 2 for i in members if i != first
        )
        return first if clear else None


def _only(strict: list[int], loose: list[int]) -> int | None:
    return strict[0] if len(strict) == 1 and strict == loose else None


def _gap(first: Sequence[float], second: Sequence[float]) -> float:
    """Pixels between two boxes; 0 where they meet."""
    return math.hypot(
        *(
            max(0.0, first[axis] - second[axis + 2], second[axis] - first[axis + 2])
            for axis in (0, 1)
        )
    )
