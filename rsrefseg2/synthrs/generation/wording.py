"""From a meaning to a sentence: several templates and synonyms, fewer than 100 words in all."""

from __future__ import annotations

import numpy as np

from .language import EXTREMES, Phrase, Relation
from .more_levels import Pair
from .objects import COLOURS

NAMES: dict[str, tuple[str, ...]] = {
    'airplane': ('airplane', 'plane'),
    'baseball field': ('baseball field', 'baseball diamond'),
    'building': ('building', 'house'),
    'helipad': ('helipad',),
    'roundabout': ('roundabout', 'traffic circle'),
    'ship': ('ship', 'boat'),
    'stadium': ('stadium',),
    'storage tank': ('storage tank', 'tank'),
    'swimming pool': ('swimming pool', 'pool'),
    'tennis court': ('tennis court',),
    'vehicle': ('vehicle', 'car'),
    'windmill': ('windmill', 'wind turbine'),
}
SIZES = {'small': ('small',), 'large': ('large', 'big')}
SIDES = ('on the {}', 'on the {} side', 'on the {} of the image', 'on the {} side of the image')
PLACES: dict[str, tuple[str, ...]] = {
    'left': SIDES,
    'right': SIDES,
    'top': ('at the top', 'at the top of the image', 'in the upper half'),
    'bottom': ('at the bottom', 'at the bottom of the image', 'in the lower half'),
    'center': ('in the center', 'in the middle', 'in the center of the image'),
}
CORNER_PLACES = ('on the {} {}', 'in the {} {}', 'in the {} {} corner', 'in the {} {} of the image')
RELATIONS: dict[str, tuple[str, ...]] = {
    'left': ('on the left of', 'to the left of', 'left of', 'on the left side of'),
    'right': ('on the right of', 'to the right of', 'right of', 'on the right side of'),
    'above': ('above', 'located above'),
    'below': ('below', 'under', 'located below'),
    'closest': ('closest to', 'nearest to'),
}
LINKS = ('', '', '', 'located ', 'that is ')
PLURAL_LINKS = ('', '', '', 'located ', 'that are ')


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[rng.integers(len(words))]


def _noun(rng: np.random.Generator, phrase: Phrase, *, plural: bool = False) -> str:
    """'small red plane', or now and then 'small plane that is red'."""
    size = _pick(rng, SIZES[phrase.size]) if phrase.size else ''
    name = _pick(rng, NAMES[phrase.category]) + ('s' if plural else '')
    if phrase.colour and phrase.place is None and rng.random() < 0.15:
        link = 'that are' if plural else 'that is'
        return ' '.join(filter(None, (size, name, link, phrase.colour)))
    return ' '.join(filter(None, (size, phrase.colour, name)))


def _place(rng: np.random.Generator, place: str) -> str:
    if ' ' not in place:
        return _pick(rng, PLACES[place]).format(place)
    vertical, side = place.split()
    if rng.random() < 0.4:
        vertical = {'upper': 'top', 'lower': 'bottom'}[vertical]
    return _pick(rng, CORNER_PLACES).format(vertical, side)


def _phrase(
    rng: np.random.Generator, phrase: Phrase, *, links: tuple[str, ...], plural: bool = False
) -> str:
    noun = _noun(rng, phrase, plural=plural)
    if phrase.place is None:
        return noun
    if phrase.place.endswith('most'):
        return f'{phrase.place} {noun}'
    return f'{noun} {_pick(rng, links)}{_place(rng, phrase.place)}'


def say(
    meaning: Phrase | Relation | Pair, rng: np.random.Generator, *, plural: bool = False
) -> str:
    """A sentence for `meaning`, drawn among the templates; plural: for all objects of a phrase."""
    article = 'the ' if rng.random() < 0.85 else ''
    if isinstance(meaning, Phrase):
        links = PLURAL_LINKS if plural else LINKS
        return article + _phrase(rng, meaning, links=links, plural=plural)
    if isinstance(meaning, Pair):
        first, second = (_phrase(rng, phrase, links=('',)) for phrase in meaning)
        return f'{article}{first} and the {second}'
    where = _pick(rng, RELATIONS[meaning.relation])
    link = '' if where.startswith('located') else _pick(rng, LINKS)
    anchor = _phrase(rng, meaning.anchor, links=('',))
    return f'{article}{_phrase(rng, meaning.target, links=("",))} {link}{where} the {anchor}'


def more_vocabulary() -> list[str]:
    """The words of level several that `vocabulary` lacks, sorted; level none needs no others."""
    plurals = {f'{name.split()[-1]}s' for names in NAMES.values() for name in names}
    return sorted({'and', 'are'} | plurals)


def vocabulary() -> list[str]:
    """Every word that a sentence of the levels attribute, position and relation may contain, sorted."""
    phrases = [
        *COLOURS,
        *EXTREMES,
        *LINKS,
        'the',
        'that is',
        'top',
        'bottom',
        'upper',
        'lower',
        *CORNER_PLACES,
    ]
    for table in (NAMES, SIZES, PLACES, RELATIONS):
        for key, words in table.items():
            phrases += [word.format(key) for word in words]
    return sorted({word for phrase in phrases for word in phrase.split() if word != '{}'})
