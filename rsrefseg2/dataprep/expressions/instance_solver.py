"""Answer a sentence from the annotation alone.

It imports nothing of the generator and has its own grammar and geometry, so that an agreement of
the two says something. What it reads of an instance is what the annotation file says: category,
`bbox` (x, y, width, height) and `area`. Its grammar:

    sentence := noun [place] | noun relation the noun [place]
    noun     := [the | a | an] [left- | right- | top- | bottommost] [largest | ...] NAME
    place    := [located | that is] (on | in | at) the ... [side | corner | half] [of the image]
              | farthest to the left | closest to the top of the image | ...
    relation := [located | that is] SIDE of | above | below | closest to | nearest to
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]

_LINK = r'(?:located |that is )?'
_BORDER = re.compile(
    r'(?:farthest to the (?P<far>left|right)'
    r'|closest to the (?P<near>top|bottom) of the image)$'
)
_PLACE = re.compile(
    rf'{_LINK}(?:on|in|at) the (?P<words>(?:upper|lower|top|bottom|left|right|middle|center)'
    r'(?: left| right)?)(?: side| corner| half)?(?: of the image)?$'
)
_RELATION = re.compile(
    rf'{_LINK}(?:(?:on|to) the (?:(?P<rise>upper|lower|top|bottom) )?(?P<side>left|right)'
    r'(?: side)? of|(?P<vertical>above|below)|(?P<near>closest to|nearest to)) the '
    r'(?!image$|(?:top|bottom) of the image$)'
)


class NotUnderstood(ValueError):
    """The sentence is outside the grammar."""


def solve(
    sentence: str,
    objects: Sequence[Item],
    *,
    height: int,
    width: int,
    names: Mapping[str, Iterable[str]],
) -> set[int]:
    """The indices of the objects that `sentence` names.

    Args:
        objects: each with `category`, `bbox` (x, y, w, h) and `area`, as annotated.
        height, width: the picture's size in pixels.
        names: category -> what sentences call it.
    """
    reader = _Reader(objects, height, width, names)
    text = _plain(sentence)
    relation, anchors = reader.anchors(text)
    if relation is None:
        return reader.phrase(text)
    if len(anchors) != 1:
        return set()  # 'the plane', where there is none or more than one
    noun = reader.noun(text)
    found = reader.related(reader.named(noun) - anchors, relation, next(iter(anchors)))
    return reader.most(found, noun)


def anchors_of(
    sentence: str,
    objects: Sequence[Item],
    *,
    height: int,
    width: int,
    names: Mapping[str, Iterable[str]],
) -> set[int] | None:
    """The indices of the objects beside which a sentence seeks: one, unless the sentence has more
    readings than one or none. None: it has no relation. Arguments as of `solve`."""
    relation, anchors = _Reader(objects, height, width, names).anchors(_plain(sentence))
    return None if relation is None else anchors


def _plain(sentence: str) -> str:
    """Lower case, without an article before it and a full stop behind it."""
    return re.sub(r'^(?:the|an|a) ', '', ' '.join(sentence.lower().split()).rstrip('. '))


class _Reader:
    def __init__(
        self, objects: Sequence[Item], height: int, width: int, names: Mapping[str, Iterable[str]]
    ) -> None:
        self.objects = objects
        self.height, self.width = height, width
        self.owner = {name: category for category, called in names.items() for name in called}
        spoken = '|'.join(re.escape(name) for name in sorted(self.owner, key=len, reverse=True))
        self._noun = re.compile(
            rf'(?:(?P<most>left|right|top|bottom)most )?'
            rf'(?:(?P<bulk>largest|biggest|smallest) )?'
            rf'(?P<name>{spoken})(?= |$)'
        )

    def middle(self, number: int) -> tuple[float, float]:
        x, y, w, h = self.objects[number]['bbox']
        return x + w / 2, y + h / 2

    def noun(self, text: str) -> re.Match:
        noun = self._noun.match(text)
        if noun is None:
            raise NotUnderstood(f'no object is named at the start of {text!r}')
        return noun

    def anchors(self, text: str) -> tuple[re.Match | None, set[int]]:
        """The relation of a sentence, and what its anchor may be."""
        rest = text[self.noun(text).end() :].strip()
        relation = _RELATION.match(rest)
        return relation, set() if relation is None else self.phrase(rest[relation.end() :])

    def named(self, noun: re.Match) -> set[int]:
        return {
            number
            for number, item in enumerate(self.objects)
            if item['category'] == self.owner[noun['name']]
        }

    def phrase(self, text: str) -> set[int]:
        """A noun and its place; a superlative is among those at the place."""
        noun = self.noun(text)
        return self.most(self.place(self.named(noun), text[noun.end() :].strip()), noun)

    def most(self, found: set[int], noun: re.Match) -> set[int]:
        if noun['most']:
            found = self.outermost(found, noun['most'])
        if noun['bulk'] and found:
            choose = min if noun['bulk'] == 'smallest' else max
            extreme = choose(self.objects[number]['area'] for number in found)
            found = {number for number in found if self.objects[number]['area'] == extreme}
        return found

    def outermost(self, found: set[int], border: str) -> set[int]:
        if not found:
            return found
        distance = {
            'left': lambda x, y: x,
            'right': lambda x, y: self.width - x,
            'top': lambda x, y: y,
            'bottom': lambda x, y: self.height - y,
        }[border]
        least = min(distance(*self.middle(number)) for number in found)
        return {number for number in found if distance(*self.middle(number)) == least}

    def place(self, found: set[int], text: str) -> set[int]:
        if not text:
            return found
        border = _BORDER.match(text)
        if border is not None:
            return self.outermost(found, border['far'] or border['near'])
        place = _PLACE.match(text)
        if place is None:
            raise NotUnderstood(f'no place is named in {text!r}')
        for word in place['words'].split():
            found = {number for number in found if self.is_at(word, *self.middle(number))}
        return found

    def is_at(self, word: str, x: float, y: float) -> bool:
        """Halves of the picture; the middle is its middle third both ways."""
        if word in ('middle', 'center'):
            return self.width < 3 * x < 2 * self.width and self.height < 3 * y < 2 * self.height
        if word in ('left', 'right'):
            return (2 * x < self.width) == (word == 'left')
        return (2 * y < self.height) == (word in ('upper', 'top'))

    def related(self, found: set[int], relation: re.Match, anchor: int) -> set[int]:
        """One side: within 45 degrees of it. Two: in that quadrant. Nearest: by the middles."""
        ax, ay = self.middle(anchor)
        steps = {number: (x - ax, y - ay) for number in found for x, y in [self.middle(number)]}
        if relation['near']:
            squares = {number: dx * dx + dy * dy for number, (dx, dy) in steps.items()}
            return {number for number, value in squares.items() if value == min(squares.values())}
        if relation['vertical']:
            sign = -1 if relation['vertical'] == 'above' else 1
            return {number for number, (dx, dy) in steps.items() if abs(dx) < sign * dy}
        across = -1 if relation['side'] == 'left' else 1
        if relation['rise'] is None:
            return {number for number, (dx, dy) in steps.items() if abs(dy) < across * dx}
        down = -1 if relation['rise'] in ('upper', 'top') else 1
        return {number for number, (dx, dy) in steps.items() if across * dx > 0 and down * dy > 0}
