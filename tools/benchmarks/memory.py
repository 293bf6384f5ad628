"""What each memory lever spares: step time and memory, every case in a process of its own.

    python tools/benchmarks/memory.py configs/rrsisd_siglip2_sam21l.py --device cuda --images 8
    python tools/benchmarks/memory.py configs/rrsisd_siglip2_sam21l.py --count --images 8

Random weights, optimisation steps as in training. Printed by case, with the ratio to the first:
`weights`, all of them; `saved`, what the forward pass keeps for the backward pass, counted to the
byte, weights left out; `grad+opt`, gradients and optimizer states; `peak`, of the steps: allocated
on a GPU, resident in this process on a CPU; the median step's seconds.

A CPU's peak holds the interpreter and what the allocator keeps, about 1 GiB, too.

--count runs the forward pass on tensors without data, as on a CPU: any size, a minute a case, no
peak. A GPU's autocast keeps norms in float32, so there `saved` is somewhat larger in BF16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.engine import load_config
from rsrefseg2.engine.optim import group_parameters
from rsrefseg2.errors import UserError, report_user_errors
from rsrefseg2.models import ModelInputs
from rsrefseg2.options import add_shared
from rsrefseg2.profiling.complexity import build_on_meta
from rsrefseg2.registry import MODELS
from rsrefseg2.structures import RefSegDataSample

VISION = {'model.siglip.vision_recompute': True}
RECOMPUTE = {**VISION, 'model.siglip.text_recompute': True, 'model.sam.recompute': True}
AUTOCAST = {'model.autocast': 'bfloat16'}
FROZEN = {**AUTOCAST, 'model.frozen_dtype': 'bfloat16'}
CASES: dict[str, dict] = {
    'baseline': {},
    'sam stages 1-2': {'model.sam.recompute': [1, 2]},
    'sam': {'model.sam.recompute': True},
    'siglip vision': VISION,
    'recompute all': RECOMPUTE,
    'half batch x 2': {},  # optim_wrapper.accumulative_counts=2
    'autocast': AUTOCAST,
    'autocast, frozen bf16': FROZEN,
    'all of them': {**RECOMPUTE, **FROZEN},
    'states of all weights': {},  # not a lever: what an optimizer of every parameter would hold
}
WORDS = 10  # of a sentence, where tensors have no data
COLUMNS = ('weights', 'saved', 'grad+opt', 'peak')


def samples(images: int, sentences: int, size: int = 800) -> list[RefSegDataSample]:
    """Sentences in turn on the images, each with a square of its own."""
    found = []
    for i in range(sentences):
        sample = RefSegDataSample(
            metainfo=dict(
                sample_id=str(i),
                img_path=f'{i % images}.jpg',
                category=None,
                ori_shape=(size, size),
                text=('A ship on the upper right', 'the vehicle on the right of the airplane')[
                    i % 2
                ],
            )
        )
        sample.gt_mask = torch.zeros(size, size, dtype=torch.bool)
        sample.gt_mask[50 + i * 20 % 400 : 300 + i * 20 % 400, 150:400] = True
        found.append(sample)
    return found


def batch(images: int, sentences: int, size: int = 800) -> dict:
    """A batch as the loader gives it, of noise."""
    pictures = [torch.randint(0, 256, (3, size, size), dtype=torch.uint8) for _ in range(images)]
    return unique_images_collate(
        [
            dict(inputs=pictures[i % images], data_samples=sample)
            for i, sample in enumerate(samples(images, sentences, size))
        ]
    )


class Saved:
    """Bytes that the forward passes below `count` keep for backward: each storage once, however
    many views of it are kept; the model's own weights not at all."""

    def __init__(self, model: nn.Module) -> None:
        self._own = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
        self._storages: dict[int, tuple] = {}

    @property
    def nbytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())

    @contextmanager
    def count(self) -> Iterator[None]:
        self._storages.clear()
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda x: x):
            yield

    def _pack(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in self._own:
            self._storages[storage._cdata] = storage  # held, so that its number stays its own
        return x.detach()


def nbytes(tensors: Iterable[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


class Peak:
    """Highest memory since it was made."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        else:
            Path('/proc/self/clear_refs').write_text('5')  # Linux: VmHWM starts anew

    def nbytes(self) -> int:
        if self.device == 'cuda':
            return torch.cuda.max_memory_allocated()
        (line,) = (
            line
            for line in Path('/proc/self/status').read_text().splitlines()
            if line.startswith('VmHWM')
        )
        return int(line.split()[1]) * 1024


def measure(cfg: Config, case: str, args: argparse.Namespace) -> dict[str, float]:
    """Bytes by column, and seconds."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(args.device).train()
    everything, parts = case == 'states of all weights', parts_of(case, args)
    optimizer = torch.optim.AdamW(
        list(model.parameters()) if everything else group_parameters(model), lr=1e-4
    )
    data = [batch(args.images // parts, args.sentences // parts) for _ in range(parts)]
    saved, kept, times, peak = Saved(model), 0, [], None
    for step in range(args.steps + 1):
        peak = Peak(args.device) if step < 2 else peak
        start = now(args.device)
        for part in data:
            inputs = model.data_preprocessor(part, True)
            if step:
                losses = model(**inputs, mode='loss')
            else:  # counting takes time and holds memory: in a step of its own
                with saved.count():
                    losses = model(**inputs, mode='loss')
                kept = max(kept, saved.nbytes)
                saved = Saved(model)
            (sum(losses.values()) / parts).backward()
            del losses
        if everything:
            for parameter in (p for p in model.parameters() if p.grad is None):
                parameter.grad = torch.zeros_like(parameter)
        gradients = nbytes(p.grad for p in model.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        times.append(now(args.device) - start)
    states = nbytes(x for state in optimizer.state.values() for x in state.values())
    return {
        'weights': nbytes(model.parameters()),
        'saved': kept,
        'grad+opt': gradients + states,
        'peak': peak.nbytes(),
        'seconds': statistics.median(times[1:]),
    }


def count(cfg: Config, case: str, args: argparse.Namespace) -> dict[str, float]:
    """Bytes by column but the peak, of tensors that have shapes and no data."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    class Scalars(TorchFunctionMode):
        """int(x) of a tensor without data: the number of words of the longest sentence."""

        def __torch_function__(self, func: Callable, types, args=(), kwargs=None):
            if func is Tensor.__int__ and isinstance(args[0], FakeTensor):
                return WORDS
            return func(*args, **(kwargs or {}))

    model, parts = build_on_meta(cfg.model), parts_of(case, args)
    images, sentences = args.images // parts, args.sentences // parts
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device='cpu').train()
        where, how = model.encoder.image_size, model.mask_generator.input_size
        inputs = ModelInputs(
            torch.empty(images, 3, where, where),
            torch.empty(images, 3, *how),
            torch.arange(sentences) % images,
            torch.zeros(sentences, model.encoder.max_length, dtype=torch.int64),
            torch.full((sentences,), WORDS + 1),
            torch.arange(sentences) % images,
        )
        saved = Saved(model)
        with Scalars(), saved.count():
            model(inputs, samples(images, sentences), mode='loss')
        trained = nbytes(
            p for p in model.parameters() if case == 'states of all weights' or p.requires_grad
        )
        return {
            'weights': nbytes(model.parameters()),
            'saved': saved.nbytes,
            'grad+opt': 3 * trained,
        }  # the gradient and AdamW's two moments


def parts_of(case: str, args: argparse.Namespace) -> int:
    """Into how many batches of one step the case cuts."""
    parts = 2 if case == 'half batch x 2' else 1
    if args.images % parts or args.sentences % parts:
        raise UserError(
            f'{case!r} halves the batch: give even --images and --sentences, or other --cases'
        )
    return parts


def now(device: str) -> float:
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def in_new_process(case: str, arguments: list[str]) -> dict[str, float]:
    """The case by this script in a fresh process, whose last line is its numbers."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments, '--one', case], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise UserError(
            f'{case!r} ended with exit status {done.returncode}; -9 or 137: the system '
            'had too little memory: fewer --images'
        )
    return json.loads(done.stdout.splitlines()[-1])


def row(case: str, found: dict[str, float], first: dict[str, float]) -> str:
    """One line of the table: GiB and the ratio to the first case."""
    cells = [
        f'{found[key] / 2**30:9.3f} {found[key] / max(first[key], 1):6.2f}'
        if key in found
        else f'{"-":>16}'
        for key in COLUMNS
    ]
    if 'seconds' in found:
        cells.append(f'{found["seconds"]:9.2f} {found["seconds"] / first["seconds"]:6.2f}')
    return f'{case:<24}' + ''.join(cells)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('--images', type=int, default=2)
    parser.add_argument('--sentences', type=int, help='default: as many as images')
    parser.add_argument('--steps', type=int, default=2, help='timed, after the counting one')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--count', action='store_true', help='no data, no steps, no peak')
    parser.add_argument(
        '--cases',
        nargs='+',
        choices=CASES,
        metavar='CASE',
        default=list(CASES),
        help=f'of {", ".join(map(repr, CASES))}; the first is compared with',
    )
    parser.add_argument('--json', metavar='FILE', help='write the numbers, too')
    add_shared(parser, 'cfg-options')
    parser.add_argument('--one', choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.sentences = args.sentences or args.images
    if args.steps < 1 or not 0 < args.images <= args.sentences:
        parser.error('--steps and --images are at least 1, --sentences at least --images')
    return args


@report_user_errors()
def main() -> None:
    args = parse_args()
    if args.one:
        cfg = load_config(
            args.config,
            options={'model.init': 'random', **(args.cfg_options or {}), **CASES[args.one]},
        )
        print(json.dumps((count if args.count else measure)(cfg, args.one, args)))
        return
    print(
        f'{args.config}: {args.images} images, {args.sentences} sentences; GiB and the ratio to '
        f'{args.cases[0]!r}'
        + (
            '; counted without data'
            if args.count
            else f'; on {device_name(args.device)}; seconds of a step'
        )
    )
    if args.device == 'cpu' and not args.count and not has_bf16():
        print('this processor has no BF16 instructions: the seconds of the bf16 cases mean nothing')
    print(f'{"":<24}' + ''.join(f'{name:>9} {"ratio":>6}' for name in (*COLUMNS, 'seconds')))
    found = {}
    for case in args.cases:
        found[case] = in_new_process(case, sys.argv[1:])
        print(row(case, found[case], found[args.cases[0]]), flush=True)
    if args.json:
        Path(args.json).write_text(
            json.dumps(
                dict(
                    config=args.config,
                    images=args.images,
                    sentences=args.sentences,
                    cases=found,
                    device='counted' if args.count else device_name(args.device),
                ),
                indent=2,
            )
            + '\n'
        )


def device_name(device: str) -> str:
    if device == 'cuda':
        return torch.cuda.get_device_name()
    return f'a CPU, {torch.get_num_threads()} threads'


def has_bf16() -> bool:
    """Whether the CPU multiplies BF16 itself."""
    flags = Path('/proc/cpuinfo')
    return not flags.is_file() or 'bf16' in flags.read_text()


if __name__ == '__main__':
    main()
