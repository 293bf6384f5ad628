"""Answer a sentence from the written objects alone.

It imports nothing of the generator, and has its own grammar, word lists and geometry, so that an
agreement of the two says something. Its grammar:

    sentence := noun [place | relation noun [place]]
    noun     := [the] [extreme] [size] [colour] NAME [that is colour]
    place    := [located | that is] (on | in | at) [the] ... [side | corner | half] [of the image]
    relation := [located | that is] (SIDE of | above | below | under | closest to | nearest to) the

Level several has plurals, and two nouns with 'and'; a plural names all objects that fit:

    several  := nouns [places] | noun and the noun
    nouns    := [the] [size] [colour] NAMES [that are colour]
    places   := as place, with 'that are' for 'that is'

`x` grows to the right and `y` downwards; an object's place is its written centre.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]

ALIASES = {
    'airplane': 'airplane',
    'plane': 'airplane',
    'baseball field': 'baseball field',
    'baseball diamond': 'baseball field',
    'building': 'building',
    'house': 'building',
    'helipad': 'helipad',
    'roundabout': 'roundabout',
    'traffic circle': 'roundabout',
    'ship': 'ship',
    'boat': 'ship',
    'stadium': 'stadium',
    'storage tank': 'storage tank',
    'tank': 'storage tank',
    'swimming pool': 'swimming pool',
    'pool': 'swimming pool',
    'tennis court': 'tennis court',
    'vehicle': 'vehicle',
    'car': 'vehicle',
    'windmill': 'windmill',
    'wind turbine': 'windmill',
}
PAINTS = 'white|black|red|blue|yellow|purple'
BULK = {'small': 'small', 'large': 'large', 'big': 'large'}

PLURALS = {
    'airplanes': 'airplane',
    'planes': 'airplane',
    'baseball fields': 'baseball field',
    'baseball diamonds': 'baseball field',
    'buildings': 'building',
    'houses': 'building',
    'helipads': 'helipad',
    'roundabouts': 'roundabout',
    'traffic circles': 'roundabout',
    'ships': 'ship',
    'boats': 'ship',
    'stadiums': 'stadium',
    'storage tanks': 'storage tank',
    'tanks': 'storage tank',
    'swimming pools': 'swimming pool',
    'pools': 'swimming pool',
    'tennis courts': 'tennis court',
    'vehicles': 'vehicle',
    'cars': 'vehicle',
    'windmills': 'windmill',
    'wind turbines': 'windmill',
}

_NOUNS = re.compile(
    rf'(?:the )?(?:(?P<bulk>{"|".join(BULK)}) )?(?:(?P<paint>{PAINTS}) )?'
    rf'(?P<name>{"|".join(sorted(PLURALS, key=len, reverse=True))})'
    rf'(?: that are (?P<late_paint>{PAINTS}))?(?= |$)'
)
_NOUN = re.compile(
    rf'(?:the )?(?:(?P<extreme>left|right|top|bottom)most )?(?:(?P<bulk>{"|".join(BULK)}) )?'
    rf'(?:(?P<paint>{PAINTS}) )?(?P<name>{"|".join(sorted(ALIASES, key=len, reverse=True))})'
    rf'(?: that is (?P<late_paint>{PAINTS}))?(?= |$)'
)
_WHERE = re.compile(
    r'(?:located |that is )?(?:(?:on|in|at) )?(?:the )?'
    r'(?P<words>(?:(?:upper|lower|top|bottom|left|right|center|middle) ?)+)'
    r'(?:side|corner|half)? ?(?:of the image)?$'
)
_RELATION = re.compile(
    r'(?:located |that is )?(?:(?:(?:on|to) the )?(?P<side>left|right)(?: side)? of'
    r'|(?P<over>above)|(?P<under>below|under)|(?P<near>closest|nearest) to) (?!the image)the '
)


class NotUnderstood(ValueError):
    """The sentence is outside the grammar."""


def solve(sentence: str, objects: Sequence[Item], size: int) -> set[int]:
    """The indices of the objects that `sentence` names.

    Args:
        objects: as written, each with category, colour, size and centre (x, y).
        size: the picture's side in pixels.
    """
    found, rest = _read_noun(sentence.strip(), objects)
    if not rest:
        return found
    relation = _RELATION.match(rest)
    if relation is None:
        return _filter_by_place(found, rest, objects, size)
    anchors, tail = _read_noun(rest[relation.end() :], objects)
    if tail:
        anchors = _filter_by_place(anchors, tail, objects, size)
    if len(anchors) != 1:
        return set()  # 'the plane', where there is none or more than one
    return _related(found - anchors, relation, objects[anchors.pop()]['centre'], objects)


def solve_several(sentence: str, objects: Sequence[Item], size: int) -> set[int]:
    """The indices of the objects that a sentence of level several names.

    Of two nouns each has to name one object, another than the other; else the answer is empty.

    Raises:
        NotUnderstood: the sentence is outside the grammar of that level.
    """
    nouns = _NOUNS.match(sentence.strip())
    if nouns is None:
        first, rest = _read_noun(sentence.strip(), objects)
        if not rest.startswith('and the '):
            raise NotUnderstood(f"neither several objects nor two are named in '{sentence}'")
        second, rest = _read_noun(rest.removeprefix('and '), objects)
        if rest:
            raise NotUnderstood(f"'{rest}' follows the two nouns of '{sentence}'")
        one_each = len(first) == len(second) == 1 and first != second
        return first | second if one_each else set()
    found = _fitting(nouns, PLURALS, objects)
    rest = sentence.strip()[nouns.end() :].strip()
    if rest.startswith('that is '):
        raise NotUnderstood(f"'that is' follows a plural in '{sentence}'")
    return _filter_by_place(found, rest.removeprefix('that are '), objects, size) if rest else found


def nothing_fulfils(sentence: str, objects: Sequence[Item], size: int) -> bool:
    """Whether the sentence names no object, and not because its anchor is missing or ambiguous.

    Raises:
        NotUnderstood: the sentence is outside the grammar.
    """
    _, rest = _read_noun(sentence.strip(), objects)
    if _RELATION.match(rest) and anchor_of(sentence, objects, size) is None:
        return False
    return not solve(sentence, objects, size)


def anchor_of(sentence: str, objects: Sequence[Item], size: int) -> int | None:
    """The index of the object beside which the sentence seeks; None where it names none, or not one.

    Raises:
        NotUnderstood: the sentence is outside the grammar.
    """
    _, rest = _read_noun(sentence.strip(), objects)
    relation = _RELATION.match(rest)
    found = set() if relation is None else solve(rest[relation.end() :], objects, size)
    return found.pop() if len(found) == 1 else None


def solve_without_anchor(sentence: str, objects: Sequence[Item], size: int) -> set[int]:
    """What a sentence of the relation level seems to name to someone who does not look for its
    anchor: the farthest that way of what the first noun names ('left of ...': the leftmost). With
    'closest to' they take the anchor's place for the target's, where it has one and one is there.

    Raises:
        NotUnderstood: the sentence has no relation.
    """
    found, rest = _read_noun(sentence.strip(), objects)
    relation = _RELATION.match(rest)
    if relation is None:
        raise NotUnderstood(f"no relation is named in '{sentence}'")
    if not relation['near']:
        side = relation['side'] or ('top' if relation['over'] else 'bottom')
        return _most(side, found, objects)
    anchor = _NOUN.match(rest[relation.end() :])
    if anchor is None:
        raise NotUnderstood(f"no anchor is named in '{sentence}'")
    place = rest[relation.end() :][anchor.end() :].strip()
    if anchor['extreme']:
        return _most(anchor['extreme'], found, objects)
    return (place and _filter_by_place(found, place, objects, size)) or found


def _most(side: str, found: set[int], objects: Sequence[Item]) -> set[int]:
    """Of `found` the one that lies farthest to the left, right, top or bottom."""
    axis, sign = {'left': (0, 1), 'right': (0, -1), 'top': (1, 1), 'bottom': (1, -1)}[side]
    values = {number: sign * objects[number]['centre'][axis] for number in found}
    return {number for number, value in values.items() if value == min(values.values())}


def _read_noun(text: str, objects: Sequence[Item]) -> tuple[set[int], str]:
    """-> the objects that the leading noun names, and what follows it."""
    noun = _NOUN.match(text)
    if noun is None:
        raise NotUnderstood(f"no object is named at the start of '{text}'")
    found = _fitting(noun, ALIASES, objects)
    if noun['extreme']:
        found = _most(noun['extreme'], found, objects)
    return found, text[noun.end() :].strip()


def _fitting(noun: re.Match, names: Mapping[str, str], objects: Sequence[Item]) -> set[int]:
    """The objects of the noun's category, size and colour, as far as it says them."""
    wanted = {
        'category': names[noun['name']],
        'size': BULK.get(noun['bulk']),
        'colour': noun['paint'] or noun['late_paint'],
    }
    return {
        number
        for number, item in enumerate(objects)
        if all(word is None or item[key] == word for key, word in wanted.items())
    }


def _filter_by_place(found: set[int], text: str, objects: Sequence[Item], size: int) -> set[int]:
    where = _WHERE.match(text)
    if where is None:
        raise NotUnderstood(f"no place is named in '{text}'")
    for word in where['words'].split():
        found = {n for n in found if _inside(word, *objects[n]['centre'], size=size)}
    return found


def _inside(word: str, x: float, y: float, *, size: int) -> bool:
    """Halves of the picture; the centre is its middle third both ways."""
    if word in ('center', 'middle'):
        return size / 3 < x < 2 * size / 3 and size / 3 < y < 2 * size / 3
    return {
        'left': 2 * x < size,
        'right': 2 * x > size,
        'upper': 2 * y < size,
        'top': 2 * y < size,
        'lower': 2 * y > size,
        'bottom': 2 * y > size,
    }[word]


def _related(
    found: set[int], relation: re.Match, origin: Sequence[float], objects: Sequence[Item]
) -> set[int]:
    """Left, right, above, below: within 45 degrees of that direction. Closest: by the centres."""
    steps = {
        number: (objects[number]['centre'][0] - origin[0], objects[number]['centre'][1] - origin[1])
        for number in found
    }
    if relation['near']:
        squared = {number: dx * dx + dy * dy for number, (dx, dy) in steps.items()}
        return {number for number, value in squared.items() if value == min(squared.values())}
    if relation['side'] == 'left':
        return {number for number, (dx, dy) in steps.items() if dx < 0 and abs(dy) < -dx}
    if relation['side'] == 'right':
        return {number for number, (dx, dy) in steps.items() if dx > 0 and abs(dy) < dx}
    if relation['over']:
        return {number for number, (dx, dy) in steps.items() if dy < 0 and abs(dx) < -dy}
    return {number for number, (dx, dy) in steps.items() if dy > 0 and abs(dx) < dy}
