"""Views of annotated photographs, with sentences by rule: what tiny towers learn of real pictures.

A few hundred pictures are few. So every visit shows another part of a picture, turned, mirrored
and in other light, and asks other questions: the rules that wrote the data set's sentences
(dataprep/expressions) describe what the view shows, so that every word stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
import torch

from ...dataprep.expressions import Limits, NotUnderstood, expressions_of, solve
from ...dataprep.expressions.relations import Picture, Thing
from ...datasets import RRSISD
from ...datasets.scene_files import SCENES, read_scenes
from ...errors import UserError
from ...records import read_json
from ...rle import decode
from ...structures import RefSegDataSample
from ...symmetries import IDENTITY, Symmetry

LONG_SIDE = 640  # pixels of a picture in memory: more than a view of a tower needs
LIMITS = Limits(per_object=3, per_image=10)  # sentences of a view
SCALE, ASPECT = (0.6, 1.15), (1.0, 1.9)  # of a view: share of the height (1: all), width / height
GONE, CUT = 0.05, 0.75  # of an instance's area in the view: below, not there; below, doubtful
SMALL = 24  # pixels of a view: an instance of fewer is doubtful
QUARTER, MIRROR = Symmetry(transpose=True, flip_y=True), Symmetry(flip_x=True)


class Summary(msgspec.Struct):
    """summary.json of `convert coco`, as far as it is read here."""

    names: dict[str, list[str]]


class Photograph(NamedTuple):
    """A picture with its instances, reduced to LONG_SIDE."""

    image: np.ndarray  # (H, W, 3) uint8
    masks: np.ndarray  # (instances, H, W) bool
    categories: list[str]
    areas: np.ndarray  # of the masks, in pixels


class View(NamedTuple):
    """A part of a picture as a tower sees it: a square, whatever its own sides."""

    image: np.ndarray  # (side, side, 3) uint8
    masks: np.ndarray  # (instances, side, side) bool
    things: list[Thing]  # in pixels of the part, before it became a square
    shape: tuple[int, int]  # of the part


def read_photographs(root: Path, split: str) -> list[Photograph]:
    """The pictures of a split of such a folder, with their instances."""
    dataset = RRSISD(
        data_root=str(root),
        split=split,
        classes=None,
        pipeline=[dict(type='LoadImage'), dict(type='PackRefSegInputs')],
    )
    place = {dataset.get_data_info(k)['sample_id']: k for k in range(len(dataset))}
    photographs = []
    for scene in read_scenes(root / SCENES, split):
        shown = dataset[place[scene['sentences'][0]['keys']['rrsisd']]]
        image = shown['inputs'].permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
        scale = min(1, LONG_SIDE / max(image.shape[:2]))
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))  # (W, H)
        picked = np.ix_(_middles(image.shape[0], size[1]), _middles(image.shape[1], size[0]))
        masks = np.stack(
            [decode(o['rle'], location=f'a scene of {root}')[picked] for o in scene['objects']]
        )
        photographs.append(
            Photograph(
                cv2.resize(image, size, interpolation=cv2.INTER_AREA),
                masks,
                [thing['category'] for thing in scene['objects']],
                np.count_nonzero(masks, axis=(1, 2)),
            )
        )
    return photographs


def view_of(photograph: Photograph, side: int, rng: np.random.Generator) -> View:
    """A random part, turned by quarters and perhaps mirrored, in other light, as a square.

    Instances of which the part shows next to nothing are left out; cut or small ones are doubtful:
    neither target nor anchor, but competitors.
    """
    steps = int(rng.integers(4)) * [QUARTER] + int(rng.integers(2)) * [MIRROR]
    symmetry = reduce(Symmetry.then, steps, IDENTITY)
    image = symmetry.maps(photograph.image, y=0, x=1)
    masks = symmetry.maps(photograph.masks, y=1, x=2)
    top, left, height, width = _part(image.shape[0], image.shape[1], rng)
    rows, columns = slice(top, top + height), slice(left, left + width)
    part = masks[:, rows, columns]
    seen, whole = np.array([np.count_nonzero(mask) for mask in part]), photograph.areas
    kept = np.flatnonzero(seen > GONE * whole)
    picked = np.ix_(kept, _middles(height, side), _middles(width, side))
    squares = np.ascontiguousarray(part[picked])
    things = []
    for square, i in zip(squares, kept, strict=True):
        y, x = (np.flatnonzero(part[i].any(axis)) for axis in (1, 0))
        box = (float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1))
        doubtful = seen[i] < CUT * whole[i] or np.count_nonzero(square) < SMALL
        things.append(Thing(photograph.categories[i], box, int(seen[i]), bool(doubtful)))
    shown = cv2.resize(
        np.ascontiguousarray(image[rows, columns]), (side, side), interpolation=cv2.INTER_AREA
    )
    return View(_relit(shown, rng), squares, things, (height, width))


def questions_on(
    view: View, names: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> list[Any]:
    """The view's expressions by rule (`expressions_of`), each as its independent solver reads it."""
    height, width = view.shape
    seen = [{'category': t.category, 'bbox': _xywh(t.box), 'area': t.area} for t in view.things]

    def check(text: str, target: int) -> bool:
        try:
            return solve(text, seen, height=height, width=width, names=names) == {target}
        except NotUnderstood:
            return False

    picture = Picture(view.things, height=height, width=width)
    return expressions_of(picture, names, rng, limits=LIMITS, check=check)


class Photographs:
    """The training pictures of a folder that `convert coco --to rrsisd` wrote.

    Raises:
        UserError: `root` is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not (root / SCENES).is_dir():
            raise UserError(
                f'{root} holds no folder {SCENES!r}: make it by python tools/data/convert.py coco '
                'FILE --images FOLDER --to rrsisd --out OUT'
            )
        self.names = read_json(
            root / 'summary.json', Summary, what='the summary of the photographs'
        ).names
        self.pictures = read_photographs(root, 'train')

    def asked(self, *, images: int, side: int, seed: int) -> Iterator[dict]:
        """Endless batches of `images` views with their questions, as `questions` makes them of
        scenes. A view of which nothing can be said is drawn again."""

        def samples(view: View, rng: np.random.Generator) -> Iterator[RefSegDataSample]:
            for expression in questions_on(view, self.names, rng):
                meta = dict(text=expression.text, meaning=expression.meaning)
                yield _sample(view.masks[expression.target], **meta)

        return self._batches(samples, images=images, side=side, seed=seed)

    def drawn(self, *, images: int, instances: int, side: int, seed: int) -> Iterator[dict]:
        """Endless batches of `images` views with up to `instances` of their masks, for SAM. A view
        that shows no instance of SMALL pixels is drawn again."""

        def samples(view: View, rng: np.random.Generator) -> Iterator[RefSegDataSample]:
            large = [mask for mask in view.masks if mask.sum() >= SMALL]
            for chosen in rng.permutation(len(large))[:instances]:
                yield _sample(large[chosen])

        return self._batches(samples, images=images, side=side, seed=seed)

    def _batches(
        self,
        samples_of: Callable[[View, np.random.Generator], Iterator[RefSegDataSample]],
        *,
        images: int,
        side: int,
        seed: int,
    ) -> Iterator[dict]:
        rng = np.random.default_rng(seed)
        order = _endless(len(self.pictures), rng)
        while True:
            batch: dict = {'inputs': [], 'data_samples': []}
            index: list[int] = []
            while len(batch['inputs']) < images:
                view = view_of(self.pictures[next(order)], side, rng)
                samples = list(samples_of(view, rng))
                if not samples:
                    continue
                batch['data_samples'] += samples
                index += [len(batch['inputs'])] * len(samples)
                # (H, W, 3) -> (3, H, W)
                batch['inputs'].append(torch.from_numpy(view.image.transpose(2, 0, 1).copy()))
            yield {**batch, 'image_index': torch.tensor(index), 'image_ids': torch.tensor(index)}


def _sample(mask: np.ndarray, **meta: Any) -> RefSegDataSample:
    sample = RefSegDataSample(metainfo=meta)
    sample.gt_mask = torch.from_numpy(mask)
    return sample


def _endless(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()


def _part(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part."""
    aspect = float(np.exp(rng.uniform(*np.log(ASPECT))))
    rows = min(1.0, float(rng.uniform(*SCALE))) * height
    columns = min(float(width), aspect * rows)
    rows = max(1, round(min(rows, columns / ASPECT[0])))
    columns = max(1, round(columns))
    return (
        int(rng.integers(height - rows + 1)),
        int(rng.integers(width - columns + 1)),
        rows,
        columns,
    )


def _relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another contrast, brightness and tint; (H, W, 3) uint8."""
    mean, gain = image.mean(), rng.uniform(0.8, 1.25)
    tint = rng.uniform(0.92, 1.08, 3)
    offset = mean * (tint - gain) + rng.uniform(-25, 25)
    grey = np.arange(256)[:, None]
    curves = (grey * gain + offset).clip(0, 255).astype(np.uint8)  # (256, 3)
    return np.stack([curves[image[..., c], c] for c in range(3)], axis=-1)


def _middles(length: int, side: int) -> np.ndarray:
    """Of `length` pixels those at the middles of `side` equal cells."""
    return ((np.arange(side) + 0.5) * length / side).astype(int)


def _xywh(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
