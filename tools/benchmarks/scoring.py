"""Milliseconds of scoring an 800 x 800 mask by part, on one core, and memory over a whole split.

    python tools/benchmarks/scoring.py [--size 800] [--repeats 50] [--samples 16158]

Each part is timed on masks of blobs with noisy edges; the ratio is to the literal way in the same
process: upsample to float, threshold, and count with float sums. Then scoring's share beside the
tiny model's forward; and `--samples` fabricated samples go through the metric, with resident memory
printed as it goes.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MMLogger
from torch.nn import functional as F

from rsrefseg2.engine import load_config
from rsrefseg2.evaluation import PROTOCOLS, RefSegMetric, coarse_localisation, mask_agreement
from rsrefseg2.models.losses.segmentation import upsample
from rsrefseg2.registry import MODELS
from rsrefseg2.rle import encode
from rsrefseg2.structures import RefSegDataSample


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """The median of `repeats` runs, in CPU time of this thread: other work does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1000 * statistics.median(times)


def resident_mib() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096 / 2**20


def logits(seed: int) -> torch.Tensor:
    """(256, 256) float32: a few smooth blobs."""
    noise = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (256, 256), mode='bicubic')[0, 0] - 0.7


def coarse_edge(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the 8 x 8 blocks through which the mask's outline passes."""
    blocks = mask.reshape(mask.shape[0] // 8, 8, mask.shape[1] // 8, 8).mean(axis=(1, 3))
    return np.kron((blocks > 0) & (blocks < 1), np.ones((8, 8))) > 0


def parts(size: int, repeats: int) -> None:
    low, shape = logits(0), (size, size)
    pred = (upsample(low[None], shape)[0] > 0).numpy()
    gt = (upsample(logits(1)[None], shape)[0] > 0).numpy()
    edge = coarse_edge(gt)
    gt[edge] ^= np.random.default_rng(0).random(edge.sum()) < 0.3  # RRSIS-D's edges are noisy
    dense, paper = low.numpy(), PROTOCOLS['paper']
    found = {
        'upsampling': milliseconds(lambda: upsample(low[None], shape)[0] > 0, repeats),
        'overlap': milliseconds(lambda: paper.overlap(pred, gt, location=''), repeats),
        'RLE of both masks (dump)': milliseconds(lambda: (encode(pred), encode(gt)), repeats),
        'coarse localisation (dump)': milliseconds(lambda: coarse_localisation(dense, gt), repeats),
        'mask agreement (dump)': milliseconds(lambda: mask_agreement(dense, pred), repeats),
    }

    def literal():
        p = F.interpolate(low[None, None], shape, mode='bilinear', align_corners=False)
        p, g = (p[0, 0].sigmoid() > 0.5).float(), torch.from_numpy(gt).float()
        return (p * g).sum().item(), ((p + g) > 0).float().sum().item()

    reference = milliseconds(literal, repeats)
    total = sum(found.values())
    print(f'{size} x {size}, {torch.get_num_threads()} thread, median of {repeats}')
    for name, value in found.items():
        print(f'  {name:28} {value:7.2f} ms')
    print(
        f'  {"in all":28} {total:7.2f} ms; without a dump '
        f'{found["upsampling"] + found["overlap"]:.2f} ms, '
        f'{(found["upsampling"] + found["overlap"]) / reference:.2f} of the literal way '
        f'({reference:.2f} ms)'
    )


def share_of_tiny(config: str, repeats: int) -> None:
    """Scoring beside the tiny model's forward: 4 images x 6 sentences of 128 x 128, with a dump."""
    model = MODELS.build(load_config(config).model).eval()
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8, generator=generator)
        for _ in range(4)
    ]
    index = torch.arange(24) // 6
    mask = upsample(logits(1)[None], (128, 128))[0] > 0
    samples = [
        RefSegDataSample(
            metainfo=dict(
                sample_id=str(i),
                img_path=f'{i // 6}.jpg',
                category='ship',
                ori_shape=(128, 128),
                text='the ship on the right of the small plane',
            )
        )
        for i in range(24)
    ]
    for sample in samples:
        sample.gt_mask = mask
    batch = model.data_preprocessor(
        dict(inputs=images, image_index=index, image_ids=index, data_samples=samples)
    )
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        outputs = model(**batch, mode='tensor')
        forward = milliseconds(lambda: model(**batch, mode='tensor'), repeats)
        metric = RefSegMetric(dump=f'{folder}/dump.jsonl')

        def score():
            metric.process({}, [s.to_dict() for s in model.predict(outputs, samples)])

        scoring = milliseconds(score, repeats)
    print(
        f'tiny model, 24 sentences on 4 images of 128 x 128: forward {forward:.0f} ms, '
        f'upsampling and scoring with a dump {scoring:.0f} ms, '
        f'{100 * scoring / (forward + scoring):.0f} % of both'
    )


def memory(samples: int, dump: str | None) -> None:
    metric = RefSegMetric(dump=dump)
    rng = np.random.default_rng(0)
    shape, started = (200, 200), time.perf_counter()
    marks = {1 + round(k * (samples - 1) / 4) for k in range(5)}
    print(
        f'{samples} samples of {shape[0]} x {shape[1]} through the metric, '
        + ('with a dump' if dump else 'without a dump')
    )
    for index in range(samples):
        gt = torch.zeros(shape, dtype=torch.bool)
        a, b = rng.integers(0, 150, size=2)
        gt[a : a + 50, b : b + 40] = True
        metric.process(
            {},
            [
                dict(
                    sample_id=f'test_{index}_0',
                    img_path=f'img_rgb/test_{index}_0.png',
                    category='ship',
                    text='the ship on the upper right',
                    pred_mask=gt.roll(5, 0),
                    gt_mask=gt,
                )
            ],
        )
        if index + 1 in marks:
            print(f'  after {index + 1:6} samples: {resident_mib():7.1f} MiB resident')
    metric.evaluate(samples)
    print(
        f'  after the scores       : {resident_mib():7.1f} MiB resident, '
        f'{1000 * (time.perf_counter() - started) / samples:.2f} ms a sample'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=800, help='a multiple of 8')
    parser.add_argument('--repeats', type=int, default=50)
    parser.add_argument('--samples', type=int, default=16158, help="RISBench's test split")
    parser.add_argument('--config', default='configs/synthrs_tiny.py', help='of the tiny model')
    parser.add_argument('--dump', help='write the fabricated samples to this file, too')
    args = parser.parse_args()
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # the tables are not the point here
    parts(args.size, args.repeats)
    share_of_tiny(args.config, 10)
    memory(args.samples, args.dump)


if __name__ == '__main__':
    main()
