"""Scenes with sentences drawn anew at every visit: what the tiny SigLIP is pretrained on.

A scene's file holds a few sentences a level, of which few need their anchor: "the ship left of the
tank" is mostly the leftmost. Here half of the relations are answered wrongly by a reader who never
looks for the anchor (docs/where.md).
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask

from ..datasets import RRSISD
from ..datasets.writers import read_scenes
from ..structures import RefSegDataSample
from .generate import KIND_WEIGHTS
from .language import (
    Ground,
    Phrase,
    Relation,
    attribute_meanings,
    position_meanings,
    relation_meanings,
)
from .scene import Thing
from .solver import solve_without_anchor
from .wording import say

ASKED = {'attribute': 2, 'position': 2, 'relation': 2, 'anchor': 4}  # of a scene, at most
ANCHOR_WEIGHTS = (0.25, 0.75)  # a direction from any anchor; 'closest' to one without a place
MIN_SAME = 4  # objects of the named category, in position and relation


def ask(things: list[Thing], size: int, rng: np.random.Generator
        ) -> list[tuple[Phrase | Relation, str, int]]:
    """Up to ASKED sentences about a scene: (meaning, text, index of the target).

    Those of the three levels need every word; 'anchor' are relations of any category that occurs
    twice, whose target is another than `solve_without_anchor` finds.
    """
    ground = Ground(things, size=size)
    relations = relation_meanings(ground, 2)
    candidates = {'attribute': attribute_meanings(ground),
                  'position': position_meanings(ground, MIN_SAME),
                  'relation': {kind: [meaning for meaning in meanings
                                      if ground.count(meaning.target.category) >= MIN_SAME]
                               for kind, meanings in relations.items()}}
    closest = [meaning for meaning in relations.pop('closest') if meaning.anchor.place is None]
    anchors = {'direction': list(itertools.chain(*relations.values())), 'closest': closest}
    objects = [vars(thing) for thing in things]

    def needs_anchor(meaning: Relation, target: int) -> bool:
        return solve_without_anchor(say(meaning, rng), objects, size) != {target}

    asked = []
    for level, kinds in candidates.items():
        asked += _draw(rng, ground, kinds, KIND_WEIGHTS[level], ASKED[level],
                       ground.needs_every_word)
    asked += _draw(rng, ground, anchors, ANCHOR_WEIGHTS, ASKED['anchor'], needs_anchor)
    return [(meaning, say(meaning, rng), target) for meaning, target in asked]


def _draw(rng: np.random.Generator, ground: Ground,
          candidates: dict[str, list[Phrase] | list[Relation]], weights: Sequence[float],
          count: int, keep: Callable[[Phrase | Relation, int], bool]
          ) -> list[tuple[Phrase | Relation, int]]:
    """Up to `count` clear meanings to keep, each of a kind drawn by its weight."""
    waiting = {kind: [meanings[index] for index in rng.permutation(len(meanings))]
               for kind, meanings in candidates.items()}
    drawn = []
    while len(drawn) < count and waiting:
        chance = np.array([weight for kind, weight in zip(candidates, weights, strict=True)
                           if kind in waiting])
        kind = list(waiting)[rng.choice(len(chance), p=chance / chance.sum())]
        while waiting[kind]:
            meaning = waiting[kind].pop()
            target = ground.clear(meaning)
            if target is not None and keep(meaning, target):
                drawn.append((meaning, target))
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
            for meaning, text, target in ask(things, scene['size'], rng):
                sample = RefSegDataSample(metainfo=dict(text=text, meaning=meaning))
                sample.gt_mask = torch.from_numpy(coco_mask.decode(things[target].rle)).bool()
                batch['data_samples'].append(sample)
                index.append(u)
        yield {**batch, 'image_index': torch.tensor(index), 'image_ids': torch.tensor(index)}
