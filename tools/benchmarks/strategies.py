"""The same training under every strategy and number of ranks: does it agree, what does it cost?

    python tools/benchmarks/strategies.py --ranks 1 2 4 [--plot ranks.png]

configs/synthrs_tiny* from the same weights, seed and global batch, on this machine's CPU. For each
case, against `single` in the same call: the gradients of the first iteration (Adam's first moment
in the checkpoint; norm of the difference over norm, of all together and of the worst layer, weight
and bias as one vector: a bias before BatchNorm or of keys has no gradient but rounding), the losses
as logged, the seconds an iteration takes (median) and the peak memory of a rank in GiB.
`2 nodes` are two torchrun groups that meet on the loopback address. `autocast`, one device with
model.autocast=bfloat16, shows what BF16 alone changes, beside ZeRO-2.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from rsrefseg2.engine.checkpoint import optim_file
from rsrefseg2.visualization.drawing import QUIET, clean_axes, new_figure
from rsrefseg2.visualization.training_curves import COLOURS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    'single': 'synthrs_tiny',
    'ddp': 'synthrs_tiny_ddp',
    'zero2': 'synthrs_tiny_zero2',
    'fsdp': 'synthrs_tiny_fsdp',
    'autocast': 'synthrs_tiny',
}
ONE_DEVICE = ('single', 'autocast')
GLOBAL_BATCH = 24


def run(folder: Path, data: Path, strategy: str, ranks: int, nodes: int, *options: str) -> None:
    """One training, in `nodes` groups of processes."""
    env = dict(
        os.environ,
        OMP_NUM_THREADS='1',
        CUDA_VISIBLE_DEVICES='',
        RSREFSEG2_DATA=str(data),
        TOKENIZERS_PARALLELISM='false',
        PYTHONPATH=str(ROOT),
    )
    train = [
        ROOT / 'tools/train.py',
        ROOT / f'configs/{CONFIGS[strategy]}.py',
        '--work-dir',
        folder,
        '--cfg-options',
        f'train_dataloader.batch_size={GLOBAL_BATCH // ranks}',
        'default_hooks.logger.interval=1',
        *options,
    ]
    if strategy == 'autocast':
        train.append('model.autocast=bfloat16')
    commands = [[sys.executable, *train]]
    if strategy not in ONE_DEVICE:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        commands = [
            [
                sys.executable,
                '-m',
                'torch.distributed.run',
                '--nnodes',
                nodes,
                '--node-rank',
                node,
                '--nproc-per-node',
                ranks // nodes,
                '--master-addr',
                '127.0.0.1',
                '--master-port',
                port,
                *train[:2],
                '--launcher',
                'pytorch',
                *train[2:],
            ]
            for node in range(nodes)
        ]
    processes = [
        subprocess.Popen(
            list(map(str, command)),
            env=env,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for command in commands
    ]
    for process in processes:
        output = process.communicate()[0]
        if process.returncode:
            raise SystemExit(
                f'{strategy}, {ranks} ranks: exit {process.returncode}\n{output[-3000:]}'
            )


def gradients(folder: Path) -> dict[str, torch.Tensor]:
    """Adam's first moment after one step: 0.1 times the clipped gradient."""
    state = torch.load(optim_file(folder / 'iter_1.pth'), weights_only=True)['optimizer']['state']
    return {name: entry['exp_avg'].double() for name, entry in state.items()}


def log(folder: Path) -> list[dict]:
    """The lines of the log that belong to iterations."""
    lines = [
        json.loads(line)
        for path in sorted(folder.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return [line for line in lines if 'loss' in line]


def measure(
    folder: Path, data: Path, strategy: str, ranks: int, nodes: int, iterations: int, start: Path
) -> dict:
    """One iteration for the gradients, then on to `iterations`."""
    run(folder, data, strategy, ranks, nodes, f'load_from={start}', 'train_cfg.max_iters=1')
    run(folder, data, strategy, ranks, nodes, 'resume=True', f'train_cfg.max_iters={iterations}')
    lines = log(folder)
    assert [line['step'] for line in lines] == list(range(1, iterations + 1)), lines
    return dict(
        gradients=gradients(folder),
        losses=[line['loss'] for line in lines],
        seconds=statistics.median(line['time'] for line in lines[iterations // 2 :]),
        memory=max(line['peak_gib'] for line in lines),
    )


def compare(found: dict, single: dict) -> dict:
    """What the table shows of a case."""
    assert found['gradients'].keys() == single['gradients'].keys()
    apart = {
        name: (found['gradients'][name] - value).norm()
        for name, value in single['gradients'].items()
    }
    size = {name: value.norm() for name, value in single['gradients'].items()}
    layers = defaultdict(list)
    for name in size:
        layers[name.rpartition('.')[0]].append(name)

    def ratio(names: list[str]) -> float:
        norms = ([parts[name] for name in names] for parts in (apart, size))
        above, below = (torch.stack(parts).norm() for parts in norms)
        return float(above / below)

    worst = {layer: ratio(names) for layer, names in layers.items()}
    return dict(
        gradient=ratio(list(size)),
        gradient_worst=max(worst.values()),
        worst_name=max(worst, key=worst.get),
        loss=max(abs(a / b - 1) for a, b in zip(found['losses'], single['losses'], strict=True)),
        seconds=found['seconds'],
        time_ratio=found['seconds'] / single['seconds'],
        peak_gib=found['memory'],
        memory_ratio=found['memory'] / single['memory'],
    )


def draw(rows: Sequence[dict], path: Path) -> None:
    """Time and memory of a rank over the number of ranks of one node, by strategy, as ratios to one
    device."""
    figure = new_figure(9, 3.2)
    panels = figure.subplots(1, 2)
    for axes, key, title in zip(
        panels, ('time_ratio', 'memory_ratio'), ('time of an iteration', 'peak memory of a rank')
    ):
        for number, strategy in enumerate(dict.fromkeys(row['strategy'] for row in rows)):
            own = [row for row in rows if row['strategy'] == strategy and row['nodes'] == 1]
            ranks, ratios = [row['ranks'] for row in own], [row[key] for row in own]
            axes.plot(
                ranks, ratios, marker='o', markersize=3, color=COLOURS[number], label=strategy
            )
        axes.set_xscale('log', base=2)
        axes.set_xticks([1, 2, 4], ['1', '2', '4'])
        axes.set_ylim(bottom=0)
        axes.set_xlabel('ranks', color=QUIET, fontsize=9)
        axes.set_title(f'{title}, one device = 1', loc='left', fontsize=9)
        clean_axes(axes, 'both')
    panels[1].legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    figure.savefig(path, bbox_inches='tight', dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--strategies',
        nargs='+',
        choices=['ddp', 'zero2', 'fsdp'],
        default=['ddp', 'zero2', 'fsdp'],
    )
    parser.add_argument('--ranks', nargs='+', type=int, default=[1, 2, 4], choices=[1, 2, 4])
    parser.add_argument('--iterations', type=int, default=20)
    parser.add_argument('--json', type=Path, help='write the rows here too')
    parser.add_argument('--plot', type=Path, help='draw time and memory over the ranks')
    args = parser.parse_args()
    cases = [(strategy, ranks, 1) for strategy in args.strategies for ranks in args.ranks]
    cases += [(strategy, 2, 2) for strategy in args.strategies]
    cases += [('autocast', 1, 1)] * ('zero2' in args.strategies)
    rows = []
    print(
        f'{"":8}{"ranks":>6}{"nodes":>6}{"gradient":>10}{"worst":>9}{"loss":>9}'
        f'{"seconds":>9}{"ratio":>7}{"memory":>9}{"ratio":>7}'
    )
    with tempfile.TemporaryDirectory() as name:
        data, folder = Path(name) / 'data', Path(name)
        subprocess.run(
            [
                sys.executable,
                ROOT / 'tools/synthrs_generate.py',
                '--out',
                data / 'synthrs',
                '--scenes-train',
                '60',
                '--scenes-val',
                '4',
                '--scenes-test',
                '4',
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # LoRA's B is 0 at the very start, and A without a gradient
        run(folder / 'start', data, 'single', 1, 1, 'train_cfg.max_iters=10')
        start = folder / 'start/iter_10.pth'
        single = measure(folder / 'single', data, 'single', 1, 1, args.iterations, start)
        for strategy, ranks, nodes in [('single', 1, 1), *cases]:
            found = (
                single
                if strategy == 'single'
                else measure(
                    folder / f'{strategy} {ranks} {nodes}',
                    data,
                    strategy,
                    ranks,
                    nodes,
                    args.iterations,
                    start,
                )
            )
            row = dict(strategy=strategy, ranks=ranks, nodes=nodes, **compare(found, single))
            rows.append(row)
            print(
                f'{strategy:8}{ranks:6}{nodes:6}{row["gradient"]:10.1e}'
                f'{row["gradient_worst"]:9.1e}{row["loss"]:9.1e}{row["seconds"]:9.3f}'
                f'{row["time_ratio"]:7.2f}{row["peak_gib"]:9.2f}{row["memory_ratio"]:7.2f}',
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    if args.plot:
        draw(rows, args.plot)


if __name__ == '__main__':
    main()
