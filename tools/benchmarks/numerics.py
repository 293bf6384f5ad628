"""What each lever of prediction does to the masks of a whole test split, against float32.

    python tools/benchmarks/numerics.py demo/demo_tiny.py demo/demo_tiny-30318926.pth
    python tools/benchmarks/numerics.py CONFIG CHECKPOINT --levers "bf16 towers" --samples 60

Every lever of `rsrefseg2 bench` predicts the same samples by the test's own steps, one after the
other in one process. gIoU is the mean IoU with the annotation, in percent; agreement the mean IoU with float32's
masks (1 where both are empty), pixels the share of equal ones. Seconds are this process's on the
CPU, scoring and decoding of pictures left out.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.engine import load_config, load_model
from rsrefseg2.errors import report_user_errors
from rsrefseg2.evaluation import PROTOCOLS
from rsrefseg2.options import add_model, add_shared, positive
from rsrefseg2.profiling.bench import LEVERS
from rsrefseg2.registry import DATASETS, SCOPE
from rsrefseg2.tables import plain_table

FIRST = 'eager'
DEFAULT = ('compiled', 'bf16 weights', 'bf16 towers', 'int8 towers')


class Masks(NamedTuple):
    """A lever's answers."""

    predicted: list[np.ndarray]  # packed bits
    ious: list[float]  # with the annotation
    seconds: float


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks, 1 where both are empty."""
    both, either = PROTOCOLS['paper'].overlap(one, other, location='a mask')
    return both / either if either else 1.0


def predict(config: Config, args: argparse.Namespace, lever: str) -> Masks:
    """The test's steps with a lever."""
    changed = copy.deepcopy(config)
    changed.merge_from_dict(LEVERS[lever])
    model = load_model(changed, args.checkpoint, args.device)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    count = min(args.samples or len(dataset), len(dataset))
    found, seconds = Masks([], [], 0.0), 0.0
    with model.remembering():
        for start in range(0, count, args.batch):
            items = [dataset[k] for k in range(start, min(start + args.batch, count))]
            began = time.process_time()
            samples = model.test_step(unique_images_collate(items))
            seconds += time.process_time() - began
            for sample in samples:
                mask = sample.pred_mask.cpu().numpy()
                found.predicted.append(np.packbits(mask))
                found.ious.append(iou(mask, sample.gt_mask.cpu().numpy()))
    return found._replace(seconds=seconds)


def compared(one: Masks, first: Masks) -> dict[str, Any]:
    """A row of the table."""
    pairs = [
        tuple(np.unpackbits(bits).astype(bool) for bits in both)
        for both in zip(one.predicted, first.predicted, strict=True)
    ]
    return dict(
        samples=len(pairs),
        giou=100 * float(np.mean(one.ious)),
        agreement=float(np.mean([iou(*pair) for pair in pairs])),
        pixels=float(np.mean([(a == b).mean() for a, b in pairs])),
        seconds=one.seconds,
        ratio=first.seconds / one.seconds,
    )


@report_user_errors()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model(parser)
    parser.add_argument('--levers', nargs='+', choices=LEVERS, default=DEFAULT, metavar='LEVER')
    parser.add_argument('--samples', type=positive, help='the first ones (default: all)')
    parser.add_argument('--batch', type=positive, default=24, help='sentences (%(default)s)')
    parser.add_argument('--threads', type=positive, default=1)
    add_shared(parser, 'device', default='cpu')
    add_shared(parser, 'json', help='print one JSON object')
    add_shared(parser, 'cfg-options')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = load_config(args.config, options=args.cfg_options)
    rows = {}
    with DefaultScope.overwrite_default_scope(SCOPE):
        first = predict(config, args, FIRST)
        rows[FIRST] = compared(first, first)
        for lever in args.levers:
            rows[lever] = compared(predict(config, args, lever), first)
    if args.json:
        print(json.dumps(rows))
        return
    shown = [
        (
            name,
            f'{row["giou"]:.2f}',
            f'{row["agreement"]:.4f}',
            f'{row["pixels"]:.5f}',
            f'{row["ratio"]:.2f}',
        )
        for name, row in rows.items()
    ]
    title = f'{rows[FIRST]["samples"]} samples'
    print(plain_table(('', 'gIoU', 'agreement', 'pixels', 'ratio'), shown, title=title))


if __name__ == '__main__':
    main()
