"""Opening and loading a full-count RISBench: seconds, memory, samples a second, share of decoding.

    python tools/benchmarks/datasets.py [--count 26300] [--side 64] [--workers 0 1 2 4 8] [--json]

Fabricates the training split with small images in a temporary folder (or --root), in RISBench's
own layout. Every opening runs in a process of its own; medians are printed, by the clock and of
processor time, which a busy machine inflates less. Linux only: memory is
read from /proc. "Cold" drops the text file and the folders' caches only where the system lets it
(root, /proc/sys/vm/drop_caches), and says whether it did.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

SENTENCE = 'The {n} small white vehicle is located near the bottom-left corner of the large image .'
PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]
WORKER_COLUMNS = ('samples_per_second', 'main_resident_mb', 'worker_own_mb')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=26300, help='training triplets')
    parser.add_argument('--side', type=int, default=64, help='of the fabricated images, in pixels')
    parser.add_argument(
        '--real-side',
        type=int,
        default=512,
        help='of the images whose decoding is compared with the whole of a sample',
    )
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2, 4, 8])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--root', help='keep the fabricated copy here')
    parser.add_argument('--json', action='store_true', help='print one JSON object and no table')
    parser.add_argument('--part', choices=('open', 'load'), help=argparse.SUPPRESS)
    parser.add_argument('--n-workers', type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def fabricate(root: Path, count: int, side: int) -> None:
    """`count` training triplets; 1.7 sentences a picture, as in the release."""
    for folder in ('img_rgb', 'mask'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    low = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    low = np.array(Image.fromarray(low).resize((side, side), Image.Resampling.BILINEAR)).astype(int)
    picture = np.clip(low + rng.normal(0, 8, low.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    Image.fromarray(mask).save(root / 'mask.png')
    mask_bytes, lines = (root / 'mask.png').read_bytes(), []
    (root / 'mask.png').unlink()
    for number in range(count):
        scene = number * 10 // 17
        name = f'train_{scene}_{number - (scene * 17 + 9) // 10}.png'
        if number == 0 or scene != (number - 1) * 10 // 17:
            picture[0, 0] = scene % 256, scene // 256 % 256, 0
            Image.fromarray(picture).save(root / 'img_rgb' / name)
            content = (root / 'img_rgb' / name).read_bytes()
        (root / 'img_rgb' / name).write_bytes(content)
        (root / 'mask' / name).write_bytes(mask_bytes)
        lines.append(f'{name} {SENTENCE.format(n=number)}\n')
    (root / 'output_phrase_train.txt').write_text(''.join(lines))


def memory_mb(pid: int | str = 'self') -> dict[str, float]:
    """Resident, and of it what no other process shares, in MB."""
    found = {'resident': 0.0, 'own': 0.0}
    for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        if name == 'Rss:':
            found['resident'] = int(value) / 1024
        elif name.startswith('Private_'):
            found['own'] += int(value) / 1024
    return found


def drop_caches() -> bool:
    try:
        os.sync()
        Path('/proc/sys/vm/drop_caches').write_text('3')
    except OSError:
        return False
    return True


def open_split(root: str, **options):
    from rsrefseg2.datasets import RISBench

    return RISBench(data_root=root, split='train', pipeline=PIPELINE, **options)


def measure_open(args: argparse.Namespace) -> dict:
    """In this process: imports first, so that only the opening counts."""
    from rsrefseg2.datasets import RISBench  # noqa: F401

    before = memory_mb()['resident']
    start, cpu_start = time.perf_counter(), time.process_time()
    data = open_split(args.root)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        'seconds': seconds,
        'cpu_seconds': cpu_seconds,
        'samples': len(data),
        'held_mb': memory_mb()['resident'] - before,
        'records_mb': data.data_bytes.nbytes / 2**20,
    }


def measure_load(args: argparse.Namespace) -> dict:
    """Samples a second over 2,000 shuffled samples, and what the workers hold for themselves."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    from rsrefseg2.datasets import unique_images_collate

    torch.set_num_threads(1)
    warnings.filterwarnings('ignore', message='This DataLoader will create')  # meant so
    data = open_split(args.root)
    before, number = memory_mb(), min(2000, len(data))
    sampler = RandomSampler(data, num_samples=number, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(
        data,
        batch_size=8,
        sampler=sampler,
        num_workers=args.n_workers,
        collate_fn=unique_images_collate,
    )
    iterator, own = iter(loader), []
    next(iterator)
    start, seen = time.perf_counter(), 0
    for batch in iterator:
        seen += len(batch['data_samples'])
        if args.n_workers and seen == number // 2 // 8 * 8:
            own = [memory_mb(worker.pid)['own'] for worker in iterator._workers]
    return {
        'samples_per_second': seen / (time.perf_counter() - start),
        'main_resident_mb': before['resident'],
        'worker_own_mb': max(own, default=0.0),
    }


def in_a_process(args: argparse.Namespace, root: str, part: str, **options) -> dict:
    command = [sys.executable, __file__, '--root', root, '--part', part]
    for name, value in options.items():
        command += [f'--{name.replace("_", "-")}', str(value)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def share_of_decoding(side: int, repeats: int) -> dict:
    """Of the processor time of a sample: Pillow's reading of image and mask, at the real size."""
    with tempfile.TemporaryDirectory() as folder:
        fabricate(Path(folder), 8, side)
        data = open_split(folder, serialize_data=False)
        paths = [
            record[key]
            for record in (data.get_data_info(i) for i in range(8))
            for key in ('img_path', 'mask_path')
        ]

        def decode() -> None:
            for path in paths:
                with Image.open(path) as image:
                    np.array(image)

        def whole() -> None:
            for index in range(8):
                data[index]

        def median(work) -> float:
            seconds = []
            for _ in range(repeats + 1):
                start = time.process_time()
                work()
                seconds.append((time.process_time() - start) / 8)
            return statistics.median(seconds[1:])

        decoding, total = median(decode), median(whole)
    return {'decoding_ms': 1000 * decoding, 'sample_ms': 1000 * total, 'share': decoding / total}


def measure(args: argparse.Namespace, root: str) -> dict:
    warm = [in_a_process(args, root, 'open') for _ in range(args.repeats + 1)][1:]
    cold, dropped = [], True
    for _ in range(min(3, args.repeats)):
        dropped &= drop_caches()
        cold.append(in_a_process(args, root, 'open')['seconds'])
    loads = {
        n: [in_a_process(args, root, 'load', n_workers=n) for _ in range(min(3, args.repeats))]
        for n in args.workers
    }
    return {
        'samples': warm[0]['samples'],
        **{
            name: statistics.median(run[name] for run in warm)
            for name in ('seconds', 'cpu_seconds', 'held_mb', 'records_mb')
        },
        'cold_seconds': statistics.median(cold),
        'caches_dropped': dropped,
        'workers': {
            n: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
            for n, runs in loads.items()
        },
        'decoding': share_of_decoding(args.real_side, 5 * args.repeats),
    }


def main() -> None:
    args = parse_args()
    if args.part:
        print(json.dumps(measure_open(args) if args.part == 'open' else measure_load(args)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = args.root or temporary
        if not (Path(root) / 'output_phrase_train.txt').is_file():
            fabricate(Path(root), args.count, args.side)
        result = measure(args, root)
    if args.json:
        print(json.dumps(result))
        return
    from rsrefseg2.tables import plain_table

    print(
        f'{result["samples"]} triplets, images of {args.side} pixels, medians of {args.repeats}\n'
        f'open, warm                  {result["seconds"]:8.2f} s, of processor time '
        f'{result["cpu_seconds"]:.2f} s\n'
        f'open, cold                  {result["cold_seconds"]:8.2f} s  (caches '
        f'{"dropped" if result["caches_dropped"] else "NOT dropped: no permission"})\n'
        f'memory held after opening   {result["held_mb"]:8.0f} MB, of it records '
        f'{result["records_mb"]:.0f} MB\n'
        f'one sample of {args.real_side} pixels     {result["decoding"]["sample_ms"]:8.2f} ms of '
        f'processor time, decoding {result["decoding"]["decoding_ms"]:.2f} ms: '
        f'{100 * result["decoding"]["share"]:.0f} %\n\n'
        + plain_table(
            ('workers', 'samples/s', 'main resident MB', 'one worker, own MB'),
            [
                (number, *(f'{run[key]:.0f}' for key in WORKER_COLUMNS))
                for number, run in result['workers'].items()
            ],
        )
    )


if __name__ == '__main__':
    main()
