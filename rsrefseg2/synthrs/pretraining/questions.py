"""Scenes with sentences drawn anew at every visit: what the tiny SigLIP is pretrained on.

A scene's file holds a few sentences a level, of which few need their anchor: "the ship left of the
tank" is mostly the leftmost. Here two thirds of the relations are such that a reader who never
looks for the anchor does not find the target for sure (projects/localisation_study/README.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ...datasets import RRSISD
from ...datasets.scene_files import read_scenes
from ...rle import decode
from ...structures import RefSegDataSample
from ..generation.generate import KIND_WEIGHTS
from ..generation.language import (
    Ground,
    Phrase,
    Relation,
    attribute_meanings,
    position_meanings,
    relation_meanings,
)
from ..generation.scene import Thing
from ..generation.solver import solve_without_anchor
from ..generation.wording import say

ASKED = {'attribute': 2, 'position': 2, 'relation': 2, 'anchor': 4}  # of a scene, at most
WEIGHTS = {**KIND_WEIGHTS, 'anchor': (0.08, 0.08, 0.09, 0.75)}  # of plain ... and 'closest'
MIN_SAME = 4  # objects of the category that position and relation name


class Question(NamedTuple):
    """A sentence, what it means, and the index of the one object that it names."""

    text: str
    meaning: Phrase | Relation
    target: int


def ask(things: list[Thing], size: int, rng: np.random.Generator) -> list[Question]:
    """Up to ASKED questions about a scene.

    Those of the three levels need every word. 'anchor' are relations of any category that occurs
    twice which a reader who never looks for the anchor answers otherwise; 'closest to' an anchor
    with a place is left out, as most of these are answered by that place.
    """
    ground = Ground(things, size=size)
    objects = [vars(thing) for thing in things]

    def needs_every_word(question: Question) -> bool:
        return ground.needs_every_word(question.meaning, question.target)

    def needs_anchor(question: Question) -> bool:
        return solve_without_anchor(question.text, objects, size) != {question.target}

    anchors = relation_meanings(ground, 2)
    anchors['closest'] = [meaning for meaning in anchors['closest'] if meaning.anchor.place is None]
    asked = []
    for sort, candidates, keep in (
        ('attribute', attribute_meanings(ground), needs_every_word),
        ('position', position_meanings(ground, MIN_SAME), needs_every_word),
        ('relation', relation_meanings(ground, MIN_SAME), needs_every_word),
        ('anchor', anchors, needs_anchor),
    ):
        asked += _draw(rng, ground, candidates, WEIGHTS[sort], ASKED[sort], keep)
    return asked


def _draw(
    rng: np.random.Generator,
    ground: Ground,
    candidates: Mapping[str, Sequence[Phrase | Relation]],
    weights: Sequence[float],
    count: int,
    keep: Callable[[Question], bool],
) -> list[Question]:
    """Up to `count` different questions to keep, each of a kind that is drawn by its weight."""
    waiting = {
        kind: [meanings[index] for index in rng.permutation(len(meanings))]
        for kind, meanings in candidates.items()
    }
    drawn: list[Question] = []
    while len(drawn) < count and waiting:
        chances = np.array(
            [weight for kind, weight in zip(candidates, weights, strict=True) if kind in waiting]
        )
        kind = list(waiting)[rng.choice(len(chances), p=chances / chances.sum())]
        while waiting[kind]:
            meaning = waiting[kind].pop()
            target = ground.clear(meaning)
            if target is None:
                continue
            question = Question(say(meaning, rng), meaning, target)
            if keep(question):
                drawn.append(question)
                break
        else:
            del waiting[kind]
    return drawn


def questions(dataset: RRSISD, data_root: Path, *, images: int, seed: int) -> Iterator[dict]:
    """Endless batches of `images` scenes, as `unique_images_collate` gives them; each sample knows
    its `meaning` as well.

    Args:
        dataset: the training split of `data_root`; its pictures are read, not its sentences.
    """
    scenes = list(read_scenes(data_root, 'train'))
    place = {dataset.get_data_info(k)['sample_id']: k for k in range(len(dataset))}
    rng = np.random.default_rng(seed)
    order: list[int] = []
    while True:
        batch: dict = {'inputs': [], 'data_samples': []}
        index: list[int] = []
        for u in range(images):
            order = order or list(rng.permutation(len(scenes)))
            scene = scenes[order.pop()]
            shown = dataset[place[scene['sentences'][0]['keys']['rrsisd']]]
            batch['inputs'].append(shown['inputs'])
            things = [Thing(**thing) for thing in scene['objects']]
            for text, meaning, target in ask(things, scene['size'], rng):
                sample = RefSegDataSample(metainfo=dict(text=text, meaning=meaning))
                sample.gt_mask = torch.from_numpy(
                    decode(things[target].rle, location=f'a scene of {data_root}').copy()
                )
                batch['data_samples'].append(sample)
                index.append(u)
        yield {**batch, 'image_index': torch.tensor(index), 'image_ids': torch.tensor(index)}
