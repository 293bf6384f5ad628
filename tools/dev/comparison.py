"""Prints docs/comparison.md, of data alone: RSRefSeg 2 and the trained baselines under one budget.

    python tools/dev/zoo.py --add RUN ... --name baselines --records docs/results
    python tools/dev/comparison.py --measure > docs/results/costs.json
    python tools/dev/comparison.py > docs/comparison.md

The first records finished runs, the second counts parameters and FLOP and measures the time of a
test step of each method, in turns in one process with one thread; its first method is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from rsrefseg2.errors import UserError, report_user_errors
from rsrefseg2.markup import link
from rsrefseg2.markup import table as markdown
from rsrefseg2.records import read_json, to_json

# The modules beside this file serve this repository alone and are not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

PAGE = 'docs/comparison.md'
COSTS = 'docs/results/costs.json'
RUNS = 'docs/results/baselines.json'
LEVELS = ('attribute', 'position', 'relation')
PICTURES, PER_PICTURE, SIDE = 4, 6, 192  # of a test step: the quickstart's


class Method(NamedTuple):
    """A line of the tables."""

    name: str
    config: str
    start: str  # from what it trains


# The first is what the times are compared with.
TINY = (
    Method('RSRefSeg 2', 'configs/synthrs_tiny.py', 'SigLIP and SAM'),
    Method('RSRefSeg', 'configs/baselines/synthrs_rsrefseg1_tiny.py', 'SigLIP and SAM'),
    Method('LAVT', 'configs/baselines/synthrs_lavt_tiny.py', 'Swin and BERT'),
    Method('LGCE', 'configs/baselines/synthrs_lgce_tiny.py', 'Swin and BERT'),
    Method('RMSIN', 'configs/baselines/synthrs_rmsin_tiny.py', 'Swin and BERT'),
)
FULL = (
    Method('RSRefSeg 2', 'configs/rrsisd_siglip2_sam21l.py', 'SigLIP 2 and SAM 2.1'),
    Method('RSRefSeg', 'configs/baselines/rrsisd_rsrefseg1.py', 'SigLIP and SAM'),
    Method('LAVT', 'configs/baselines/rrsisd_lavt.py', 'Swin and BERT'),
    Method('LGCE', 'configs/baselines/rrsisd_lgce.py', 'Swin and BERT'),
    Method('RMSIN', 'configs/baselines/rrsisd_rmsin.py', 'Swin and BERT'),
)


class Cost(TypedDict):
    """Of one config: counts, and of a tiny one the seconds of a test step, all sentences of a
    picture together and one sentence a call, over those of the first method."""

    parameters: int
    trained: int
    flop: int
    together: float | None
    single: float | None


# ------------------------------------------------------------------ the costs


def measure(turns: int) -> dict[str, Cost]:
    """{config: its cost}; times are medians of the ratios of `turns` turns."""
    from rsrefseg2.engine import load_config
    from rsrefseg2.profiling.complexity import build_on_meta, summarize

    ratios = step_ratios([method.config for method in TINY], turns)
    costs: dict[str, Cost] = {}
    for config in [method.config for method in (*TINY, *FULL)]:
        counted = summarize(build_on_meta(load_config(config).model.to_dict()))
        together, single = ratios.get(config, (None, None))
        costs[config] = Cost(
            parameters=counted['parameters']['total'],
            trained=counted['parameters']['trainable'],
            flop=counted['flops']['total'],
            together=together,
            single=single,
        )
    return costs


def step_ratios(configs: Sequence[str], turns: int) -> dict[str, tuple[float, float]]:
    """{config: seconds of a test step, together and one by one, over the first config's}."""
    import torch
    from mmengine.registry import DefaultScope

    from rsrefseg2.datasets import unique_images_collate
    from rsrefseg2.engine import load_config
    from rsrefseg2.registry import MODELS, SCOPE
    from tools.benchmarks.speed import items

    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = items(PICTURES, PER_PICTURE, PICTURES * PER_PICTURE, SIDE)
    batches = ([given], [[item] for item in given])
    models: dict[str, Any] = {}
    with DefaultScope.overwrite_default_scope(SCOPE):
        for config in configs:
            models[config] = MODELS.build(load_config(config).model).eval()
    seconds: dict[str, list[tuple[float, ...]]] = {config: [] for config in configs}
    with torch.no_grad():
        for turn in range(turns + 1):
            for config, model in models.items():
                both = []
                for side in batches:
                    start = time.process_time()
                    for batch in side:
                        model.test_step(unique_images_collate(batch))
                    both.append(time.process_time() - start)
                if turn:  # the first warms up
                    seconds[config].append(tuple(both))
    first = seconds[configs[0]]
    return {
        config: (_median_ratio(own, first, 0), _median_ratio(own, first, 1))
        for config, own in seconds.items()
    }


def _median_ratio(own: Sequence[Sequence], first: Sequence[Sequence], which: int) -> float:
    return statistics.median(a[which] / b[which] for a, b in zip(own, first, strict=True))


# ------------------------------------------------------------------ the page


def comparison_page(root: str | Path = '.') -> str:
    """The whole page, of the repository at `root`.

    Raises:
        UserError: data that it needs are not there, or there is no run.
    """
    from tools.dev.run_records import read_record_file

    root = Path(root)
    records = read_record_file(root / RUNS)
    costs = read_json(root / COSTS, dict[str, Cost])
    runs = {
        method: sorted(
            (record for record in records if record['config'] == method.config),
            key=lambda record: record['seed'],
        )
        for method in TINY
    }
    if not any(runs.values()):
        raise UserError(f'{RUNS}: no run of any method: record one with zoo.py --add')
    lengths = sorted({record['trained'].removeprefix('iter_') for record in records})
    samples = sorted({record['scores']['samples'] for record in records})
    sections = [
        [
            '# Comparison',
            '',
            f'Of `{RUNS}` and `{COSTS}` by `python tools/dev/comparison.py > {PAGE}`; '
            "not to be edited. The methods, their differences to the authors' code and the configs "
            f'of the benchmarks: {link("trained baselines", "../configs/baselines/README.md")}; '
            f'published scores: {link("model zoo", "model_zoo.md")}.',
            '',
            f'Tiny models, trained on SynthRS for {" or ".join(lengths)} iterations of 4 images x '
            f'6 sentences and tested on {" or ".join(map(str, samples))} sentences, in percent: the '
            'mean over the seeds ± their standard deviation; - is a run that was not made. The '
            'towers of all were pretrained on SynthRS; SigLIP, Swin and BERT with the same losses ('
            + link('how', '../rsrefseg2/synthrs/towers/README.md')
            + '). What a method does at this size, with minutes of training, says little about '
            'what it does at full size.',
        ],
        ['## Scores', '', *_scores(runs)],
        ['## By level of sentence', '', *_by_level(runs)],
        *([['## Differences', '', *differences]] if (differences := _differences(runs)) else []),
        ['## Cost', '', *_tiny_costs(costs)],
        ['## Cost at full size', '', *_full_costs(costs)],
        ['## Again', '', *_commands()],
    ]
    return '\n\n'.join('\n'.join(lines) for lines in sections) + '\n'


def _mean(values: Sequence[float]) -> str:
    from rsrefseg2.apis.ablation_results import summarize

    return summarize(None, values).text


def _row(method: Method) -> list[str]:
    return [link(method.name, f'../{method.config}'), method.start]


def _scores(runs: Mapping[Method, list[dict]]) -> Iterator[str]:
    names = ('gIoU', 'cIoU', 'Pr@0.5', 'Pr@0.7', 'Pr@0.9', 'object_hit', 'shuffled')
    yield from markdown(
        ['method', 'starts from', 'seeds', *(name.replace('_', ' ') for name in names)],
        [
            [
                *_row(method),
                ' '.join(str(run['seed']) for run in found) or '-',
                *(_mean([run['scores'][name] for run in found]) for name in names),
            ]
            for method, found in runs.items()
        ],
    )
    chance = next(run['scores']['object_hit_chance'] for found in runs.values() for run in found)
    yield from (
        '',
        'object hit: the largest overlap of the mask is with the object meant (by chance '
        f'{chance:.2f}); '
        'shuffled: gIoU with the sentences of other pictures; a model that reads them scores low.',
    )


def _by_level(runs: Mapping[Method, list[dict]]) -> Iterator[str]:
    names = ('gIoU', 'object_hit')
    columns = [(name, level) for name in names for level in LEVELS]
    yield from markdown(
        [
            'method',
            'starts from',
            *(f'{name.replace("_", " ")}, {level}' for name, level in columns),
        ],
        [
            [
                *_row(method),
                *(
                    _mean([run['scores']['by_level'][level][name] for run in found])
                    for name, level in columns
                ),
            ]
            for method, found in runs.items()
        ],
    )


def _differences(runs: Mapping[Method, list[dict]]) -> list[str]:
    """The others less the first, in gIoU, where both have two seeds; the standard error is that of
    two means. [] where none has."""
    own, *others = (
        (method, [run['scores']['gIoU'] for run in found]) for method, found in runs.items()
    )
    rows = []
    for method, values in others:
        if min(len(values), len(own[1])) < 2:
            continue
        difference = statistics.fmean(values) - statistics.fmean(own[1])
        error = math.sqrt(sum(statistics.variance(one) / len(one) for one in (own[1], values)))
        rows.append([*_row(method), f'{difference:+.2f} ± {error:.2f}'])
    if not rows:
        return []
    return [
        f'gIoU less that of {own[0].name}, with the standard error of the difference over the '
        'seeds:',
        '',
        *markdown(['method', 'starts from', 'gIoU'], rows),
    ]


def _tiny_costs(costs: Mapping[str, Cost]) -> Iterator[str]:
    yield from markdown(
        [
            'method',
            'starts from',
            'parameters (M)',
            'trained (M)',
            'GFLOP, one sentence',
            f'sentences a second, {PER_PICTURE} a picture',
            'one a call',
        ],
        [
            [
                *_row(method),
                *_counts(costs[method.config], 2),
                *(f'{1 / costs[method.config][name]:.2f}' for name in ('together', 'single')),
            ]
            for method in TINY
        ],
    )
    yield from (
        '',
        'Sentences a second are ratios to the first line: a test step of '
        f'{PICTURES} pictures x {PER_PICTURE} sentences, and {PICTURES * PER_PICTURE} test steps '
        'of one sentence, CPU seconds of one thread, all methods in turn in one process; medians.',
    )


def _full_costs(costs: Mapping[str, Cost]) -> Iterator[str]:
    yield from markdown(
        ['method', 'starts from', 'parameters (M)', 'trained (M)', 'GFLOP, one sentence'],
        [[*_row(method), *_counts(costs[method.config], 1)] for method in FULL],
    )
    yield from (
        '',
        'One multiply-accumulate is 2 FLOP. Counted without weights; none of these was trained '
        'here at full size.',
    )


def _counts(cost: Cost, digits: int) -> list[str]:
    return [
        f'{cost["parameters"] / 1e6:,.{digits}f}',
        f'{cost["trained"] / 1e6:,.{digits}f}',
        f'{cost["flop"] / 1e9:,.1f}',
    ]


def _commands() -> Iterator[str]:
    config = TINY[-1].config
    run = f'work_dirs/{Path(config).stem}'
    yield from (
        'One method and seed; the others are trained and tested in the same way.',
        '',
        '```bash',
        'python tools/synthrs_generate.py',
        f'python tools/train.py {config} --work-dir {run} --cfg-options randomness.seed=0',
        f'python tools/test.py {config} {run}/iter_1200.pth --work-dir {run} --dump '
        f'{run}/dump.jsonl --cfg-options randomness.seed=0',
        f'python tools/dev/zoo.py --add {run} --name baselines --records docs/results',
        f'python tools/dev/comparison.py > {PAGE}',
        '```',
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--measure', action='store_true', help='print the costs; prints no page')
    parser.add_argument('--turns', type=int, default=9, help='of measuring (%(default)s)')
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    # Libraries write notices to stdout while they are imported; there, only the page belongs.
    with contextlib.redirect_stdout(sys.stderr):
        result = (
            to_json(measure(args.turns), indent=1) + '\n' if args.measure else comparison_page()
        )
    print(result, end='')


if __name__ == '__main__':
    main()
