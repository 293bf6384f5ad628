"""From a meaning to a sentence, drawn among templates. expressions/solver.py reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .relations import Phrase, Relation

# The first form of each also stands before a place, and as an anchor.
MOST = {
    'largest': ('largest {}', 'biggest {}'),
    'smallest': ('smallest {}',),
    'leftmost': ('leftmost {}', '{} farthest to the left'),
    'rightmost': ('rightmost {}', '{} farthest to the right'),
    'topmost': ('topmost {}', '{} closest to the top of the image'),
    'bottommost': ('bottommost {}', '{} closest to the bottom of the image'),
}
SIDES = ('on the {}', 'on the {} side', 'on the {} side of the image', 'on the {} of the image')
PLACES = {
    'left': SIDES,
    'right': SIDES,
    'top': ('at the top', 'at the top of the image', 'in the upper half of the image'),
    'bottom': ('at the bottom', 'at the bottom of the image', 'in the lower half of the image'),
    'center': ('in the middle', 'in the center', 'in the middle of the image'),
}
CORNERS = ('on the {} {}', 'in the {} {}', 'in the {} {} corner', 'in the {} {} of the image')
LINKS = ('', '', '', 'located ', 'that is ')
BESIDE = ('on the {} of', 'to the {} of', 'on the {} side of')
RELATIONS = {
    'left': BESIDE,
    'right': BESIDE,
    'above': ('above', 'located above'),
    'below': ('below', 'located below'),
    'closest': ('closest to', 'nearest to'),
}
DIAGONAL = ('on the {} {} of', 'to the {} {} of')
ARTICLES = ('the', 'the', 'the', 'a', '')


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _upper(rng: np.random.Generator, words: str) -> list[str]:
    """'upper left' as two words, now and then 'top left'."""
    vertical, side = words.split()
    if rng.random() < 0.35:
        vertical = {'upper': 'top', 'lower': 'bottom'}[vertical]
    return [vertical, side]


def _phrase(
    rng: np.random.Generator,
    phrase: Phrase,
    names: Mapping[str, Sequence[str]],
    *,
    anchor: bool = False,
) -> str:
    """As an anchor, at the end of a sentence, in the forms that attach to it alone."""
    noun = _pick(rng, names[phrase.category])
    if phrase.most:
        plain = anchor or phrase.place is not None
        noun = _pick(rng, MOST[phrase.most][: 1 if plain else None]).format(noun)
    if phrase.place is None:
        return noun
    if ' ' in phrase.place:
        where = _pick(rng, CORNERS).format(*_upper(rng, phrase.place))
    else:
        where = _pick(rng, PLACES[phrase.place]).format(phrase.place)
    return f'{noun} {"" if anchor else _pick(rng, LINKS)}{where}'


def say(
    meaning: Phrase | Relation, names: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> str:
    """A sentence for `meaning`, in lower case, without a full stop."""
    article = _pick(rng, ARTICLES)
    if isinstance(meaning, Phrase):
        text = _phrase(rng, meaning, names)
        article = 'the' if meaning.most else article
    else:
        if ' ' in meaning.where:
            where = _pick(rng, DIAGONAL).format(*_upper(rng, meaning.where))
        else:
            where = _pick(rng, RELATIONS[meaning.where]).format(meaning.where)
        article = 'the' if meaning.where == 'closest' else article
        link = '' if where.startswith('located') else _pick(rng, LINKS)
        anchor = _phrase(rng, meaning.anchor, names, anchor=True)
        text = f'{_pick(rng, names[meaning.category])} {link}{where} the {anchor}'
    if article == 'a' and text[0] in 'aeiou':
        article = 'an'
    return f'{article} {text}'.strip()
