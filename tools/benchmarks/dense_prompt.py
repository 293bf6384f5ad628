"""Eq. 7's upsampled cosine: the literal form against the low-resolution one, forward and backward.

python tools/benchmarks/dense_prompt.py [--threads 2] [--json]

Each form runs in a process of its own, on the same random features: median seconds by the clock
and of processor time (which a busy machine inflates less), and how far the process's peak memory
(ru_maxrss) rises above what it was with the inputs in place.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

FORMS = ('literal', 'low_resolution')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--channels', type=int, default=1152, help='d1')
    parser.add_argument('--grid', type=int, default=32, help='h1 = w1')
    parser.add_argument('--out', type=int, default=256, help='H2/4 = W2/4')
    parser.add_argument('--batch', type=int, default=2, help='sentences')
    parser.add_argument('--repeats', type=int, default=3, help='timed runs, after a first untimed')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--align-corners', action='store_true')
    parser.add_argument('--json', action='store_true', help='print one JSON object and no table')
    parser.add_argument('--form', choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument('--save', help=argparse.SUPPRESS)
    return parser.parse_args()


def literal(
    features: Tensor, text: Tensor, size: tuple[int, int], *, align_corners: bool
) -> Tensor:
    """Eq. 7 as printed: upsample d1 channels, norm, dot product."""
    upsampled = F.interpolate(features, size, mode='bilinear', align_corners=align_corners)
    return torch.einsum('bchw,bc->bhw', F.normalize(upsampled, dim=1), F.normalize(text, dim=1))


def measure(args: argparse.Namespace) -> dict:
    """Run one form; its map and gradients go to args.save."""
    from rsrefseg2.models.prompter.dense_prompt import upsampled_cosine

    form = literal if args.form == 'literal' else upsampled_cosine
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(args.batch, args.channels, args.grid, args.grid, generator=generator)
    text = torch.randn(args.batch, args.channels, generator=generator)
    weights = torch.randn(args.batch, args.out, args.out, generator=generator)
    leaves = [features.requires_grad_(), text.requires_grad_()]

    def peak_mb() -> float:  # Linux counts in kB, macOS in bytes
        unit = 2**20 if sys.platform == 'darwin' else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

    baseline, seconds, cpu_seconds = peak_mb(), [], []
    for _ in range(args.repeats + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        cosine = form(features, text, (args.out, args.out), align_corners=args.align_corners)
        gradients = torch.autograd.grad((cosine * weights).sum(), leaves)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    torch.save([cosine.detach(), *gradients], args.save)
    return {
        'seconds': statistics.median(seconds[1:]),
        'cpu_seconds': statistics.median(cpu_seconds[1:]),
        'peak_mb': peak_mb() - baseline,
    }


def compare(args: argparse.Namespace) -> dict:
    """Both forms, one after the other."""
    result, saved = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            path = Path(folder) / f'{form}.pt'
            command = [sys.executable, __file__, *sys.argv[1:], '--form', form, '--save', path]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            result[form] = json.loads(output.splitlines()[-1])
            saved[form] = torch.load(path, weights_only=True)
    pairs = list(zip(*(saved[form] for form in FORMS), strict=True))
    result['ratio'] = {
        name: result['literal'][name] / max(result['low_resolution'][name], 1e-9)
        for name in result['literal']
    }
    result['largest_difference'] = {
        name: float((a - b).abs().max() / (1 if name == 'cosine' else a.abs().max()))
        for name, (a, b) in zip(('cosine', 'feature_gradient', 'text_gradient'), pairs, strict=True)
    }
    return result


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.form:
        print(json.dumps(measure(args)))
        return
    result = compare(args)
    if args.json:
        print(json.dumps(result))
        return
    from rsrefseg2.tables import plain_table

    print(
        f'd1 {args.channels}, {args.grid}x{args.grid} -> {args.out}x{args.out}, batch '
        f'{args.batch}, {args.threads} threads, float32, forward and backward'
    )
    print(
        plain_table(
            ('', 'seconds', 'cpu s', 'peak MB'),
            [
                (
                    name.replace('_', ' '),
                    *(f'{x:.{n}f}' for x, n in zip(result[name].values(), digits, strict=True)),
                )
                for name, digits in (*((form, (3, 3, 0)) for form in FORMS), ('ratio', (1, 1, 1)))
            ],
        )
    )
    print(
        'largest difference: '
        + ', '.join(
            f'{name.replace("_", " ")} {value:.1e}{"" if name == "cosine" else " (relative)"}'
            for name, value in result['largest_difference'].items()
        )
    )


if __name__ == '__main__':
    main()
