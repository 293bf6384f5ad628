"""Groups of samples that are scored apart: category, size of the target, length and kind of the
sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .score_sums import Record

UNKNOWN = 'unknown'

# COCO's areas, in pixels of the original image
SIZES = ((0, 'empty'), (32**2, 'small (< 32^2 px)'), (96**2, 'medium (< 96^2 px)'))
LARGE = 'large (>= 96^2 px)'
LENGTHS = ((5, '1-5 words'), (10, '6-10 words'), (20, '11-20 words'))
LONG = 'over 20 words'

# groups that stand in another order than that of their names
RANKS = {
    name: rank
    for rank, name in enumerate(
        [*(name for _, name in SIZES), LARGE, *(name for _, name in LENGTHS), LONG]
    )
}

# A relation binds two entities; "left of the image" and "near the centre" do not.
_SOME = r'(?:the|a|an|another|two|some|its)\b'
_WHOLE = r'(?:\w+ )?(?:image|picture|photo|scene|view|frame|map|area)\b'
_SIDE = (
    r'(?:left|right|top|bottom|upper|lower|north|south|east|west|front|back|side|edge|end|'
    r'corner|border|middle|cent(?:er|re))'
)
_ENTITY = rf'{_SOME} (?!{_WHOLE}|(?:\w+ )?{_SIDE}\b)'
RELATION = re.compile(
    '|'.join(
        (
            r'\b(?:next|close[rs]?t?|near(?:er|est)?|adjacent|parallel|opposite|connected|attached|'
            rf'perpendicular|relative) to {_ENTITY}',
            r'\b(?:near|beside|alongside|along(?: with)?|between|among|behind|under|beneath|above|below|'
            rf'over|across|around|surrounding|facing|against|beyond|opposite|in front of) {_ENTITY}',
            r'\b(?:surrounded|followed|flanked|bordered|crossed) by\b',
            rf'\b(?:{_SIDE}|(?:north|south)(?:ea|we)st)(?: side| part| edge| end)? (?:of|to|from) '
            rf'{_SOME} (?!{_WHOLE})',
            rf'\b(?:is|are|driving|parked|lying|located|sitting|standing|moored|docked|walking) '
            rf'(?:on|in|at|by|inside) {_ENTITY}',
        )
    )
)
POSITION = re.compile(
    rf'\b(?:{_SIDE}|central|(?:left|right|top|bottom|upper|lower)most|(?:north|south|east|west)ern|'
    r'(?:north|south)(?:ea|we)st(?:ern)?|half|quadrant)\b'
)


def kind(sentence: str) -> str:
    """'relation', 'position' or 'attribute', by the words of the sentence alone.

    relation: another entity is named to find the target ("beside the dam", "left of the ship").
    position: a place in the image is named ("the ship on the upper left").
    attribute: neither; the category, a colour, a size.

    A guess: no benchmark labels its sentences. It reads English only.
    """
    words = ' '.join(sentence.lower().split())
    if RELATION.search(words):
        return 'relation'
    return 'position' if POSITION.search(words) else 'attribute'


def size(area: int) -> str:
    """COCO's small, medium, large by the pixels of the annotated mask; 'empty' for none."""
    return next((name for bound, name in SIZES if area == 0 or area < bound), LARGE)


def length(sentence: str) -> str:
    """Words between blanks."""
    words = len(sentence.split())
    return next((name for bound, name in LENGTHS if words <= bound), LONG)


# name -> the group of a record; None where the record does not say
BREAKDOWNS: dict[str, Callable[[Record], Any]] = {
    'category': lambda r: r.get('category') or UNKNOWN,
    'size': lambda r: None if r.get('area') is None else size(r['area']),
    'length': lambda r: None if r.get('sentence') is None else length(r['sentence']),
    'kind': lambda r: None if r.get('sentence') is None else kind(r['sentence']),
    'level': lambda r: r.get('level'),  # SynthRS says these two
    'rule': lambda r: r.get('rule'),
}


def in_order(groups: Iterable[str]) -> list[str]:
    """Groups of one breakdown: sizes and lengths rising, others by name, unknown last."""
    return sorted(groups, key=lambda group: (group == UNKNOWN, RANKS.get(group, 0), group))


def worth_showing(groups: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The breakdowns that say something, each once.

    Args:
        groups: breakdown -> group -> what was counted, which compares as equal where it is.
    Returns:
        The names whose groups are not `UNKNOWN` alone. Of two breakdowns into the same groups the
        later: SynthRS's level is the kind that its sentence shows.
    """
    names = [name for name, found in groups.items() if found and set(found) != {UNKNOWN}]
    return [
        name
        for i, name in enumerate(names)
        if all(groups[name] != groups[later] for later in names[i + 1 :])
    ]
