"""The report page: what it says, from a full dump, a bare one and a running test; in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from rsrefseg2.apis.report_page import choose_cases, write_report
from rsrefseg2.engine import load_config
from rsrefseg2.evaluation import COLUMNS, PROTOCOLS, Report, dumped_samples, score_record
from rsrefseg2.registry import MODELS
from tests.dumps import rle, shifted, target, write_dump
from tests.test_visualization.test_panel import Reader
from tests.training import write_config

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')


@pytest.fixture(scope='module')
def dump(tmp_path_factory):
    return write_dump(tmp_path_factory.mktemp('dump'), 'ours', shifted(1))


def report(dump, out, **options):
    options = dict(dict(protocol=PROTOCOLS['paper'], title='A report', cases=3), **options)
    return write_report(dump, out, **options).read_text(encoding='utf-8')


def scores_of(dump, protocol='paper'):
    total = Report(PROTOCOLS[protocol])
    for sample in dumped_samples(dump):
        total.add(score_record(sample, PROTOCOLS[protocol]))
    return total


def test_the_page_says_what_the_dump_holds(dump, tmp_path):
    text = report(dump, tmp_path / 'new')
    assert (tmp_path / 'new/index.html').is_file()
    read, scores = Reader(text), scores_of(dump)
    assert read.text['dt'][:7] == list(COLUMNS)
    assert read.text['dd'][:7] == [f'{scores.scores()[name]:.2f}' for name in COLUMNS]
    assert 'protocol `paper` (original size, logits > 0' in read.text['p'][0]
    assert read.text['h2'] == [
        'Pr@X over X',
        'Distribution of IoU',
        'By category',
        'By size',
        'By length',
        'By kind',
    ]
    assert 'attribute' in read.text['th'] and 'relation' in read.text['th']
    assert [name for name in read.text['th'] if 'words' in name] == [
        '1-5 words',
        '6-10 words',
        '11-20 words',
    ]
    assert len(read.all('svg')) == 2
    # no server, no network
    assert not re.search(r'(src|href)="(?!data:|#)', text) and 'http' not in text
    assert str(tmp_path) not in text and str(dump) not in text  # no folder of this machine


def test_the_cases_are_the_worst_the_median_and_the_best(dump, tmp_path):
    read = Reader(report(dump, tmp_path))
    figures = read.all('figure')
    assert [f['data-group'] for f in figures] == ['worst'] * 3 + ['median'] * 3 + ['best'] * 3
    every = sorted(
        (target(i) & shifted(1)(i)).sum() / (target(i) | shifted(1)(i)).sum() for i in range(24)
    )
    shown = [float(f['data-iou']) for f in figures]
    assert shown[:3] == every[:3] and shown[6:] == every[:-4:-1]
    middle = sorted(shown[3:6])
    assert middle == every[10:13] or middle == every[11:14]
    assert any('coarse localisation' in fact and 'attribute' in fact for fact in read.text['small'])


def test_cases_of_few_samples_and_of_equal_ious():
    def ranking(n):
        return [(k / 100, 7 * k % 5, str(k)) for k in range(n)]

    assert choose_cases(ranking(1), 6) == [('0', 'worst', 0)]
    assert [group for _, group, _ in choose_cases(ranking(2), 6)] == ['worst', 'best']
    for n in range(1, 30):
        names = [name for name, _, _ in choose_cases(ranking(n), 4)]
        assert len(set(names)) == len(names) == min(n, 3 * min(4, max(1, n // 3)))
    assert choose_cases([], 4) == []


def test_a_bare_dump_of_another_model(tmp_path):
    """id and masks alone; the prediction has a size of its own, which protocol rmsin allows."""
    bare = write_dump(
        tmp_path,
        'bare',
        lambda i: np.kron(target(i), np.ones((2, 2))) > 0,
        n=5,
        keys=('id', 'prediction', 'ground_truth'),
    )
    read = Reader(report(bare, tmp_path / 'page.html', protocol=PROTOCOLS['rmsin'], cases=1))
    assert 'protocol `rmsin`' in read.text['p'][0] and 'names no images' in read.text['p'][0]
    assert read.text['dd'][6] == f'{scores_of(bare, "rmsin").scores()["gIoU"]:.2f}'
    assert read.text['h2'][2:] == ['By size']
    assert len(read.all('figure')) == 3


def test_undefined_ious_are_told_and_not_shown_as_cases(tmp_path):
    empty = np.zeros((64, 64), bool)
    path = write_dump(
        tmp_path,
        'some',
        lambda i: empty,
        n=4,
        ground_truth=lambda i: rle(empty if i == 2 else target(i)),
    )
    read = Reader(report(path, tmp_path / 'page.html', protocol=PROTOCOLS['release']))
    assert read.text['dd'][6] == 'nan'
    assert not any('1002' in fact for fact in read.text['small'])
    assert 'undefined under protocol release: 1002' in read.text['p'][0]


def test_bad_input_is_one_line(run, dump, tmp_path):
    lost = write_dump(tmp_path, 'lost', target, n=3, file=lambda i: f'gone/{i}.png')
    for arguments, message in (
        ((tmp_path / 'none.jsonl',), 'does not exist'),
        ((lost,), '.png does not exist'),
        ((lost, '--images', tmp_path), 'does not exist'),
    ):
        code, _, error = run('analysis/report.py', *arguments, '--out', tmp_path / 'p.html')
        (line,) = error.strip().splitlines()
        assert code == 1 and line.startswith('error: ') and message in line
    code, printed, _ = run(
        'analysis/report.py', lost, '--out', tmp_path / 'p.html', '--images', tmp_path / 'images'
    )
    assert code == 0 and str(tmp_path / 'p.html') in printed


def test_test_writes_the_page_with_dense_prompts(run, towers, rrsisd_root, tmp_path):
    config = write_config(
        tmp_path / 'tiny.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )
    init_default_scope('rsrefseg2')
    torch.save(
        dict(state_dict=MODELS.build(load_config(str(config)).model).state_dict()),
        tmp_path / 'a.pth',
    )
    code, printed, error = run(
        'test.py',
        config,
        tmp_path / 'a.pth',
        '--work-dir',
        tmp_path / 'w',
        '--report',
        tmp_path / 'page',
    )
    assert code == 0, error
    assert str(tmp_path / 'page/index.html') in printed
    text = (tmp_path / 'page/index.html').read_text(encoding='utf-8')
    scores = json.loads((tmp_path / 'w/scores.json').read_text())
    assert f'<dt>gIoU</dt><dd>{scores["gIoU"]:.2f}</dd>' in text
    assert len((tmp_path / 'w/dump.jsonl').read_text().splitlines()) == 2
    assert len(Reader(text).all('figure')) == 2
    # the same page without the model differs by the dense prompts of its panels alone
    bare = report(tmp_path / 'w/dump.jsonl', tmp_path / 'b.html', title='a.pth of tiny.py')
    shown = re.compile('<div><span>Dense prompt.*?</div>')
    assert len(shown.findall(text)) == 2
    assert shown.sub('', text) == bare


def test_it_renders_in_a_browser_without_errors(dump, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f'none of {", ".join(BROWSERS)} is installed')
    page = tmp_path / 'index.html'

    def render(text):
        page.write_text(text, encoding='utf-8')
        done = subprocess.run(
            [
                browser,
                '--headless',
                '--no-sandbox',
                '--disable-gpu',
                '--enable-logging=stderr',
                f'--user-data-dir={tmp_path / "profile"}',
                '--dump-dom',
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if 'CONSOLE' in line]

    text = report(dump, tmp_path / 'first.html')
    seen, errors = render(text)
    assert not errors
    assert 'id="count">9 of 9</output>' in seen  # which the script has written
    # what it cannot load or run is seen
    assert render(text.replace('update();\n', 'undefinedName();\n'))[1]
