"""Sentences that a picture does not fulfil, made while training: of another picture, or with a word
of one's own changed. Each is verified by the solver on the objects of the scene, or refused."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from ..bounds import Fraction
from ..directions import rewrite
from ..errors import UserError
from ..options import LAYOUTS
from ..registry import TRANSFORMS
from ..symmetries import GROUPS, IDENTITY
from .generation.wording import CORNER_PLACES, LINKS, PLACES, RELATIONS
from .known_scenes import Scene, known_scenes

KINDS = ('exchange', 'category', 'attribute', 'direction', 'relation')
TRIES = 20  # candidates of a sentence; then it stays as it is
IN_PICTURE = 0.7  # of the changed categories: those of the picture, which make hard sentences

_OTHERS = [symmetry for symmetry in GROUPS['all'] if symmetry != IDENTITY]
_WHERE = [place.format(side) for side, places in PLACES.items() for place in places] + [
    place.format(high, side)
    for place in CORNER_PLACES
    for high in ('upper', 'lower', 'top', 'bottom')
    for side in ('left', 'right')
]
_BESIDE = [
    where if where.startswith('located') else link + where
    for relation, ways in RELATIONS.items()
    if relation != 'closest'  # something always is
    for where in ways
    for link in LINKS
]


@TRANSFORMS.register_module()
class AbsentSentences(BaseTransform):
    """Ask for what is not there: another sentence, and an empty mask. In SynthRS, and in
    photographs that `convert coco` described.

    ::

        exchange   a sentence of another picture
        category   another category's name, mostly of an object of the picture
        attribute  another colour or size, or one where none is said; of SynthRS
        direction  the sentence of the flipped or turned picture (`directions.rewrite`): another
                   place or relation; or a place where none is said
        relation   a category of the picture beside an object of it where none of it lies

    A candidate counts where nothing of the scene fulfils it or comes near, and the anchor of its
    relation is there alone (`Scene.lacks`). Of `TRIES` candidates, each of a kind drawn anew, the
    first is taken; without one the sentence stays as it is. It stands between LoadMask and
    RandomSymmetry.

    Args:
        data_root: SynthRS's folder, with the scene file of the split, or that of a conversion.
        prob: the share of the sentences with a target that it is tried for.
        renew: the share of the sentences without a target, of level none, that become another,
            made of any sentence of the picture.
        split: that the samples are of.
        kinds: of the five; one that is named twice is drawn twice as often.
        layout: the layout whose reader gave the samples their ids.

    Raises:
        UserError: no such layout; the scene file is missing, or of other data.
        ValueError: prob or renew is not from 0 to 1; an unknown kind.
    """

    def __init__(
        self,
        *,
        data_root: str,
        prob: Fraction = 0.25,
        renew: Fraction = 0.0,
        split: str = 'train',
        layout: str = 'rrsisd',
        kinds: Sequence[str] = KINDS,
    ) -> None:
        for name, share in (('prob', prob), ('renew', renew)):
            if not 0 <= share <= 1:
                raise ValueError(f'{name} is from 0 to 1, not {share!r}')
        if layout not in LAYOUTS:
            raise UserError(f'layout is one of {", ".join(LAYOUTS)}, not {layout!r}')
        if not kinds or not set(kinds) <= set(KINDS):
            raise ValueError(f'kinds are of {", ".join(KINDS)}, not {kinds!r}')
        self.data_root, self.prob, self.renew = data_root, prob, renew
        self.split, self.layout, self.kinds = split, layout, tuple(kinds)
        self._scenes: list[Scene] = []
        self._scene_of: dict[str, Scene] = {}

    def transform(self, results: dict) -> dict:
        """Change `text`, `category`, the masks, and say `no_target`."""
        share = self.prob if results['gt_mask'].any() else self.renew
        if random.random() >= share:
            return results
        # of Python's generator, which the sample's draw seeds (`own_randomness`)
        rng = random.Random(random.getrandbits(64))
        scene = self._find(results['sample_id'])
        own = results['text'] if results['gt_mask'].any() else rng.choice(scene.sentences)
        text = self.absent(own, scene, rng)
        if text is not None:
            if 'other_mask' in results:
                results['other_mask'] = results['other_mask'] | results['gt_mask']
            results['gt_mask'] = np.zeros_like(results['gt_mask'])
            results.update(text=text, category=None, no_target=True)
        return results

    def absent(self, text: str, scene: Scene, rng: random.Random) -> str | None:
        """A sentence that nothing of the scene fulfils, drawn by `rng`; None: none was found."""
        for _ in range(TRIES):
            kind = rng.choice(self.kinds)
            if kind == 'exchange':
                candidate = rng.choice(rng.choice(self._read()).sentences)
            else:
                candidate = CHANGES[kind](text, scene, rng)
            if candidate != text and scene.lacks(candidate):
                return candidate
        return None

    def _read(self) -> list[Scene]:
        if not self._scenes:
            for record, scene in known_scenes(self.data_root, self.split):
                self._scenes.append(scene)
                self._scene_of |= {
                    sentence['keys'].get(self.layout): scene for sentence in record['sentences']
                }
        return self._scenes

    def _find(self, sample_id: str) -> Scene:
        self._read()
        if sample_id not in self._scene_of:
            raise UserError(
                f'AbsentSentences: sample {sample_id!r} is not in scenes_{self.split}.jsonl of '
                f'{self.data_root!r} (layout {self.layout}): nothing is known to be absent there; '
                'name the data that the sample comes from'
            )
        return self._scene_of[sample_id]


def change_category(text: str, scene: Scene, rng: random.Random) -> str:
    """The first name becomes that of a category that the sentence does not name."""
    owner, pattern = scene.names
    found = pattern.search(text)
    if found is None:
        return text
    there = scene.categories if rng.random() < IN_PICTURE else set(owner.values())
    named = {owner[name] for name in pattern.findall(text)}
    names = [name for name, about in owner.items() if about in there and about not in named]
    if not names:
        return text
    changed = rng.choice(names)
    before = re.sub(r'\ban? $', 'an ' if changed[0] in 'aeiou' else 'a ', text[: found.start()])
    return before + changed + text[found.end() :]


def change_attribute(text: str, scene: Scene, rng: random.Random) -> str:
    """The first colour or size becomes another; where neither is said one is added."""
    for pattern, words in scene.attributes:
        if found := pattern.search(text):
            others = [word for word in words if word != found[0]]
            word = rng.choice(others) if others else found[0]
            return text[: found.start()] + word + text[found.end() :]
    found = scene.names.pattern.search(text)
    every = [word for _, words in scene.attributes for word in words]
    if found is None or not every:
        return text
    return f'{text[: found.start()]}{rng.choice(every)} {text[found.start() :]}'


def change_direction(text: str, scene: Scene, rng: random.Random) -> str:
    """The sentence after a symmetry; one without a place or a relation gets a place."""
    if all(rewrite(text, symmetry) == text for symmetry in _OTHERS):
        if re.search(r'\b(?:to|that|center|middle)\b', text):  # 'closest to', a colour said late
            return text
        return f'{text} {rng.choice(_WHERE)}'
    return rewrite(text, rng.choice(_OTHERS)) or text


def make_relation(text: str, scene: Scene, rng: random.Random) -> str:
    """A category of the scene beside one of its objects, in the words of level relation; `text` is
    the answer where all objects are of one category."""
    anchor = rng.choice(scene.objects)
    others = [name for name in scene.categories if name != anchor['category']]
    if not others:
        return text
    target, beside = (
        rng.choice([name for name, about in scene.names.owner.items() if about == category])
        for category in (rng.choice(others), anchor['category'])
    )
    if sum(thing['category'] == anchor['category'] for thing in scene.objects) > 1:
        beside = scene.told_apart(anchor, beside, rng)
    return f'{rng.choice(("the ", ""))}{target} {rng.choice(_BESIDE)} the {beside}'


CHANGES = {
    'category': change_category,
    'attribute': change_attribute,
    'direction': change_direction,
    'relation': make_relation,
}
