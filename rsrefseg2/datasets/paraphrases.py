"""Say the same in other words: a small grammar of equal forms.

    beside     on the left of, to the left of, on the left side of; 'left of' is read, never said
    below      'under' is read, never said
    diagonal   on the upper left of, to the upper left of; 'top left', too
    nearest    closest to, nearest to
    side       on the left, on the left side, each also 'of the image'
    height     at the top, in the upper half, each also 'of the image'
    middle     in the middle, in the center, each also 'of the image'
    corner     on the upper left, in the upper left, in the upper left corner, in the upper left of
               the image; 'top left', too
    size       largest, biggest; large, big
    outermost  the ship farthest to the left -> the leftmost ship, where nothing else is said
    link       located at the top, that is at the top, before the first place or relation
    article    the, a or none, at the start -> the or none

The words are those of the package's two sentence generators, so tokenizers made of their sentences
know them, and both of their solvers read every form.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Sequence

_IMAGE = '(?: of the image)?'
_END = '(?=$|[.,;])'
_ANCHOR = '(?= the (?!image))'
_BARE = '(?<!the )(?<!upper )(?<!lower )(?<!top )(?<!bottom )'
_RISE = {'upper': 'top', 'lower': 'bottom', 'top': 'upper', 'bottom': 'lower'}
_RULES: tuple[tuple[str, Callable[..., Sequence[str]]], ...] = (
    (
        rf'(?:(?:on|to) the (left|right)(?: side)?|{_BARE}(left|right)) of{_ANCHOR}',
        lambda near, bare: _filled(
            ('on the {} of', 'to the {} of', 'on the {} side of'), near or bare
        ),
    ),
    (rf'under{_ANCHOR}', lambda: ('below',)),
    (
        rf'(?:on|to) the (upper|lower|top|bottom) (left|right) of{_ANCHOR}',
        lambda rise, side: _corners(('on the {} of', 'to the {} of'), rise, side),
    ),
    (
        r'(?:closest|nearest) to(?= the (?!(?:top|bottom|left|right)\b))',
        lambda: ('closest to', 'nearest to'),
    ),
    (
        rf'on the (left|right)(?: side)?{_IMAGE}{_END}',
        lambda side: _anywhere(_filled(('on the {}', 'on the {} side'), side)),
    ),
    (
        rf'(?:at the (top|bottom)|in the (upper|lower) half){_IMAGE}{_END}',
        lambda side, part: _anywhere(
            (f'at the {side or _RISE[part]}', f'in the {part or _RISE[side]} half')
        ),
    ),
    (
        rf'in the (?:middle|center){_IMAGE}{_END}',
        lambda: _anywhere(('in the middle', 'in the center')),
    ),
    (
        rf'(?:on|in) the (upper|lower|top|bottom) (left|right)(?: corner)?{_IMAGE}{_END}',
        lambda rise, side: _corners(
            ('on the {}', 'in the {}', 'in the {} corner', 'in the {} of the image'), rise, side
        ),
    ),
    ('(?:largest|biggest)', lambda: ('largest', 'biggest')),
    ('(?:large|big)(?! vehicle)', lambda: ('large', 'big')),  # DOTA has a class 'large vehicle'
)
_COMPILED = [(re.compile(rf'\b(?:{pattern})\b'), forms) for pattern, forms in _RULES]
_OUTERMOST = re.compile(
    r'^(?:the )?((?:(?!(?:on|in|at|of|to|the|that|is|above|below)\b|\w+(?:est|most)\b)[a-z]+ )+)'
    '(?:farthest to the (left|right)|closest to the (top|bottom) of the image)$'
)
_WHERE = re.compile(
    r'(?<= )(?P<link>(?:located |that is )?)(?:(?:on|in|at) the '
    '(?:left|right|top|bottom|upper|lower|middle|center)|to the (?:(?:upper|lower|top|bottom) )?'
    r'(?:left|right) of|above|below|(?:closest|nearest) to(?! the (?:top|bottom)\b))\b'
)
_ARTICLE = re.compile(r'^(?:the|an?) (?!.*(?<!that) (?:is|are) )')


def reword(sentence: str, rng: random.Random) -> str:
    """A sentence of the same meaning, drawn by `rng`; what no rule knows stays as it is."""
    for pattern, forms in _COMPILED:
        sentence = pattern.sub(_drawn(forms, rng), sentence)
    if outermost := _OUTERMOST.match(sentence):
        noun, *sides = outermost.groups()
        word = next(filter(None, sides))
        sentence = rng.choice((sentence, f'the {word}most {noun.strip()}'))
    sentence = _linked(sentence, rng)
    return _ARTICLE.sub(lambda match: rng.choice(('the ', 'the ', '')), sentence)


def _drawn(forms: Callable[..., Sequence[str]], rng: random.Random) -> Callable[[re.Match], str]:
    return lambda match: rng.choice(forms(*match.groups()))


def _linked(sentence: str, rng: random.Random) -> str:
    """A link before the first place or relation, or none."""
    where = _WHERE.search(sentence)
    if where is None or re.search(r'\b(?:is|are|that)\b', sentence[: where.start()]):
        return sentence  # it has a verb
    link = rng.choice(('', '', '', 'located ', 'that is '))
    return sentence[: where.start()] + link + sentence[where.end('link') :]


def _filled(forms: Sequence[str], words: str) -> list[str]:
    return [form.format(words) for form in forms]


def _corners(forms: Sequence[str], rise: str, side: str) -> list[str]:
    return [word for high in (rise, _RISE[rise]) for word in _filled(forms, f'{high} {side}')]


def _anywhere(places: Sequence[str]) -> list[str]:
    return [place + image for place, image in itertools.product(places, ('', ' of the image'))]
