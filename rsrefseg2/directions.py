"""Keep a sentence true when its picture is flipped or turned: rewrite its direction words.

What is rewritten, by the forms that referring sentences have:

    superlatives   leftmost, uppermost | farthest to the left | closest to the top of the image
    corners        upper left, top-right: 'in the ... corner', 'to the ... of the ship'
    places         on the left side of the image | at the top | in the upper half
    edges          along the left edge
    relations      on the left of the ... | above the ... | under the ...
    compass        north, south-east, western, northernmost: north is taken to be up

Everything else that might be a direction is refused: 'left' as a verb, the top of a building,
'facing', 'vertical', 'the second ship', which counts from a side that it does not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .symmetries import IDENTITY, Symmetry


class Words(NamedTuple):
    """What one direction is called."""

    side: str  # 'on the ... side', '...most'
    part: str  # 'in the ... half', '... left corner'
    relation: str  # '... the ship'
    border: str  # 'the ship ...': the outermost one
    compass: str


# By the unit direction (x, y); y grows downwards.
WORDS = {
    (-1, 0): Words('left', 'left', 'to the left of', 'farthest to the left', 'west'),
    (1, 0): Words('right', 'right', 'to the right of', 'farthest to the right', 'east'),
    (0, -1): Words('top', 'upper', 'above', 'closest to the top of the image', 'north'),
    (0, 1): Words('bottom', 'lower', 'below', 'closest to the bottom of the image', 'south'),
}
_STEP = {word: step for step, words in WORDS.items() for word in words}
_STEP |= dict.fromkeys(('under', 'beneath', 'underneath'), _STEP['below'])

_SIDE = 'left|right|top|bottom|upper|lower'
_IMAGE = ' of the (?:image|picture|photograph|photo|scene)'
# After a place: the end, or a word that begins something else. 'on the top floor' is no place.
_END = (
    r'(?= *(?:$|[,.;:!?)])| (?:above|and|are|at|below|beside|between|but|by|closest|from|has|in|is'
    r'|located|near|nearest|next|on|or|that|to|under|where|which|with)\b)'
)
_ANCHOR = rf'(?= (?:the|an?|another|this|that|these|those|two|three|some)\b)(?!{_IMAGE[3:]}\b)'
# What a thing may lie over or under in the world and not in the picture.
_WATER = 'water|river|sea|lake|ground(?! track)|road|street|railway|highway'
_ROOF = 'bridge|overpass|viaduct|tree|roof|cloud|shadow'
_FORMS = {
    'most': rf'(?P<extreme>{_SIDE})(?P<dash>-?)most',
    'compass': '(?:(?P<pole>north|south)(?P<joint>[- ]?)(?P<slant>east|west)'
    '|(?P<course>north|south|east|west))(?P<ending>ern(?:most)?)?',
    'border': rf'(?:farthest|furthest) to the (?P<far>{_SIDE})'
    rf'|(?:closest|nearest) to the (?P<near>{_SIDE})(?: side| edge| border)?{_IMAGE}',
    'corner': '(?P<rise>upper|lower|top|bottom)(?P<gap>[- ])(?P<across>left|right)'
    r'(?! (?:above|behind|below|beside|next|under)\b)',
    'edge': rf'(?P<outer>{_SIDE}) (?P<line>edge|border)(?P<whole>{_IMAGE})?{_END}',
    'place': '(?P<preposition>on|in|at|to(?= the [a-z]+(?: side)? of)) the (?P<very>far |very )?'
    rf'(?P<where>{_SIDE})(?:[- ]hand)?(?P<noun> side| half| part| area| section| portion)?'
    rf'(?P<image>{_IMAGE})?{_END}',
    'beside': '(?:(?P<lead>(?:on|to|at) the )(?P<side>left|right)(?:[- ]hand)?(?P<tail>(?: side)? of)'
    rf'|(?<!the )(?P<bare>left|right) of){_ANCHOR}',
    'stacked': rf'(?:(?P<over>above)(?! the (?:{_WATER})s?\b)|(?P<lower>below)'
    rf'|(?P<under>under|beneath|underneath)(?! [a-z]+ (?:[a-z]+ )?(?:{_ROOF})s?\b)){_ANCHOR}',
}
_FORM = re.compile(
    r'\b(?P<article>an? )?(?:'
    + '|'.join(f'(?P<{name}>{pattern})' for name, pattern in _FORMS.items())
    + r')\b',
    re.IGNORECASE,
)
# Of a sentence without these forms.
_REFUSED = re.compile(
    r'\b(?:(?:left|right|top|bottom|up|down)(?:most|side|hand|wards?)?|upper\w*|lower\w*|above|below'
    r'|under|beneath|underneath|(?:north|south|east|west)\w*|vertical\w*|horizontal\w*'
    r"|(?:anti|counter)?-?clockwise|\w*o'clock|facing|faces|heading|pointing|rows?|columns?"
    r'|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|\d+(?:st|nd|rd|th))\b',
    re.IGNORECASE,
)


def rewrite(sentence: str, symmetry: Symmetry) -> str | None:
    """What `sentence` has to say of its picture after `symmetry`.

    A sentence without a direction stays as it is, and so does every one under the identity.
    None: it has a direction that cannot be rewritten for sure.
    """
    if symmetry == IDENTITY:
        return sentence
    if _REFUSED.search(_FORM.sub(' ', sentence)):
        return None
    return _FORM.sub(lambda match: _rewritten(match, symmetry), sentence)


def _rewritten(match: re.Match, symmetry: Symmetry) -> str:
    found = {name: (text or '').lower() for name, text in match.groupdict().items()}
    form = next(name for name in _FORMS if match[name])
    text = _RENDER[form](found, symmetry)
    if match['article']:
        text = f'an {text}' if text[0] in 'aeiou' else f'a {text}'
    return text.capitalize() if match[0][0].isupper() else text


def _turned(word: str, symmetry: Symmetry) -> Words:
    return WORDS[symmetry.step(*_STEP[word])]


def _like(word: str, symmetry: Symmetry) -> str:
    """In the words of `word`: 'upper' and 'lower', or 'top' and 'bottom'."""
    words = _turned(word, symmetry)
    return words.part if word in ('upper', 'lower') else words.side


def _most(found: dict[str, str], symmetry: Symmetry) -> str:
    return f'{_like(found["extreme"], symmetry)}{found["dash"]}most'


def _compass(found: dict[str, str], symmetry: Symmetry) -> str:
    if found['course']:
        return _turned(found['course'], symmetry).compass + found['ending']
    x, y = _corner_step(found['pole'], found['slant'], symmetry)
    return f'{WORDS[0, y].compass}{found["joint"]}{WORDS[x, 0].compass}{found["ending"]}'


def _border(found: dict[str, str], symmetry: Symmetry) -> str:
    return _turned(found['far'] or found['near'], symmetry).border


def _corner(found: dict[str, str], symmetry: Symmetry) -> str:
    x, y = _corner_step(found['rise'], found['across'], symmetry)
    high = WORDS[0, y]
    rise = high.part if found['rise'] in ('upper', 'lower') else high.side
    return f'{rise}{found["gap"]}{WORDS[x, 0].side}'


def _corner_step(rise: str, across: str, symmetry: Symmetry) -> tuple[int, int]:
    return symmetry.step(_STEP[across][0], _STEP[rise][1])


def _edge(found: dict[str, str], symmetry: Symmetry) -> str:
    return f'{_like(found["outer"], symmetry)} {found["line"]}{found["whole"]}'


def _place(found: dict[str, str], symmetry: Symmetry) -> str:
    words, noun, image = _turned(found['where'], symmetry), found['noun'], found['image']
    if not symmetry.transpose or noun in (' part', ' area', ' section', ' portion'):
        where = words.part if symmetry.transpose else _like(found['where'], symmetry)
        return f'{found["preposition"]} the {found["very"]}{where}{noun}{image}'
    if words.side == words.part:  # left, right
        return f'on the {found["very"] and "far "}{words.side}{noun and " side"}{image}'
    return f'at the {found["very"] and "very "}{words.side}{image}'


def _beside(found: dict[str, str], symmetry: Symmetry) -> str:
    words = _turned(found['side'] or found['bare'], symmetry)
    if symmetry.transpose:
        return words.relation
    return f'{found["lead"]}{words.side}{found["tail"] or " of"}'


def _stacked(found: dict[str, str], symmetry: Symmetry) -> str:
    return _turned(found['over'] or found['lower'] or found['under'], symmetry).relation


_RENDER: dict[str, Callable[[dict[str, str], Symmetry], str]] = {
    'most': _most,
    'compass': _compass,
    'border': _border,
    'corner': _corner,
    'edge': _edge,
    'place': _place,
    'beside': _beside,
    'stacked': _stacked,
}
