"""docs/model_zoo.md is what the data say, and a record says what its run's own files do. The runs
are made up here, folders as tools/ablate.py leaves them; no model is trained."""

import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
from mmengine.config import Config

from rsrefseg2.apis import ablation_runs as runs
from rsrefseg2.apis.ablations import STUDIES, WHERE, read_index
from rsrefseg2.datasets.rrsisd import CLASSES
from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import COLUMNS
from rsrefseg2.visualization import read_runs
from tests.dumps import shifted, write_dump
from tools.dev.model_zoo import PAGE, PUBLISHED, QUICKSTART, SCORES, zoo_page
from tools.dev.run_records import OWN_RECORDS, RECORDS, add_records, make_record, read_records

ROOT = Path(__file__).resolve().parents[2]
OWN = (OWN_RECORDS,)
INDEX = read_index(ROOT)
LEVELS = ('attribute', 'position', 'relation')
BRIEF = {'train_cfg.max_iters': 100, 'param_scheduler.1.end': 100}


def committed():
    return (ROOT / PAGE).read_text(encoding='utf-8')


# ---- the page in the repository ---------------------------------------------------------------


def test_the_page_is_the_data():
    assert committed() == zoo_page(ROOT), f'python tools/dev/zoo.py --records {RECORDS} > {PAGE}'


def test_all_that_the_page_names_is_there():
    for link in re.findall(r'\]\(([^)]+)\)', committed()):
        assert (ROOT / 'docs' / link).resolve().is_file(), link
    for path in re.findall(r'(?<![\w/])(?:configs|tools|projects)/[\w/]+\.(?:py|sh)', committed()):
        assert (ROOT / path).is_file(), path


def numbers(value):
    """Every number below `value`, as the page prints it."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(numbers, value))
    return {f'{value:.2f}'} if isinstance(value, float) else set()


def test_every_number_of_the_page_stands_in_the_data():
    published = json.loads((ROOT / PUBLISHED).read_text(encoding='utf-8'))
    known = numbers(published['tables'])
    known |= numbers(json.loads((ROOT / QUICKSTART).read_text(encoding='utf-8')))
    known |= numbers([row.paper for table in INDEX.tables for row in table.rows])
    for table in published['tables']:
        beside = load_config(str(ROOT / table['release'])).test_evaluator.beside
        known |= numbers([dict(row) for row in beside.values()])
        if table['number'] == 'IV':  # the last line
            columns = zip(*(list(row.values())[1:] for row in table['rows']))
            known |= numbers([statistics.fmean(column) for column in columns])
    groups = {}
    for record in read_records(ROOT):
        known |= numbers([record['scores'], record['intervals']])
        key = (record['config'], record['scale'], record['trained'], json.dumps(record['options']))
        groups.setdefault(key, []).append(record['scores'])
    for group in groups.values():
        for name in (*SCORES, 'object_hit'):
            for parts in (
                [scores for scores in group],
                *(
                    [scores['by_level'][level] for scores in group]
                    for level in LEVELS
                    if all(level in scores.get('by_level', ()) for scores in group)
                ),
            ):
                values = [scores[name] for scores in parts if name in scores]
                if not values:
                    continue
                known |= numbers(statistics.fmean(values))
                known |= numbers([statistics.stdev(values)] if len(values) > 1 else [])
    # the differences of that section are test_claims.py's
    page = re.sub(r"### Which of the paper's statements.*?(?=\n## )", '', committed(), flags=re.S)
    assert set(re.findall(r'(?<![\d.-])\d+\.\d\d(?!\d)', page)) <= known


def test_published_numbers_are_well_formed():
    published = json.loads((ROOT / PUBLISHED).read_text(encoding='utf-8'))
    assert [table['number'] for table in published['tables']] == ['II', 'III', 'IV', 'V']
    for table in published['tables']:
        if table['number'] == 'IV':
            continue
        methods = [row['method'] for row in table['rows']]
        assert len(methods) == len(set(methods))
        for row in table['rows']:
            assert set(row) == {'method', 'venue', 'scored_at', 'source', *COLUMNS}
            assert row['gIoU'], row
            assert all(row[name] is None or 0 < row[name] < 100 for name in COLUMNS)
            rates = [row[name] for name in COLUMNS[:5] if row[name]]
            assert rates == sorted(rates, reverse=True), row  # Pr@0.5 ... Pr@0.9
            assert set(row['source'].split(', ')) <= set(published['sources']), row


@pytest.mark.parametrize('number', ['II', 'III', 'IV', 'V'])
def test_published_numbers_are_the_papers(number):
    """Every printed row, and its own method's in the configs beside which scores are printed."""
    path = ROOT.parent / 'shared/paper/tables.json'
    if not path.is_file():
        pytest.skip(f"the paper's tables are not at {path}")
    printed = json.loads(path.read_text(encoding='utf-8'))[number]['rows']
    published = json.loads((ROOT / PUBLISHED).read_text(encoding='utf-8'))
    (table,) = (table for table in published['tables'] if table['number'] == number)
    release = load_config(str(ROOT / table['release'])).test_evaluator
    if number == 'IV':
        *printed, mean = printed
        for row, found in zip(printed, table['rows'], strict=True):
            numbers = {name.removesuffix(' (Ours)'): value for name, value in row.items()}
            assert (
                numbers.pop('Category').replace(' ', '')
                == re.sub('-', '', found.pop('category')).lower()
            )
            assert numbers == found
        for method, value in mean.items():
            if method != 'Category':
                name = method.removesuffix(' (Ours)')
                assert round(statistics.fmean(row[name] for row in table['rows']), 2) == value
        return
    rows = {plain(row['method']): row for row in table['rows']}
    for row in printed:
        name = plain(row['Method'])
        if name == 'rsrefseg2(ours)':
            found = release.beside[f'the paper, Table {number}']
        else:
            found = rows[{'rsrefseg1': 'rsrefseg', 'evfsam': 'evfsamretrained'}.get(name, name)]
            assert 'paper' in found['source'].split(', ')
        assert [found[column] for column in COLUMNS] == [row[column] for column in COLUMNS], name
    own = [name for name, row in rows.items() if 'paper' in row['source'].split(', ')]
    assert len(own) == len(printed) - 1


def plain(name):
    return re.sub(r'[\s,-]', '', name).lower()


def test_table_iv_in_the_config_is_the_zoos():
    """The test of RRSIS-D prints it beside its own; that of the other benchmarks does not."""
    published = json.loads((ROOT / PUBLISHED).read_text(encoding='utf-8'))
    (table,) = (table for table in published['tables'] if table['number'] == 'IV')
    wanted = {row['category']: row['RSRefSeg 2'] for row in table['rows']}
    assert sorted(wanted) == sorted(CLASSES)
    for path in (
        'rrsisd_siglip2_sam21l.py',
        'rrsisd_ablation.py',
        'rrsisd_tiny.py',
        'release/rrsisd.py',
    ):
        evaluator = load_config(str(ROOT / 'configs' / path)).test_evaluator
        assert evaluator.category_beside == {'Table IV': wanted}
    for path in (
        'risbench_siglip2_sam21l.py',
        'release/risbench.py',
        'release/refsegrs.py',
        'synthrs_tiny.py',
    ):
        assert not load_config(str(ROOT / 'configs' / path)).test_evaluator.get('category_beside')


def test_ours_in_table_iii_is_ours_in_table_xvi():
    (table,) = (table for table in INDEX.tables if table.number == 'XVI')
    (row,) = (row for row in table.rows if row.config == table.parent)
    beside = load_config(str(ROOT / 'configs/release/rrsisd.py')).test_evaluator.beside
    printed = beside['the paper, Table III']
    assert {name: printed[name] for name in row.paper} == row.paper


def test_records_say_nothing_of_the_machine_and_their_logs_are_logs():
    records = read_records(ROOT)
    assert not re.search(r'"/\w', json.dumps(records))
    logs = [ROOT / record['log'] for record in records if record['log']]
    assert sorted(logs) == sorted((ROOT / RECORDS).glob('*/*.json'))
    assert len(read_runs(logs)) == len(logs)


# ---- records ----------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of all that the page is made of, without records."""
    root = tmp_path / 'repository'
    for path in ('configs', 'projects', PUBLISHED, QUICKSTART):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(ROOT / path)
    monkeypatch.chdir(root)
    return root


def make_run(
    folder,
    row,
    seed,
    *,
    index=INDEX,
    table='table10',
    scale='tiny',
    options=None,
    dump=False,
    iterations=100,
):
    """A finished run, that scored 60 + seed."""
    (run,) = runs.plan(index.table(table), names=[row], seeds=[seed], scale=scale, root=folder)
    runs.write_config(run, options if options is not None else BRIEF, repository=ROOT)
    config = Config.fromfile(run.config)  # what the runner leaves is not quite what it was given
    config.merge_from_dict(
        {
            'load_from': f'{run.folder}/best_gIoU_iter_50.pth',
            'launcher': 'none',
            'env_cfg.dist_cfg.backend': 'gloo',
        }
    )
    config.dump(run.folder / f'seed{seed}.py')
    (run.folder / 'last_checkpoint').write_text(f'{run.folder}/iter_{iterations}.pth')
    log = run.folder / '20261124_200000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    config.dump(log.parent / 'config.py')  # the training's; the test may overwrite the other
    log.write_text(
        ''.join(
            json.dumps(line) + '\n'
            for line in (
                dict(
                    lr=1e-3, loss=0.5123456, loss_ce=0.3, peak_gib=1.0, time=0.6, iter=50, step=50
                ),
                dict(gIoU=50.0, cIoU=40.0, time=1.0, step=50),
                dict(lr=1e-4, loss=0.4, loss_ce=0.2, peak_gib=1.0, time=0.3, iter=100, step=100),
            )
        )
    )
    (run.folder.joinpath('20261124_200500')).mkdir()
    scores = {'gIoU': 60.0 + seed, 'cIoU': 70.0, 'Pr@0.5': 80.0}
    run.scores.write_text(
        json.dumps(
            {
                **scores,
                'protocol': 'paper',
                'samples': 24,
                'by_category': {'ship': scores},
                'by_level': {
                    level: {**scores, 'gIoU': 50.0 + 2 * seed, 'object_hit': 72.5, 'samples': 8}
                    for level in LEVELS
                },
                'baselines': {'whole image': scores},
            }
        )
    )
    if dump:
        write_dump(run.folder, 'dump', shifted(0.5))
    return run.folder


def other_config(folder, options):
    config = Config.fromfile(folder / 'seed0.py')
    config.merge_from_dict(options)
    config.dump(folder / 'seed0.py')


def test_a_record_is_what_the_runs_files_say(repository, tmp_path):
    folder = make_run(tmp_path / 'runs', 't10_no_dense', 3, dump=True)
    record, _ = make_record(folder, repository)
    assert {
        key: record[key]
        for key in (
            'config',
            'scale',
            'seed',
            'options',
            'trained',
            'checkpoint',
            'dataset',
            'split',
            'begun',
        )
    } == dict(
        config='configs/ablations/table10_cascade_dense/t10_no_dense.py',
        scale='tiny',
        seed=3,
        options=BRIEF,
        trained='iter_100',
        checkpoint='best_gIoU_iter_50.pth',
        dataset='synthrs',
        split='test',
        begun='2026-11-24 20:00:00',
    )
    assert record['minutes'] == pytest.approx((50 * 0.6 + 50 * 0.3) / 60)
    assert record['scores']['by_level']['relation']['gIoU'] == 56.0
    assert not {'by_category', 'baselines'} & set(record['scores'])
    low, high = record['intervals']['gIoU']
    assert 0 < low < high < 100
    assert str(tmp_path) not in json.dumps(record)


def test_a_run_of_where_stands_in_its_table_with_its_hits(repository, tmp_path):
    where = read_index(ROOT, WHERE)
    for row in ('base', 'query_key'):
        make_run(
            tmp_path / 'runs',
            row,
            2,
            index=where,
            table='position',
            scale=None,
            options={'train_cfg.max_iters': 100},
        )
    add_records([tmp_path / 'runs'], 'where')
    assert {(record['config'], record['scale']) for record in read_records('.', OWN)} == {
        ('projects/localisation_study/configs/base.py', None),
        ('projects/localisation_study/configs/query_key.py', None),
    }
    page = zoo_page(folders=OWN)
    section = page[page.index('## Where, not only what') :]
    assert 'object hit, relation' in section and '| 72.50 | 72.50 | 72.50 |' in section
    assert "the paper's" not in section.partition('## The quickstart')[0].partition('\n###')[2]
    assert (
        f'python tools/ablate.py position --rows base query_key --seeds 2 --index {WHERE} '
        '--cfg-options train_cfg.max_iters=100'
    ) in section
    assert '## Other runs' not in page


@pytest.mark.parametrize('study', STUDIES)
def test_a_row_that_two_studies_name_alike_is_known_by_its_config(repository, tmp_path, study):
    index = read_index(ROOT, study)
    table = next(t.key for t in index.tables if 'attention' in {row.name for row in t.rows})
    make_run(tmp_path / 'runs', 'attention', 1, index=index, table=table, scale=None)
    add_records([tmp_path / 'runs'], 'mine')
    (record,) = read_records('.', OWN)
    assert record['config'] == f'{Path(study).parent}/attention.py'
    assert record['options'] == BRIEF


def test_a_run_is_recorded_once_and_its_log_can_be_drawn(repository, tmp_path):
    make_run(tmp_path / 'runs', 't10_no_dense', 0)
    make_run(tmp_path / 'runs', 'rrsisd_ablation', 1)
    out = add_records([tmp_path / 'runs'], 'brief', logs=True)
    text = out.read_text()
    assert len(text.splitlines()) == 2 + 2, 'a line each'
    assert add_records([tmp_path / 'runs'], 'brief', logs=True).read_text() == text
    records = read_records('.', OWN)
    assert [record['seed'] for record in records] == [1, 0]
    log = records[1]['log']
    assert log == f'{OWN_RECORDS}/brief/t10_no_dense_iter_100_seed0.json'
    (run,) = read_runs([log])
    assert run.curves['train/loss'] == {50: 0.51235, 100: 0.4}
    assert run.curves['val/gIoU'] == {50: 50.0} and 'train/peak_gib' not in run.curves
    shutil.rmtree(tmp_path / 'runs')
    make_run(tmp_path / 'runs', 't10_no_dense', 0, options={'train_cfg.max_iters': 100})
    with pytest.raises(UserError, match='with other options .* give another name'):
        add_records([tmp_path / 'runs'], 'brief')


def test_a_run_of_a_config_and_of_no_training(repository, tmp_path):
    """One of a table's own † stands in that table, one of no table's among the others."""
    for name, heading in (
        ('synthrs_long', '## Other runs'),
        ('synthrs_tiny', '## Where, not only what'),
    ):
        folder = tmp_path / f'run_{name}'
        folder.mkdir()
        load_config(str(ROOT / f'configs/{name}.py')).dump(folder / f'{name}.py')
        (folder / 'scores.json').write_text((ROOT / QUICKSTART).read_text())
        record, _ = make_record(folder, repository)
        assert (
            record['config'],
            record['options'],
            record['scale'],
            record['trained'],
            record['minutes'],
            record['begun'],
        ) == (f'configs/{name}.py', {}, None, None, None, None)
        add_records([folder], name, logs=True)
        page = zoo_page(folders=OWN)
        assert 'Nothing was run here at full size' in page
        section = page.split(f'{heading}\n')[1].split('\n## ')[0]
        assert section.count(f'(../configs/{name}.py)') == 1


def test_scores_by_seed_with_their_mean_and_spread(repository, tmp_path, run):
    """Seed n scored 60 + n, by level 50 + 2 n."""
    for seed in (0, 1, 5):
        make_run(tmp_path / 'runs', 'rrsisd_ablation', seed, options={})
    make_run(tmp_path / 'other', 'rrsisd_ablation', 2)  # with options: another setting
    add_records([tmp_path / 'runs'], 'runs')
    add_records([tmp_path / 'other'], 'other')
    code, printed, _ = run('dev/zoo.py', '--seeds', 'configs/rrsisd_ablation.py')
    found = json.loads(printed)
    assert code == 0 and list(found['seeds']) == ['0', '1', '5']
    assert found['trained'] == 'iter_100' and found['split'] == 'test'
    assert found['seeds']['5']['by_level']['relation'] == {
        'gIoU': 60.0,
        'cIoU': 70.0,
        'Pr@0.5': 80.0,
        'object_hit': 72.5,
        'samples': 8,
    }
    assert found['seeds']['1']['minutes'] == 0.75
    assert found['mean']['gIoU'] == 62 and found['mean']['by_level']['position']['gIoU'] == 54
    assert found['std']['gIoU'] == pytest.approx(7**0.5, abs=1e-4)
    assert found['std']['by_level']['position']['object_hit'] == 0
    assert 'protocol' not in found['mean']
    add_records([tmp_path / 'runs/tiny/rrsisd_ablation/seed5'], 'again')
    code, _, error = run('dev/zoo.py', '--seeds', 'configs/rrsisd_ablation.py')
    assert code == 1 and 'seed 5 ' in error and 'again.json' in error.strip().splitlines()[-1]
    (repository / OWN_RECORDS / 'again.json').unlink()
    make_run(tmp_path / 'long', 'rrsisd_ablation', 0, options={}, iterations=1200)
    add_records([tmp_path / 'long'], 'long')
    code, _, error = run('dev/zoo.py', '--seeds', 'configs/rrsisd_ablation.py')
    assert code == 1 and 'the same of all' in error.strip().splitlines()[-1]
    code, _, error = run('dev/zoo.py', '--seeds', 'configs/none.py')
    assert code == 1 and 'holds 0 runs of configs/none.py' in error.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda folder: (folder / 'scores.json').unlink(), 'no run below .* is finished'),
        (lambda folder: (folder / 'scores.json').write_text('{'), r'scores\.json: no JSON'),
        (
            lambda folder: (folder / 'scores.json').write_text('{"evaluators": []}'),
            r'scores\.json holds several evaluators',
        ),
        (lambda folder: (folder / 'more.py').touch(), r'holds 2 configs .*: more.py, seed0.py'),
        (
            lambda folder: (folder / 'seed0.py').rename(folder / 'no_such_config.py'),
            'named as 0 files',
        ),
        (
            lambda folder: folder.parent.rename(folder.parent.with_name('t10_none')),
            "no table has a row 't10_none'",
        ),
        (
            lambda folder: other_config(folder, {'randomness.seed': 1}),
            r'trained and tested with different configs \(randomness\)',
        ),
        (lambda folder: other_config(folder, {'model.prompter.n_t': 2}), r'\(model.prompter.n_t\)'),
    ],
)
def test_bad_input_is_one_line(repository, tmp_path, run, monkeypatch, spoil, message):
    spoil(make_run(tmp_path / 'runs', 't10_no_dense', 0))
    monkeypatch.chdir(repository)
    code, _, error = run('dev/zoo.py', '--add', tmp_path / 'runs', '--name', 'brief')
    assert code == 1 and re.search(message, error.strip().splitlines()[-1]), error
    code, _, error = run('dev/zoo.py', '--add', tmp_path / 'runs', '--name', 'a/b')
    assert code == 1 and 'is a path' in error
    assert run('dev/zoo.py', '--name', 'brief')[0] == 2
    assert not (repository / OWN_RECORDS / 'brief.json').exists()


# ---- a page with runs -------------------------------------------------------------------------


def test_the_rows_that_were_run(repository, tmp_path, run):
    for seed in (0, 1, 5):
        make_run(tmp_path / 'runs', 't10_no_dense', seed)
    make_run(tmp_path / 'runs', 'rrsisd_ablation', 0, dump=True)
    make_run(tmp_path / 'long', 'rrsisd_ablation', 0, options={}, iterations=1200)
    shipped = zoo_page()
    assert run('dev/zoo.py', '--add', tmp_path / 'runs', '--name', 'brief')[0] == 0
    assert run('dev/zoo.py', '--add', tmp_path / 'long', '--name', 'long', '--logs')[0] == 0
    assert zoo_page() == shipped and not (repository / RECORDS).exists()
    assert run('dev/zoo.py', '--records', f'{RECORDS}/')[1] == shipped
    code, page, _ = run('dev/zoo.py')
    assert code == 0 and page == zoo_page(folders=(RECORDS, OWN_RECORDS))
    long, brief = page.split('### Tiny scale, ')[1:]
    assert long.startswith('1200 iterations; synthrs, test: 24 sentences, protocol `paper`')
    assert brief.startswith('100 iterations')
    dense = (
        '| ✓ | ✗ | [t10_no_dense](../configs/ablations/table10_cascade_dense/t10_no_dense.py)'
        ' | 0 1 5 | 80.00 ± 0.00 | 70.00 ± 0.00 | 62.00 ± 2.65 | 54.00 ± 5.29 '
        '| 54.00 ± 5.29 | 54.00 ± 5.29 | 64.13 | 0.8 | - |'
    )  # of 60, 61 and 65
    assert dense in brief
    assert re.search(
        r'rrsisd_ablation\.py\) † \| 0 \| .* \| 60\.00 \[\d+\.\d\d, \d+\.\d\d\] '
        r'\| 50\.00 \| 50\.00 \| 50\.00 \| 66\.01 \| 0\.8 \| - \|',
        brief,
    )
    assert (
        'python tools/ablate.py table10 --rows t10_no_dense --seeds 0 1 5 --scale tiny '
        '--cfg-options param_scheduler.1.end=100 train_cfg.max_iters=100\n'
    ) in brief
    assert brief.count('#### Table') == long.count('#### Table') == 1, '† once where it is alone'
    assert '[0](../work_dirs/records/long/rrsisd_ablation_iter_1200_seed0.json)' in long
