"""docs/comparison.md is what the data say; its arithmetic on made-up runs."""

import json
import math
import re
from pathlib import Path

import pytest

from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.profiling.complexity import build_on_meta, summarize
from tools.dev.comparison import COSTS, FULL, PAGE, RUNS, TINY, comparison_page, step_ratios

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ('attribute', 'position', 'relation')


def test_the_page_is_the_data():
    committed = (ROOT / PAGE).read_text(encoding='utf-8')
    assert committed == comparison_page(ROOT), f'python tools/dev/comparison.py > {PAGE}'


def test_all_that_the_page_names_is_there():
    for link in re.findall(r'\]\(([^)]+)\)', (ROOT / PAGE).read_text(encoding='utf-8')):
        assert (ROOT / 'docs' / link).resolve().is_file(), link


def test_every_method_ran_as_its_config_says():
    runs = json.loads((ROOT / RUNS).read_text(encoding='utf-8'))['runs']
    assert all(run['options'] == {} and run['trained'] == 'iter_1200' for run in runs)
    assert {run['config'] for run in runs} <= {method.config for method in TINY}
    assert {(run['dataset'], run['split']) for run in runs} == {('synthrs', 'test')}


@pytest.mark.parametrize('method', (*TINY, *FULL), ids=lambda method: method.config)
def test_the_counts_are_of_todays_configs(method):
    """A changed config or count needs the costs again."""
    cost = json.loads((ROOT / COSTS).read_text(encoding='utf-8'))[method.config]
    counted = summarize(build_on_meta(load_config(str(ROOT / method.config)).model.to_dict()))
    assert cost['parameters'] == counted['parameters']['total']
    assert cost['trained'] == counted['parameters']['trainable']
    assert cost['flop'] == counted['flops']['total']


def scores(value):
    level = dict(gIoU=value, object_hit=value + 1)
    return dict(
        level,
        cIoU=value,
        **{f'Pr@0.{k}': value for k in (5, 7, 9)},
        shuffled=1.0,
        object_hit_chance=30.0,
        samples=750,
        by_level=dict.fromkeys(LEVELS, level),
    )


def made_up(tmp_path, seeds):
    """A repository with runs of these seeds; the k-th method scores 10 k + 60 and the seed."""
    runs = [
        dict(
            config=method.config,
            scale=None,
            seed=seed,
            options={},
            trained='iter_1200',
            minutes=1.0,
            dataset='synthrs',
            split='test',
            scores=scores(60.0 + 10 * k + seed),
            intervals=None,
            log=None,
        )
        for k, method in enumerate(TINY)
        for seed in seeds(k)
    ]
    for path, value in (
        (RUNS, dict(runs=runs)),
        (COSTS, json.loads((ROOT / COSTS).read_text(encoding='utf-8'))),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(value))
    return tmp_path


def test_one_seed_has_no_spread_and_none_no_page(tmp_path):
    page = comparison_page(made_up(tmp_path, lambda k: (0,)))
    assert page.count('| SigLIP and SAM | 0 |') == 2 and '± 0' not in page
    assert '## Differences' not in page
    page = comparison_page(made_up(tmp_path, lambda k: (0, 1) if k < 3 else ()))
    assert page.count('| - | - |') and page.count(f'({Path("..") / TINY[4].config})') == 3
    with pytest.raises(UserError, match='no run of any method'):
        comparison_page(made_up(tmp_path, lambda k: ()))


def test_each_method_has_its_own_seeds(tmp_path):
    """Three, two and one: spreads of 1 and sqrt(2), and no difference of a method with one."""
    page = comparison_page(made_up(tmp_path, lambda k: (2, 0, 1)[: 3 - k] if k < 2 else (1,)))
    scored = [line for line in page.splitlines() if line.startswith('| [')]
    assert '| 0 1 2 | 61.00 ± 1.00 |' in scored[0] and '| 0 2 | 71.00 ± 1.41 |' in scored[1]
    assert '| 1 | 81.00 |' in scored[2]
    differences = page.split('## Differences')[1].split('##')[0]
    assert differences.count('](../configs/') == 1 and '+10.00 ± 1.15' in differences


def test_means_spreads_and_differences(tmp_path):
    """A spread of 1, and a standard error of the difference of two means of three seeds of
    sqrt(2 / 3)."""
    lines = comparison_page(made_up(tmp_path, lambda k: (0, 1, 2))).splitlines()
    for k, method in enumerate(TINY):
        found = [line for line in lines if f'({Path("..") / method.config})' in line]
        mean = 61 + 10 * k
        assert f'{mean:.2f} ± 1.00' in found[0], 'scores'
        assert found[1].count(f'{mean:.2f} ± 1.00') == found[1].count(f'{mean + 1:.2f} ± 1.00') == 3
        if k:
            assert f'{10 * k:+.2f} ± {math.sqrt(2 / 3):.2f}' in found[2]


def test_a_method_costs_itself():
    assert step_ratios([TINY[0].config], turns=1) == {TINY[0].config: (1.0, 1.0)}
