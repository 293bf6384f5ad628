"""An exported model, by onnxruntime or by AOTInductor, against torch eager, in one process.

python tools/benchmarks/exported.py CONFIG CHECKPOINT [--formats onnx aoti] [--threads 1] [--json]

The same picture and sentences for `Predictor`, for `Predictor` with LoRA merged, and for the
predictors of the exported graphs, in turns: medians of the seconds by the clock and of processor time (which a busy
machine inflates less), for a picture (`encode`) and for its sentences (`predict`). Beside the
ratios to the first: the largest difference of the logits and the agreement of the masks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsrefseg2.apis import Predictor
from rsrefseg2.deployment.export_graphs import export
from rsrefseg2.deployment.onnx_predictor import OnnxPredictor
from rsrefseg2.deployment.torch_predictor import TorchPredictor
from rsrefseg2.engine import load_config
from rsrefseg2.publishing.export_towers import merge_towers
from rsrefseg2.synthrs.generation.generate import make_scene
from rsrefseg2.tables import plain_table

EAGER, MERGED = 'torch eager', 'LoRA merged'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--formats', nargs='+', choices=('onnx', 'torch', 'aoti'), default=['onnx'])
    parser.add_argument('--sentences', type=int, default=6, help='asked of a picture')
    parser.add_argument('--pictures', type=int, default=3, help='SynthRS scenes that differ')
    parser.add_argument('--repeats', type=int, default=7, help='timed runs of each picture')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--json', action='store_true', help='print one JSON object and no table')
    return parser.parse_args()


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, its seconds, and its seconds of processor time."""
    start, cpu_start = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - start, time.process_time() - cpu_start


def measure(args: argparse.Namespace, predictors: dict[str, Any]) -> dict[str, dict]:
    """name -> medians, ratios to EAGER, and how the answers differ from EAGER's."""
    scenes = [
        make_scene(seed=77, split='test', index=index, size=512) for index in range(args.pictures)
    ]
    names = 'encode', 'encode_cpu', 'predict', 'predict_cpu'
    times: dict[str, dict[str, list]] = {name: {key: [] for key in names} for name in predictors}
    answers: dict[str, list] = {name: [] for name in predictors}
    for scene, found in scenes:
        asked = [one.text for one in found]
        asked = (asked * args.sentences)[: args.sentences]
        for repeat in range(args.repeats + 1):
            for name, predictor in predictors.items():
                image, *encode = timed(lambda p=predictor, i=scene.image: p.encode(i))
                given, *predict = timed(lambda p=predictor, s=asked, i=image: p.predict(s, i))
                if repeat == 0:  # untimed: it warms up
                    answers[name] += given
                    continue
                for key, seconds in zip(names, (*encode, *predict), strict=True):
                    times[name][key].append(seconds)
    result: dict[str, dict] = {}
    for name in predictors:
        result[name] = {key: statistics.median(values) for key, values in times[name].items()}
        plain = result[EAGER]
        result[name]['ratios'] = {key: plain[key] / result[name][key] for key in names}
        pairs = list(zip(answers[name], answers[EAGER], strict=True))
        result[name]['largest_difference'] = max(
            float(np.abs(a.logits - b.logits).max() / np.abs(b.logits).max()) for a, b in pairs
        )
        result[name]['agreement'] = float(np.mean([(a.mask == b.mask).mean() for a, b in pairs]))
    return result


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    config = load_config(args.config)
    config.model.test_symmetries = None  # an exported model takes one pass
    predictors: dict[str, Any] = {
        EAGER: Predictor(config, args.checkpoint, 'cpu'),
        MERGED: Predictor(config, args.checkpoint, 'cpu'),
    }
    merge_towers(predictors[MERGED].model)
    with tempfile.TemporaryDirectory() as temporary:
        for form in args.formats:
            folder = Path(temporary) / form
            export(config, args.checkpoint, folder, form)
            predictors[form] = (
                OnnxPredictor(folder, threads=args.threads)
                if form == 'onnx'
                else TorchPredictor(folder)
            )
        result = measure(args, predictors)
    if args.json:
        print(json.dumps(result))
        return
    print(f'{args.sentences} sentences a picture, {args.threads} threads; ms, medians')
    rows = [
        (
            name,
            *(f'{1000 * one[key]:.1f}' for key in ('encode', 'encode_cpu')),
            f'{one["ratios"]["encode_cpu"]:.2f}',
            *(f'{1000 * one[key]:.1f}' for key in ('predict', 'predict_cpu')),
            f'{one["ratios"]["predict_cpu"]:.2f}',
            f'{one["largest_difference"]:.1e}',
            f'{one["agreement"]:.6f}',
        )
        for name, one in result.items()
    ]
    head = 'encode', 'cpu', 'ratio', 'predict', 'cpu', 'ratio', 'logits differ', 'masks agree'
    print(plain_table(('', *head), rows))


if __name__ == '__main__':
    main()
