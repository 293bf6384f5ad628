"""Where a sweep's time goes, and its memory beyond the model's: a raster of --side pixels.

    python tools/benchmarks/sweep.py [--side 10000] [--sentences 1]

A GeoTIFF of SynthRS scenes side by side is written, swept with the shipped demo model and answered
as mask and polygons. The demo's towers are tiny, so that the share of all else is the largest that
any model will see. Seconds are processor time of the thread that does the part; memory is the resident peak.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from rsrefseg2.apis import Predictor
from rsrefseg2.apis.prediction_files import Files, Outputs, names_of, write_answer
from rsrefseg2.apis.sources import open_source
from rsrefseg2.apis.viewer import Viewer
from rsrefseg2.cli.predict_command import demo_model
from rsrefseg2.synthrs.generation.generate import make_scene

SIDE = 128
SENTENCES = ('the small swimming pool', 'the red ship', 'the tennis court', 'the white building')
seconds: dict[str, float] = defaultdict(float)


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            seconds[name] += time.thread_time() - start

    return run


def write_raster(path: Path, side: int) -> None:
    scenes = [make_scene(seed=0, split='test', index=k)[0].image for k in range(16)]
    profile = dict(driver='GTiff', dtype='uint8', count=3, width=side, height=side, tiled=True)
    where = dict(crs='EPSG:32633', transform=from_origin(500000, 5000000, 0.5, 0.5))
    with rasterio.open(path, 'w', **profile, **where) as file:
        order = np.random.default_rng(0)
        for top in range(0, side, SIDE):
            row = np.concatenate(
                [scenes[k] for k in order.integers(0, 16, -(-side // SIDE))], axis=1
            )[: side - top, :side]
            window = rasterio.windows.Window(0, top, side, len(row))
            file.write(np.moveaxis(row, -1, 0), window=window)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--side', type=int, default=10_000)
    parser.add_argument('--sentences', type=int, default=1, choices=range(1, len(SENTENCES) + 1))
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor(*demo_model(), 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'scene.tif')
        write_raster(path, args.side)
        with open_source(str(path)) as source:
            texts = list(SENTENCES[: args.sentences])
            tile = source.whole._replace(width=SIDE, height=SIDE)
            Viewer(predictor, source, tile).ask(texts, 'sweep')  # caches are warm
            before = peak()
            predictor.encode = timed('image towers', predictor.encode)  # type: ignore[method-assign]
            predictor.segment_scored = timed('sentences', predictor.segment_scored)  # type: ignore[method-assign]
            source.view = timed('reading', source.view)  # type: ignore[method-assign]
            start = time.thread_time()
            viewer = Viewer(predictor, source)
            answers = viewer.ask(texts, 'sweep')
            own = sum(value for name, value in seconds.items() if name != 'reading')  # by a thread
            seconds['blending'] = time.thread_time() - start - own
            names = names_of(source, Outputs())
            files = Files(
                'benchmark',
                [{n: Path(folder, f'{k}{end}') for n, end in names.items()} for k in range(9)],
            )
            start = time.thread_time()
            for k, answer in enumerate(answers):
                facts = {'sentence': answer.text, 'source': path.name}
                found = write_answer(files, k, source, source.whole, answer, facts)
                print(f'"{answer.text}": {found}')
            seconds['mask, polygons, panel'] = time.thread_time() - start
    total = sum(seconds.values())
    tiles = len(viewer.tiles()[0]) * len(viewer.tiles()[1])
    print(f'{args.side} x {args.side} pixels, {tiles} tiles, {len(texts)} sentences')
    for name, value in seconds.items():
        print(f'{name:24} {value:8.1f} s {100 * value / total:6.1f} %')
    rest = 1 - (seconds['image towers'] + seconds['sentences']) / total
    print(f'beside the model         {100 * rest:16.1f} %')
    print(f'resident memory: {before:.0f} MiB with the model, {peak() - before:.0f} MiB more')


if __name__ == '__main__':
    main()
