"""tools/data/verify.py finds every fabricated fault, and goes on behind it."""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.dataprep.convert import convert
from rsrefseg2.dataprep.verify import as_dict, as_text, verify
from rsrefseg2.datasets.readers import splits_of
from tests.fabricate import FAULTS, change_instances, fabricate, rle_of, set_line
from tests.test_datasets.test_faults import AT_SAMPLE, AT_START, without_reason
from tests.variants import fabricate_jsonl


def kinds(report):
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize('dataset, fault', [(d, f) for d, of in FAULTS.items() for f in of])
def test_every_fault_is_found(dataset, fault, tmp_path):
    root = fabricate(dataset, tmp_path, fault=fault)
    report = verify(dataset, str(root))
    assert report.verdict == 'errors'
    errors = [f for f in report.findings if f.severity == 'error']
    lost = 8 - sum(report.samples.values())
    assert set(report.samples) == set(splits_of(dataset)) and lost <= 8
    message = {**AT_START[dataset], **AT_SAMPLE[dataset]}[fault].replace('{root}', str(root))
    found = [without_reason(f'{f.location}: {f.what}') for f in errors]
    if kinds(report) & {'missing image', 'missing mask'}:  # each file, not the first three
        assert all(f.kind.startswith('missing') for f in errors)
        assert len(errors) == int(fault == 'missing masks') + 1
        assert not lost
    elif fault == 'truncated instances':
        assert any('no JSON' in line for line in found)
    elif fault in ('no val', 'empty text', 'no record'):
        assert {f.kind for f in errors} == {'unreadable split'}
    elif fault in AT_SAMPLE[dataset]:
        assert len(errors) == 1 and not lost
        assert any(line.endswith(message.partition(': ')[2]) for line in found), (found, message)
    else:
        assert any(line == message for line in found), (found, message)


def test_many_faults_at_once_are_all_listed(tmp_path):
    root = fabricate('rrsisd', tmp_path)
    for fault in ('sentence None', 'missing image'):
        FAULTS['rrsisd'][fault](root)
    refs = pickle.loads((root / 'rrsisd/refs(unc).p').read_bytes())
    refs[4].pop('image_id')
    refs[6]['sentences'] = []
    (root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs))
    change_instances(
        lambda c: [
            a.update(segmentation=[{'size': [48, 64], 'counts': 'abc'}])
            for a in c['annotations']
            if a['id'] in (103, 107)
        ]
    )(root)
    report = verify('rrsisd', str(root))
    assert report.samples == {'train': 2, 'val': 2, 'test': 1}
    found = sorted((f.kind, f.split) for f in report.findings if f.severity == 'error')
    assert found == [
        ('bad mask', 'train'),
        ('bad mask', 'val'),
        ('bad record', 'test'),
        ('bad record', 'train'),
        ('bad record', 'train'),
    ]


def test_warnings(tmp_path):
    root = fabricate('refsegrs', tmp_path)
    shutil.copy(root / 'images/12.tif', root / 'images/471.tif')
    shutil.copy(root / 'images/12.tif', root / 'images/8.tif')  # of the test split
    shutil.copy(root / 'images/12.tif', root / 'images/99.tif')  # of none
    set_line('output_phrase_train.txt', 1, b'12 the Car ' + b'again and ' * 40)(root)
    set_line('output_phrase_train.txt', 3, b'471 the car  ' + b'again and ' * 40)(root)
    for name, pixels in (('3', 0), ('20', 24)):
        mask = np.zeros((49, 64), np.uint8)
        mask[2, :pixels] = 1
        Image.fromarray(mask).save(root / f'masks/{name}.tif')
    report = verify('refsegrs', str(root), count_tokens=lambda text: len(text.split()) + 1)
    assert report.verdict == 'warnings'
    assert kinds(report) == {
        'count',
        'orphan',
        'resized mask',
        'empty mask',
        'tiny mask',
        'contradiction',
        'shared image',
        'long sentence',
    }
    by_kind = {finding.kind: finding for finding in report.findings}
    assert by_kind['orphan'].location.endswith('images/99.tif')
    assert by_kind['shared image'].what == 'one picture in test (8.tif), train (12.tif)'
    assert by_kind['contradiction'].location == 'samples 12, 471'
    assert by_kind['resized mask'].what == 'the mask is 49 x 64, its image 48 x 64'
    assert by_kind['long sentence'].what == '83 tokens, the text tower reads 64'
    assert by_kind['tiny mask'].what == '24 pixels, sample 20'
    train = report.statistics['train']
    assert (
        train['image files'],
        train['different images'],
        train['empty masks'],
        train['resized masks'],
        train['unknown category'],
    ) == (4, 3, 1, 2, 2)
    assert as_text(report).count('What to do: ') == 8
    may_be_empty = verify('refsegrs', str(root), no_target=True)
    assert kinds(may_be_empty) == kinds(report) - {'empty mask', 'long sentence'}
    assert may_be_empty.statistics['train']['empty masks'] == 1
    assert {'severity', 'kind', 'split', 'location', 'what', 'do'} == set(
        as_dict(report)['findings'][0]
    )


def test_equal_masks_of_equal_sentences(tmp_path):
    root = fabricate('risbench', tmp_path)
    for folder in ('img_rgb', 'mask'):
        shutil.copy(root / folder / 'train_0_0.png', root / folder / 'train_7_1.png')
    for number, name in ((1, b'train_0_0'), (4, b'train_7_1')):
        set_line('output_phrase_train.txt', number, name + b'.png the ship')(root)
    report = verify('risbench', str(root))
    assert kinds(report) == {'count', 'duplicate sentence'}


def test_the_tool(run, tmp_path):
    root = fabricate_jsonl(tmp_path / 'lines', 'rrsisd')
    code, out, _ = run('data/verify.py', 'jsonl', root)
    assert code == 0 and out.rstrip().endswith('clean: 0 errors, 0 warnings')
    code, out, _ = run('data/verify.py', 'jsonl', root, '--benchmark', 'rrsisd', '--json')
    report = json.loads(out)
    assert code == 1 and report['verdict'] == 'warnings'
    assert report['samples'] == {'train': 4, 'val': 2, 'test': 2}
    assert {finding['kind'] for finding in report['findings']} == {'count'}
    (root / 'images/rrsisd/JPEGImages/00040.jpg').unlink()
    code, out, _ = run('data/verify.py', 'jsonl', root, '--json', tmp_path / 'report.json')
    assert code == 2 and 'error: missing image, 1 times. What to do: fetch the download' in out
    assert json.loads((tmp_path / 'report.json').read_text())['verdict'] == 'errors'
    code, out, err = run('data/verify.py', 'rrsisd', tmp_path / 'none')
    assert code == 2 and out == '' and err.startswith('error: data root ')


@pytest.mark.parametrize('layout', ['rrsisd', 'risbench', 'jsonl'])
def test_own_conversions_pass(tmp_path, layout):
    """They have other categories and counts than the benchmark of the layout, and empty splits."""
    source = fabricate('rrsisd', tmp_path / 'source')
    change_instances(lambda c: [k.update(name=f'kind {k["id"]}') for k in c['categories']])(source)
    convert('rrsisd', str(source), to=layout, out=tmp_path / 'out', splits=('train', 'val'))
    report = verify(layout, str(tmp_path / 'out'))
    assert report.verdict == 'clean' and report.samples == {'train': 4, 'val': 2, 'test': 0}
    (tmp_path / 'out/scenes/scenes_train.jsonl').write_text('{"sentences": []}\n')
    assert 'written: 0' in as_text(verify(layout, str(tmp_path / 'out')))


def test_other_names_and_the_advice_for_them(run, tmp_path):
    root = fabricate('rrsisd', tmp_path)
    change_instances(lambda c: [k.update(name=f'kind {k["id"]}') for k in c['categories']])(root)
    code, out, _ = run('data/verify.py', 'rrsisd', root)
    assert code == 2 and 'take any name by --any-category' in out
    code, out, _ = run('data/verify.py', 'rrsisd', root, '--any-category')
    assert code == 1 and ' 0 errors' in out  # the counts are not the benchmark's
    code, out, _ = run('data/verify.py', 'rrsisd', root, '--any-category', '--own-data')
    assert code == 0 and 'published' not in out


def test_options_are_checked_before_the_long_work(run, tmp_path):
    root = fabricate('rrsisd', tmp_path / 'data')
    kept = (root / 'rrsisd/instances.json').read_bytes()
    for options, says in (
        (['--benchmark', 'rrsisd'], '--benchmark is for jsonl'),
        (['--max-tokens', '0'], "--max-tokens: '0' is not at least 1"),
        (['--json', root / 'rrsisd/instances.json'], 'did not write'),
    ):
        code, out, error = run('data/verify.py', 'rrsisd', root, *options)
        assert code == 2 and out == '' and says in error
    assert (root / 'rrsisd/instances.json').read_bytes() == kept
    for _ in range(2):  # a report replaces a report
        assert run('data/verify.py', 'rrsisd', root, '--json', tmp_path / 'new/report.json')[0] == 1


def test_a_huge_mask_is_damage(tmp_path):
    root = fabricate('rrsisd', tmp_path)
    rle = dict(rle_of(np.zeros((48, 64), bool)), size=[10**6, 10**6])
    change_instances(lambda c: c['annotations'][0].update(segmentation=[rle]))(root)
    report = verify('rrsisd', str(root))
    assert [f.kind for f in report.findings if f.severity == 'error'] == ['bad record']
