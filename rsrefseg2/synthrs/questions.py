"""Scenes with sentences drawn anew at every visit: what the tiny SigLIP is pretrained on.

A scene's file holds a few sentences a level, of which few need their anchor: "the ship left of the
tank" is mostly the leftmost. Here two thirds of the relations are such that a reader who never
looks for the anchor does not find the target for sure (docs/where.md).
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask

from ..datasets import RRSISD
from ..datasets.writers import read_scenes
from ..structures import RefSegDataSample
from .generate import (
    KIND_WEIGHTS,
    Sentence,
    anchor_meanings,
    draw_needing_anchor,
    draw_sentences,
)
from .language import Ground, attribute_meanings, position_meanings, relation_meanings
from .scene import Thing

ASKED = {'attribute': 2, 'position': 2, 'relation': 2, 'anchor': 4}  # of a scene, at most
MIN_SAME = 4  # objects of the category that position and relation name


def ask(things: list[Thing], size: int, rng: np.random.Generator) -> list[Sentence]:
    """Up to ASKED sentences about a scene: those of the three levels need every word, 'anchor' are
    of `draw_needing_anchor`."""
    ground = Ground(things, size=size)
    levels = {'attribute': attribute_meanings(ground),
              'position': position_meanings(ground, MIN_SAME),
              'relation': relation_meanings(ground, MIN_SAME)}
    asked = []
    for level, candidates in levels.items():
        asked += draw_sentences(rng, ground, level, candidates, KIND_WEIGHTS[level], ASKED[level],
                                lambda said: ground.needs_every_word(said.meaning, said.target))
    return asked + draw_needing_anchor(rng, ground, anchor_meanings(ground), ASKED['anchor'])


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
            for said in ask(things, scene['size'], rng):
                sample = RefSegDataSample(metainfo=dict(text=said.text, meaning=said.meaning))
                sample.gt_mask = torch.from_numpy(coco_mask.decode(things[said.target].rle)).bool()
                batch['data_samples'].append(sample)
                index.append(u)
        yield {**batch, 'image_index': torch.tensor(index), 'image_ids': torch.tensor(index)}
