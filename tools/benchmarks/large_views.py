"""gIoU and object hit of whole, zoom and sweep on views that are larger than the training's.

    python tools/benchmarks/large_views.py [--scenes 25] [--factors 1 2 4 8] [--json OUT]
                                           [--config CONFIG --checkpoint PTH]

SynthRS's test scenes, drawn at `factor` times the side. "view": objects as large in the view as in
training, so larger in pixels. "pixels": objects as large in pixels, so smaller in the view. `one
look closer` is zoom that stops after its second look; `outline alone` keeps of the first look the
dense prompt alone: the second look's SigLIP is not asked. By default the shipped demo model.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from pycocotools import mask as coco_mask

from rsrefseg2.apis import Predictor
from rsrefseg2.apis.sources import open_source
from rsrefseg2.apis.viewer import Viewer, known_before
from rsrefseg2.cli.predict_command import demo_model
from rsrefseg2.diagnostics.object_metric import hit_object
from rsrefseg2.files import write_text
from rsrefseg2.options import LEVELS
from rsrefseg2.rasters import Surface, surface_over
from rsrefseg2.records import to_json
from rsrefseg2.synthrs.generation.generate import make_scene
from rsrefseg2.tables import plain_table

SIDE = 128  # of a training scene
WAYS = ('whole', 'outline alone', 'one look closer', 'zoom', 'sweep')


def surfaces(viewer: Viewer, sentences: list[str]) -> dict[str, list[Surface]]:
    """The answer to each sentence by each way."""
    found = {
        'whole': [answer.surface for answer in viewer.ask(sentences, 'whole')],
        'outline alone': [outline_alone(viewer, text) for text in sentences],
        'zoom': [],
        'one look closer': [],
        'sweep': [answer.surface for answer in viewer.ask(sentences, 'sweep')],
    }
    for text, (logits, dense) in zip(
        sentences, viewer.predictor.segment(sentences, viewer.encoded), strict=True
    ):
        looks = [(viewer.window, logits)]
        looks += [(look.window, look.logits) for look in viewer.look_closer(text, logits, dense)]
        found['zoom'].append(surface_over(*looks[-1]))
        found['one look closer'].append(surface_over(*looks[:2][-1]))
    return found


def outline_alone(viewer: Viewer, text: str) -> Surface:
    """SAM draws in the part that the first look points at, from that look's prompts alone."""
    predictor, model = viewer.predictor, viewer.predictor.model
    ((logits, dense),) = predictor.segment([text], viewer.encoded)
    look = viewer.next_look(viewer.window, logits, dense)
    if dense is None or look == viewer.window:
        return surface_over(viewer.window, logits)
    image = predictor.encode(viewer.source.view(look, most_side=2048).image)
    with torch.inference_mode():
        ids, lengths = model.data_preprocessor.tokenize([text])
        index = torch.zeros_like(lengths)
        first = model.segment(viewer.encoded.features, index, ids, lengths).prompts
        peak = float(dense.max())
        there = known_before(dense, viewer.window, look) + peak
        drawn = model.mask_generator(
            image.features.image_embeddings,
            image.features.high_resolution_features,
            first.p_sparse,
            torch.from_numpy(there)[None],
        )
    return surface_over(look, drawn[0].numpy())


def scores(
    predictor: Predictor, factor: int, kind: str, scenes: int
) -> Iterator[tuple[str, str, float, bool]]:
    """(way, level, IoU, object hit) of each sentence."""
    for index in range(scenes):
        scene, spoken = make_scene(
            seed=0,
            split='test',
            index=index,
            size=SIDE * factor,
            object_scale=1 if kind == 'view' else 1 / factor,
        )
        masks = [coco_mask.decode(thing.rle) > 0 for thing in scene.things]
        viewer = Viewer(predictor, open_source(scene.image))
        everything = slice(0, SIDE * factor)
        for way, answers in surfaces(viewer, [one.text for one in spoken]).items():
            for one, surface in zip(spoken, answers, strict=True):
                found = surface.at(everything, everything) > 0
                union = np.count_nonzero(found | masks[one.target])
                iou = np.count_nonzero(found & masks[one.target]) / union if union else 0.0
                yield way, one.level, iou, hit_object(found, masks) == one.target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=25)
    parser.add_argument('--factors', type=int, nargs='+', default=[1, 2, 4, 8])
    parser.add_argument('--config')
    parser.add_argument('--checkpoint')
    parser.add_argument('--json')
    args = parser.parse_args()
    config, checkpoint = (args.config, args.checkpoint) if args.config else demo_model()
    predictor = Predictor(config, checkpoint, 'cpu')
    rows, records = [], []
    for factor, kind in itertools.product(args.factors, ('view', 'pixels')):
        if factor == 1 and kind == 'pixels':
            continue
        start, by_way = time.perf_counter(), defaultdict(list)
        for way, level, iou, hit in scores(predictor, factor, kind, args.scenes):
            by_way[way].append((level, iou, hit))
        print(f'{factor} x, {kind}: {time.perf_counter() - start:.0f} s', flush=True)
        for way in WAYS:
            found = by_way[way]
            record = {
                'factor': factor,
                'objects': kind,
                'way': way,
                'sentences': len(found),
                'gIoU': 100 * float(np.mean([iou for _, iou, _ in found])),
                'object_hit': 100 * float(np.mean([hit for *_, hit in found])),
                **{
                    level: 100 * float(np.mean([iou for at, iou, _ in found if at == level]))
                    for level in LEVELS
                },
            }
            records.append(record)
            rows.append(
                [f'{factor} x, {kind}', way]
                + [f'{record[name]:.1f}' for name in ('gIoU', 'object_hit', *LEVELS)]
            )
    print(plain_table(['view', 'way', 'gIoU', 'object hit', *LEVELS], rows))
    if args.json:
        write_text(args.json, to_json(records, indent=1) + '\n')


if __name__ == '__main__':
    main()
