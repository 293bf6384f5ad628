"""Sentences of both generators with their scenes, and the solver that reads each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rsrefseg2.dataprep.expressions import Limits, expressions_of, solve, spoken_names
from rsrefseg2.dataprep.expressions.relations import Picture, Thing
from rsrefseg2.symmetries import Symmetry
from rsrefseg2.synthrs.generation import solver
from rsrefseg2.synthrs.generation.generate import make_scene

NAMES = spoken_names(['airplane', 'ship', 'storage_tank', 'tenniscourt'])


class Spoken(NamedTuple):
    """A sentence of an object by its number; each object a dict as its solver reads it."""

    text: str
    target: int
    objects: list[dict]
    shape: tuple[int, int]  # (H, W)

    def answer(self, text: str) -> set[int]:
        height, width = self.shape
        if 'centre' in self.objects[0]:
            return solver.solve(text, self.objects, width)
        return solve(text, self.objects, height=height, width=width, names=NAMES)

    def turned(self, symmetry: Symmetry) -> Spoken:
        """The same scene, seen after `symmetry`; the sentence stays."""
        height, width = self.shape
        new_height, new_width = (width, height) if symmetry.transpose else (height, width)

        def point(x, y):
            dx, dy = symmetry.step(x - width / 2, y - height / 2)
            return dx + new_width / 2, dy + new_height / 2

        objects = []
        for item in self.objects:
            if 'centre' in item:
                objects.append(item | dict(centre=point(*item['centre'])))
                continue
            x, y, w, h = item['bbox']
            (x0, x1), (y0, y1) = map(sorted, zip(point(x, y), point(x + w, y + h), strict=True))
            objects.append(item | dict(bbox=(x0, y0, x1 - x0, y1 - y0)))
        return self._replace(objects=objects, shape=(new_height, new_width))


def of_synthrs(scenes: int) -> Iterator[Spoken]:
    """Sentences of SynthRS."""
    for index in range(scenes):
        scene, sentences = make_scene(seed=5, split='train', index=index)
        objects = [
            dict(category=t.category, colour=t.colour, size=t.size, centre=t.centre)
            for t in scene.things
        ]
        for sentence in sentences:
            yield Spoken(sentence.text, sentence.target, objects, (scene.size, scene.size))


def of_instances(scenes: int) -> Iterator[Spoken]:
    """Sentences that are made of annotated instances, in pictures that are not square."""
    height, width = 400, 600
    for seed in range(scenes):
        rng = np.random.default_rng(seed)
        names = list(NAMES)[: 2 + 2 * (seed % 2)]
        things = []
        for _ in range(rng.integers(1, 25)):
            x, y = rng.uniform((20, 20), (580, 380))
            w, h = rng.integers(10, 90, 2)
            box = x - w / 2, y - h / 2, x + w / 2, y + h / 2
            things.append(Thing(names[rng.integers(len(names))], box, int(w * h)))
        objects = [
            dict(
                category=t.category,
                area=t.area,
                bbox=(t.box[0], t.box[1], t.box[2] - t.box[0], t.box[3] - t.box[1]),
            )
            for t in things
        ]
        picture = Picture(things, height=height, width=width)
        for expression in expressions_of(
            picture, NAMES, rng, limits=Limits(), check=lambda text, target: True
        ):
            yield Spoken(expression.text, expression.target, objects, (height, width))
