"""Ratios against the plain way, in one process: a training step, many sentences, a test, Eq. 7.

    python tools/benchmarks/speed.py step configs/synthrs_tiny.py
    python tools/benchmarks/speed.py image configs/rrsisd_siglip2_sam21l.py --sentences 15 --lever "bf16 towers"
    python tools/benchmarks/speed.py test configs/synthrs_tiny.py
    python tools/benchmarks/speed.py dense configs/rrsisd_siglip2_sam21l.py

step: 4 images x 6 sentences, plain: every layer as its equation is written. image: N sentences on
one image; plain: N calls with one each, in written forms. test: 100 scenes x 18 sentences of which
150 are different, in batches; plain: one call a sentence, in written forms, of --scenes scenes.
dense: Eq. 7's cosine of 2 sentences, forward and backward; plain: d1 channels upsampled as it is
printed; with the peak of memory of each.
--lever: of `rsrefseg2 bench`, for the fast side of image and test. --calls: fewer of the plain calls.
The pictures are noise. Both sides take turns; seconds are this process's on the CPU, with one
thread, which others on the machine disturb least (with --device cuda the clock's). The ratio is the
median of the turns' ratios; the difference is the largest of the logits over their largest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import Tensor

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.engine import load_config
from rsrefseg2.models.prompter.dense_prompt import upsampled_cosine
from rsrefseg2.models.towers.plain_forms import plain_forms
from rsrefseg2.options import add_shared
from rsrefseg2.profiling.bench import (
    LEVERS,
    agreement_of,
    make_optimizer,
    make_work,
    relative_difference,
    train_step,
)
from rsrefseg2.profiling.complexity import build_on_meta
from rsrefseg2.profiling.machine import Clock, now, peak_memory, reset_peak
from rsrefseg2.registry import MODELS, SCOPE
from rsrefseg2.structures import RefSegDataSample

SCENES, PER_SCENE, DIFFERENT = 100, 18, 150


def items(scenes: int, per_scene: int, different: int, side: int) -> list[dict]:
    """Items as the data set gives them: `scenes` pictures of noise, their sentences in turn."""
    work = make_work(scenes, different, side, torch.device('cpu'))
    found = []
    for k in range(scenes * per_scene):
        text, path = work.sentences[k * 7 % different], f'{k // per_scene}.png'
        facts = dict(sample_id=str(k), img_path=path, text=text, category=None)
        sample = RefSegDataSample(metainfo=dict(facts, ori_shape=(side, side)))
        found.append(dict(inputs=work.images[k // per_scene], data_samples=sample))
    return found


def predictions(model: Any, given: list[dict], batch: int, found: list[Tensor]) -> None:
    """The test's own steps on batches of the given items; the logits of each sentence."""
    keep = model.masks

    def masks(logits: Tensor, shapes: list) -> list[Tensor]:
        found.extend(logits.float().cpu())
        return keep(logits, shapes)

    model.masks = masks
    try:
        with torch.no_grad():
            for start in range(0, len(given), batch):
                model.test_step(unique_images_collate(given[start : start + batch]))
    finally:
        del model.masks


def literal_cosine(
    features: Tensor, text: Tensor, size: tuple[int, int], *, align_corners: bool
) -> Tensor:
    """Eq. 7 as printed: upsample d1 channels, norm, dot product."""
    upsampled = F.interpolate(features, size, mode='bilinear', align_corners=align_corners)
    return torch.einsum('bchw,bc->bhw', F.normalize(upsampled, dim=1), F.normalize(text, dim=1))


def dense_sides(args: argparse.Namespace, model: Any) -> tuple[Callable, Callable, int]:
    """As `sides_of`, of a model without data: the cosine map and its gradients, each over its
    largest value."""
    size = model.mask_generator.prompt_size
    shapes = (2, model.encoder.d1, *model.encoder.grid_size), (2, model.encoder.d1), (2, *size)
    features, text, weights = (torch.randn(shape, device=args.device) for shape in shapes)
    leaves = [features.requires_grad_(), text.requires_grad_()]

    def side(form: Callable) -> Callable:
        def forward_and_backward(found: list[Tensor]) -> None:
            cosine = form(features, text, size, align_corners=False)
            gradients = torch.autograd.grad((cosine * weights).sum(), leaves)
            found += [one.detach() / one.detach().abs().max() for one in (cosine, *gradients)]

        return forward_and_backward

    return side(literal_cosine), side(upsampled_cosine), 1


def sides_of(args: argparse.Namespace, model: Any) -> tuple[Callable, Callable, float]:
    """plain, fast: functions that append logits to a list; how many more sentences fast takes."""
    if args.case == 'dense':
        return dense_sides(args, model)
    if args.case == 'step':
        model.train()
        work, clock = make_work(4, 24, args.side, args.device), Clock(args.device)
        optimizer = make_optimizer(model)

        def step(found: list[Tensor]) -> None:
            train_step(model, work, optimizer, clock)

        return step, step, 1
    model.eval()
    if args.case == 'image':
        given = items(1, args.sentences, args.sentences, args.side)
        return (
            lambda found: predictions(model, given[: args.calls], 1, found),
            lambda found: predictions(args.fast, given, args.sentences, found),
            args.sentences / min(args.calls or args.sentences, args.sentences),
        )
    given = items(SCENES, PER_SCENE, DIFFERENT, args.side)
    some = given[: args.scenes * PER_SCENE]

    def fast(found: list[Tensor]) -> None:
        with args.fast.remembering():
            predictions(args.fast, given, args.batch, found)

    return lambda found: predictions(model, some, 1, found), fast, SCENES // args.scenes


def measure(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Both sides in turn -> seconds, ratio, and what the masks say."""
    plain, fast, more = sides_of(args, model)
    clock = (lambda: now(args.device)) if args.device.type == 'cuda' else time.process_time
    seconds: dict[str, list[float]] = {'plain': [], 'fast': []}
    logits: dict[str, list[Tensor]] = {'plain': [], 'fast': []}
    peaks: dict[str, int] = {}
    for turn in range(args.turns + 1):
        for name, side in (('fast', fast), ('plain', plain)):
            logits[name].clear()
            reset_peak(args.device)
            before, start = peak_memory(args.device), clock()
            with plain_forms(name == 'plain'):
                side(logits[name])
            if turn or not args.turns:  # the first warms up
                seconds[name].append((clock() - start) * (more if name == 'plain' else 1))
            if not turn:  # later the allocator holds what both have used
                peaks[name] = peak_memory(args.device) - before
    ratios = [a / b for a, b in zip(seconds['plain'], seconds['fast'], strict=True)]
    row: dict[str, Any] = {name: statistics.median(values) for name, values in seconds.items()}
    row.update(ratio=statistics.median(ratios), least=min(ratios), largest=max(ratios))
    row['peak_mib'] = {name: value / 2**20 for name, value in peaks.items()}
    if logits['plain']:
        both = logits['fast'][: len(logits['plain'])], logits['plain']
        row.update(difference=relative_difference(*both), agreement=agreement_of(*both))
    return row


def build_model(args: argparse.Namespace, lever: str) -> Any:
    """The config's model with a lever's keys, the same weights each time."""
    torch.manual_seed(0)
    config = load_config(args.config, options={**(args.cfg_options or {}), **LEVERS[lever]})
    with DefaultScope.overwrite_default_scope(SCOPE):
        return MODELS.build(config.model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('case', choices=('step', 'image', 'test', 'dense'))
    parser.add_argument('config')
    parser.add_argument('--sentences', type=int, default=15)
    parser.add_argument('--calls', type=int, help='of plain for the image; times the rest')
    parser.add_argument('--batch', type=int, default=24, help='sentences, of the test')
    parser.add_argument('--scenes', type=int, default=5, help='that are asked one call a sentence')
    parser.add_argument('--side', type=int, default=192, help='of a picture')
    parser.add_argument('--turns', type=int, default=9, help='0: one turn, cold')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--lever', choices=LEVERS, default='eager', help='of the fast side of image and test'
    )
    add_shared(parser, 'cfg-options')
    args = parser.parse_args()
    args.device = torch.device(args.device)
    torch.set_num_threads(1)
    if args.case == 'dense':  # its sizes alone
        model = build_on_meta(load_config(args.config, options=args.cfg_options).model)
    else:
        both = (build_model(args, lever).to(args.device) for lever in ('eager', args.lever))
        model, args.fast = both
        args.fast.eval().for_prediction()
    print(json.dumps(measure(args, model), indent=1))


if __name__ == '__main__':
    main()
