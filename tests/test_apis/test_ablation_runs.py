"""tools/ablate.py: what it runs, what it does not run again, what it prints. The commands of a run
are stand-ins here that leave what the real ones leave; the slow test runs the real ones."""

import csv
import fcntl
import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rsrefseg2.apis import ablation_results as results
from rsrefseg2.apis import ablation_runs as runs
from rsrefseg2.apis.ablations import INDEX as INDEX_FILE
from rsrefseg2.apis.ablations import WHERE, read_index
from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
INDEX = read_index(ROOT)
TEN = INDEX.table('table10')
STAND_IN = """
import json, pathlib, sys
dash_m, module, command, config, *more = sys.argv[1:]
assert [dash_m, module] == ['-m', 'rsrefseg2.cli']
folder = pathlib.Path(more[more.index('--work-dir') + 1])
calls = folder.parents[2] / 'calls'
calls.write_text((calls.read_text() if calls.is_file() else '') + ' '.join(sys.argv[3:]) + '\\n')
seed = int(folder.name.removeprefix('seed'))
if (folder.parents[2] / 'fail').is_file():
    sys.exit('the machine is on fire')
if command == 'train':
    (folder / 'iter_2.pth').touch()
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_2.pth'))
    (folder / 'best_gIoU_iter_1.pth').touch()
else:
    assert pathlib.Path(more[0]).name == 'best_gIoU_iter_1.pth', more
    (folder / 'scores.json').write_text(json.dumps(
        {'gIoU': 60.0 + seed, 'cIoU': 70.0, 'Pr@0.5': 80.0, 'Pr@0.7': 75.0, 'Pr@0.9': 40.0,
         'samples': 3}))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """`python -m rsrefseg2.cli` of the runs is the stand-in; -> the lines of its calls."""
    script = tmp_path / 'stand_in.py'
    script.write_text(STAND_IN)
    monkeypatch.chdir(ROOT)
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(runs.sys, 'executable', str(python))
    calls = tmp_path / 'runs' / 'calls'
    return lambda: calls.read_text().splitlines() if calls.is_file() else []


@pytest.fixture
def ablate(run, tmp_path):
    """ablate(*arguments) -> exit code, stdout, stderr, of two rows of Table X at tiny scale."""

    def ablate(*arguments, table='table10', rows=('t10_no_dense', 'rrsisd_ablation'), scale='tiny'):
        return run(
            'ablate.py',
            table,
            *(['--scale', scale] if scale else []),
            '--work-dir',
            tmp_path / 'runs',
            *(['--rows', *rows] if rows else []),
            *arguments,
        )

    return ablate


def test_each_row_once_and_the_dagger_for_every_table(ablate, stand_in):
    code, out, err = ablate()
    assert code == 0
    assert [call.split()[0] for call in stand_in()] == ['train', 'test'] * 2
    assert all('--resume' in call for call in stand_in() if call.startswith('train '))
    assert 't10_no_dense, seed 0: finished' in err and 'Table X' in out
    ablate()
    assert len(stand_in()) == 4, 'a finished row ran again'
    code, out, _ = ablate(table='table11', rows=['rrsisd_ablation'])
    assert code == 0 and len(stand_in()) == 4, 'the † row of another table ran again'
    assert 'rrsisd_ablation' in out and '60.00' in out


def test_it_goes_on_where_it_stopped(ablate, stand_in, tmp_path):
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'runs' / 'fail').touch()
    code, _, err = ablate()
    assert code == 1 and 'the machine is on fire' in err and 'seed0.log' in err
    assert len(stand_in()) == 1
    code, _, err = ablate('--keep-going')
    assert code == 1 and '2 of 2 runs failed: t10_no_dense, rrsisd_ablation' in err
    (tmp_path / 'runs' / 'fail').unlink()
    assert ablate()[0] == 0
    assert len(stand_in()) == 1 + 2 + 4


def test_seeds_their_mean_and_their_spread(ablate, stand_in):
    code, out, _ = ablate('--seeds', 0, 1, 5, '--json', rows=['rrsisd_ablation'])
    assert code == 0 and len(stand_in()) == 6
    found = json.loads(out)['rows']
    assert [row['row'] for row in found] == [row.name for row in TEN.rows]
    dagger = found[-1]['scores']['gIoU']
    assert dagger['seeds'] == 3 and dagger['mean'] == pytest.approx(62.0)
    assert dagger['spread'] == pytest.approx(7**0.5)  # of 60, 61 and 65
    assert dagger['paper'] == 66.01 and dagger['difference'] == pytest.approx(-4.01)
    assert found[0]['scores']['gIoU'] == dict(
        paper=60.06, mean=None, spread=None, seeds=0, difference=None
    )


def test_the_forms_agree(ablate, stand_in):
    ablate('--seeds', 0, 1)
    lines = list(csv.DictReader(io.StringIO(ablate('--seeds', 0, 1, '--collect', '--csv')[1])))
    assert [line['row'] for line in lines] == [row.name for row in TEN.rows]
    assert (lines[2]['gIoU mean'], lines[2]['gIoU paper']) == ('60.5', '66.01')
    assert float(lines[2]['gIoU difference']) == pytest.approx(-5.51)
    assert lines[0]['gIoU mean'] == '' and lines[0]['Cascaded Prompter'] == '✗'
    told = ablate('--seeds', 0, 1, '--collect', '--markdown')[1]
    assert '| rrsisd_ablation | ✓ | ✓ | 2 | 80.00 ± 0.00 | 76.60 | +3.40 |' in told
    assert '| 60.50 ± 0.71 | 66.01 | -5.51 |' in told
    terminal = ablate('--seeds', 0, 1, '--collect')[1]
    assert '60.50 ± 0.71' in terminal and 'nothing about the paper' in ' '.join(terminal.split())
    assert len(stand_in()) == 8, '--collect ran something'


def test_another_config_in_the_same_place_is_refused(ablate, stand_in):
    ablate(rows=['rrsisd_ablation'])
    code, _, err = ablate('--cfg-options', 'model.prompter.n_t=2', rows=['rrsisd_ablation'])
    assert code == 1 and 'was begun with another config' in err and '--work-dir' in err
    code, _, err = ablate('--cfg-options', 'model.prompter.n_tt=2', rows=['t10_no_dense'])
    assert code == 1 and "no option 'n_tt'" in err
    assert len(stand_in()) == 2
    # options are the tiny config's, which has some that the full-size one has not
    assert (
        ablate(
            '--cfg-options',
            'test_evaluator.baselines=False',
            'model.losses.dense.loss_weight=4',
            table='table11',
            rows=['t11_neither'],
        )[0]
        == 0
    )


@pytest.mark.parametrize(
    ('edit', 'says'),
    [
        (
            lambda row: row['changes'].update({'model.prompter.n_t': 1}),
            "model.prompter.n_t becomes 1, by .*t10_no_dense.py the parent's value",
        ),
        (lambda row: row.pop('changes'), 'model.prompter.dense becomes nothing, by .* None'),
        (
            lambda row: row.update(config='configs/ablations/table07_blocks/t07_prompt_1.py'),
            "model.prompter.dense becomes None, by .*t07_prompt_1.py the parent's value",
        ),
    ],
)
def test_an_index_that_disagrees_with_a_config(ablate, stand_in, tmp_path, edit, says):
    """Edited by hand: said before the first run."""
    index = json.loads((ROOT / INDEX_FILE).read_text(encoding='utf-8'))
    (table,) = (table for table in index['tables'] if table['table'] == 'table10')
    (row,) = (row for row in table['rows'] if row['config'].endswith('t10_no_dense.py'))
    edit(row)
    path = tmp_path / 'index.json'
    path.write_text(json.dumps(index))
    names = {Path(row['config']).stem for row in table['rows']} - {'t10_neither'}
    code, _, err = run_with_index(ablate, path, names)
    assert code == 1 and re.search(f'index.json: table10, row .*{says}: make them agree', err), err
    assert not stand_in()


def run_with_index(ablate, path, names):
    return ablate('--index', path, rows=sorted(names), scale=None)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_another_data_set_than_the_tables(ablate, stand_in, split):
    code, _, err = ablate('--cfg-options', f'{split}_dataloader.dataset.type=RRSISD')
    assert code == 1 and not stand_in()
    assert (
        f'table10 is of SynthRS, and {split}_dataloader.dataset.type=RRSISD makes it another '
        'table: drop that option, or train the row by itself'
    ) in err


def test_a_row_that_is_not_there(ablate, stand_in):
    code, _, err = ablate(rows=['t10_no_dens'])
    assert code == 1 and not stand_in()
    assert "table10 has no row 't10_no_dens' (did you mean t10_no_dense?)" in err


def test_a_row_that_runs_elsewhere_is_left(stand_in, tmp_path):
    (one,) = runs.plan(TEN, names=['t10_no_dense'], seeds=[0], scale='tiny', root=tmp_path / 'runs')
    runs.write_config(one, repository=ROOT)
    assert one.state() == 'new'
    with open(one.folder.with_suffix('.lock'), 'w') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert one.state() == 'running' and runs.execute(one) == 'running'
        assert stand_in() == []
    assert runs.execute(one) == 'finished' and one.state() == 'finished'
    assert runs.execute(one) == 'finished' and len(stand_in()) == 2, 'it was finished meanwhile'


def test_the_config_of_a_run(tmp_path):
    (one,) = runs.plan(TEN, names=['t10_neither'], seeds=[3], scale='paper', root=tmp_path)
    runs.write_config(one, {'train_cfg.max_epochs': 2}, repository=ROOT)
    config = load_config(str(one.config))
    assert (config.randomness.seed, config.train_cfg.max_epochs) == (3, 2)
    assert config.model.prompter.type == 'SingleStagePrompter' and config.work_dir == str(
        one.folder
    )
    runs.write_config(one, {'train_cfg.max_epochs': 2}, repository=ROOT)  # the same: no error


def test_torchrun():
    (one,) = runs.plan(TEN, names=['t10_neither'], seeds=[0], scale='paper', root='work_dirs/a')
    command = runs.train_command(one, 'pytorch', ranks=4)
    assert command[:5] == [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc-per-node=4',
    ]
    assert command[5:] == [
        '-m',
        'rsrefseg2.cli',
        'train',
        'work_dirs/a/paper/t10_neither/seed0.py',
        '--work-dir',
        'work_dirs/a/paper/t10_neither/seed0',
        '--launcher',
        'pytorch',
        '--resume',
    ]


@pytest.mark.parametrize('name', ['train', 'test'])
def test_the_commands_start_in_any_folder(tmp_path, name):
    (one,) = runs.plan(TEN, names=['t10_neither'], seeds=[0], scale='tiny', root=tmp_path)
    command = dict(train=runs.train_command(one), test=runs.test_command(one, 'x.pth'))[name]
    start = command[: command.index(name) + 1]
    done = subprocess.run([*start, '--help'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and f'rsrefseg2 {name}' in done.stdout, done.stderr


def test_slurm_submits_a_run_once(ablate, stand_in, tmp_path, monkeypatch):
    """With an sbatch that runs the job at once, or leaves it in the queue, and an srun."""
    tools = {
        'srun': 'exec "$@"',
        'sbatch': f'for last; do :; done\necho "$@" >> {tmp_path}/submitted\n'
        f'[ -f {tmp_path}/busy ] || bash "$last" >&2 || exit 1\necho 17',
        'squeue': f'[ -f {tmp_path}/busy ] && echo 17 PD; exit 0',
    }
    for name, text in tools.items():
        path = tmp_path / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/bash\n{text}\n')
        path.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}')
    submitted = tmp_path / 'submitted'
    (tmp_path / 'busy').touch()
    arguments = ('--launcher', 'slurm', '--ranks', 2, '--slurm-args=--partition=gpu')
    code, _, err = ablate(*arguments, rows=['t10_no_dense'])
    assert code == 0 and 'job 17' in err and stand_in() == []
    assert '--ntasks=2' in submitted.read_text() and '--partition=gpu' in submitted.read_text()
    assert 'queued' in ablate(*arguments, rows=['t10_no_dense'])[2]
    assert len(submitted.read_text().splitlines()) == 1
    (tmp_path / 'busy').unlink()  # the job is lost: submitted again, and now it runs
    assert 'job 17' in ablate(*arguments, rows=['t10_no_dense'])[2]
    assert [call.split()[0] for call in stand_in()] == ['train', 'test']
    assert all(call.split()[-1] in ('slurm', '--resume') for call in stand_in())
    assert 'finished' in ablate(*arguments, rows=['t10_no_dense'])[2]
    assert len(submitted.read_text().splitlines()) == 2
    monkeypatch.setenv('PATH', str(tmp_path / 'nothing'))
    code, _, err = ablate(*arguments, rows=['t10_neither'])
    assert code == 1 and 'sbatch is not there' in err


def test_what_there_is(run, ablate, stand_in, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, _ = run('ablate.py', '--list')
    assert code == 0 and len(out.splitlines()) == 11 and out.startswith('table06')
    out = run('ablate.py', '--list', '--json')[1]
    assert [(row['table'], row['config'], row['paper']) for row in json.loads(out)] == [
        (table.key, row.config, row.paper) for table in INDEX.tables for row in table.rows
    ]
    assert (
        run('ablate.py', '--list', '--markdown')[1]
        == (ROOT / 'configs/ablations/README.md').read_text()
    )
    ablate(rows=['t10_no_dense'])
    states = dict(line.split()[::3] for line in ablate('--list', rows=())[1].splitlines())
    assert states == {'t10_neither': 'new', 't10_no_dense': 'finished', 'rrsisd_ablation': 'new'}
    code, _, err = ablate(rows=['t10_no_dens'])
    assert code == 1 and 'did you mean t10_no_dense' in err
    assert run('ablate.py')[0] == 2


def test_another_index(run, stand_in, tmp_path, monkeypatch):
    """Its scores may be of a breakdown, and its runs are of no scale."""
    monkeypatch.chdir(ROOT)
    where = ('--index', WHERE)
    names = [table.key for table in read_index(ROOT, WHERE).tables]
    assert [line.split()[0] for line in run('ablate.py', '--list', *where)[1].splitlines()] == names
    call = ('ablate.py', 'position', *where, '--rows', 'query_key', '--work-dir', tmp_path / 'w')
    code, _, err = run(*call)
    assert code == 1 and 'no by_level.attribute.object_hit' in err
    folder = tmp_path / 'w/query_key/seed0'
    level = {'object_hit': 80.5, 'gIoU': 60.0}
    (folder / 'scores.json').write_text(
        json.dumps(
            {
                'gIoU': 70.25,
                'Pr@0.5': 1.0,
                'by_level': dict.fromkeys(('attribute', 'position', 'relation'), level),
            }
        )
    )
    (row,) = (
        row
        for row in json.loads(run(*call, '--collect', '--json')[1])['rows']
        if row['row'] == 'query_key'
    )
    assert row['scores']['gIoU']['mean'] == 70.25
    assert row['scores']['by_level.relation.object_hit']['mean'] == 80.5
    assert results.look_up({'Pr@0.5': 1.0}, 'Pr@0.5') == 1.0
    assert run(*call, '--scale', 'tiny')[0] == 2
    assert run('ablate.py', '--list', *where, '--markdown')[0] == 2


def test_a_single_run_has_no_spread():
    empty = results.collect(TEN, [], INDEX.scores)
    head, lines = results.cells(TEN, empty)
    assert head[:4] == ['row', 'Cascaded Prompter', 'Dense Prompt', 'seeds']
    assert head[4:7] == ['Pr@0.5', 'Pr@0.5 paper', 'Pr@0.5 diff'] and len(head) == 4 + 3 * 5
    assert lines[2][:4] == ['rrsisd_ablation', '✓', '✓', '0']
    assert lines[2][-3:] == ['-', '66.01', '-']
    assert results.Result(66.01, 60.0, None, 1).difference == pytest.approx(-6.01)


def test_the_wrong_scale(ablate):
    code, _, err = ablate(table='table16', rows=())
    assert code == 1 and 'no tiny scale' in err
    with pytest.raises(UserError, match='no row'):
        runs.plan(TEN, names=['nothing'], seeds=[0], scale='tiny', root='x')


@pytest.mark.slow
def test_the_real_commands(run, ablate, tmp_path, monkeypatch):
    """A row trains for two iterations, is tested, and is not run again."""
    monkeypatch.setenv('RSREFSEG2_DATA', str(tmp_path / 'data'))
    monkeypatch.chdir(tmp_path)  # the configs are the shipped ones
    assert (
        run(
            'synthrs_generate.py',
            '--out',
            tmp_path / 'data/synthrs',
            '--scenes-train',
            8,
            '--scenes-val',
            2,
            '--scenes-test',
            2,
            '--workers',
            1,
        )[0]
        == 0
    )
    options = [
        '--cfg-options',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=1',
        'train_dataloader.batch_size=6',
    ]
    code, out, err = ablate(*options, '--json', rows=['t10_neither'])
    assert code == 0, err
    score = json.loads(out)['rows'][0]['scores']['gIoU']
    assert score['seeds'] == 1 and 0 <= score['mean'] <= 100
    begun = {path: path.stat().st_mtime for path in (tmp_path / 'runs').rglob('*.pth')}
    assert ablate(*options, '--json', rows=['t10_neither'])[1] == out
    assert begun == {path: path.stat().st_mtime for path in (tmp_path / 'runs').rglob('*.pth')}
