"""The three layouts, fabricated: every triplet arrives as it was written."""

import pickle

import numpy as np
import pytest

from rsrefseg2.datasets import RRSISD, RefSegRS, RISBench
from rsrefseg2.datasets.plain_pickle import load_plain_pickle
from rsrefseg2.errors import UserError
from tests.fabricate import (
    HEIGHT,
    PHRASE_LAYOUTS,
    WIDTH,
    change_instances,
    fabricate,
    fabricate_rrsisd,
    target,
)

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    return {name: fabricate(name, folder / name) for name in ('refsegrs', 'rrsisd', 'risbench')}


def read(reader, root, split='train', **options):
    data = reader(
        data_root=str(root), split=split, pipeline=PIPELINE, serialize_data=False, **options
    )
    return [data[i]['data_samples'] for i in range(len(data))]


@pytest.mark.parametrize('name, reader', [('refsegrs', RefSegRS), ('risbench', RISBench)])
def test_phrase_files(roots, name, reader):
    number = 0
    for split, names in PHRASE_LAYOUTS[name]['names'].items():
        samples = read(reader, roots[name], split)
        assert [s.sample_id for s in samples] == names
        for sample in samples:
            assert sample.text == f'the  bright rectangle number {number} .'  # only ends stripped
            assert sample.category is None
            assert sample.ori_shape == (HEIGHT, WIDTH)
            np.testing.assert_array_equal(sample.gt_mask.numpy(), target(number))
            number += 1


def test_rrsisd_joins_by_ids_and_keeps_every_sentence(roots):
    samples = read(RRSISD, roots['rrsisd'])
    assert [(s.sample_id, s.text, s.category) for s in samples] == [
        ('1040', 'the vehicle number 0', 'vehicle'),
        ('1003', 'the Expressway-Service-area number 2', 'Expressway-Service-area'),
        ('1004', 'the Expressway-Service-area number 2 again', 'Expressway-Service-area'),
        ('1011', 'the airplane number 4', 'airplane'),
    ]
    for sample, number in zip(samples, (0, 2, 2, 4), strict=True):
        np.testing.assert_array_equal(sample.gt_mask.numpy(), target(number))
        assert sample.img_path.endswith(('00040.jpg', '00003.jpg', '00011.jpg'))
    first, second = read(RRSISD, roots['rrsisd'], 'test')  # two refs of one image
    assert first.img_path == second.img_path
    assert [s.gt_mask.sum() for s in (first, second)] == [target(3).sum(), target(6).sum()]


def test_image_is_rgb(roots):
    data = RISBench(data_root=str(roots['risbench']), split='train', pipeline=PIPELINE)
    image = data[0]['inputs']
    assert image.shape == (3, HEIGHT, WIDTH) and image.is_contiguous()
    top, left = np.argwhere(target(0))[0]
    assert image[:, top, left].tolist() == [220, 180, 40]


def test_rrsisd_without_middle_folder(tmp_path):
    fabricate_rrsisd(tmp_path, image_folder='images/JPEGImages')
    assert len(read(RRSISD, tmp_path)) == 4


@pytest.mark.parametrize(
    'name, reader, wrapper',
    [
        ('refsegrs', RefSegRS, 'RefSegRS'),
        ('rrsisd', RRSISD, 'RRSIS-D'),
        ('risbench', RISBench, 'RISBench_dataset'),
    ],
)
def test_wrapping_folder(name, reader, wrapper, tmp_path):
    fabricate(name, tmp_path / wrapper)
    assert len(read(reader, tmp_path)) == 4


def test_text_file_with_bom_crlf_blank_lines_and_extensions(tmp_path):
    root = fabricate('refsegrs', tmp_path)
    plain = read(RefSegRS, root)
    path = root / 'output_phrase_train.txt'
    lines = path.read_bytes().replace(b'20 ', b'20.tif ').split(b'\n')
    path.write_bytes(b'\xef\xbb\xbf' + b'\r\n\r\n'.join(lines).rstrip())
    again = read(RefSegRS, root)
    assert [(s.sample_id, s.text) for s in again] == [(s.sample_id, s.text) for s in plain]


def test_a_separator_inside_a_sentence_is_no_line_end(tmp_path):
    root = fabricate('risbench', tmp_path)
    path = root / 'output_phrase_val.txt'
    path.write_text('train_14700_0 the\u2028ship\x0bhere\n', encoding='utf-8')
    assert [s.text for s in read(RISBench, root, 'val')] == ['the\u2028ship\x0bhere']


def test_own_categories(tmp_path):
    root = fabricate('rrsisd', tmp_path)
    change_instances(lambda c: c['categories'][18].update(name='kayak'))(root)
    with pytest.raises(UserError, match="category 'kayak' is not among the 20 classes"):
        RRSISD(data_root=str(root), split='train')
    data = RRSISD(data_root=str(root), split='train', classes=None)
    assert data.metainfo['classes'][18] == 'kayak'
    assert data[0]['category'] == 'kayak'


def test_indices_lazy_and_metainfo(roots):
    root = str(roots['risbench'])
    assert [r['sample_id'] for r in RISBench(data_root=root, split='train', indices=2)] == [
        'train_0_0',
        'train_0_2',
    ]
    chosen = RISBench(data_root=root, split='train', indices=[3, 0])
    assert [chosen[i]['sample_id'] for i in range(2)] == ['train_7_1', 'train_0_0']
    lazy = RISBench(data_root='not there yet', split='train', lazy_init=True)
    assert len(lazy.metainfo['classes']) == 26
    with pytest.raises(UserError, match='does not exist'):
        len(lazy)


def test_exchanged_sentences_come_from_another_image(roots):
    for name, reader in (('rrsisd', RRSISD), ('refsegrs', RefSegRS)):
        plain = read(reader, roots[name])
        exchanged = read(reader, roots[name], exchange_sentences=True, exchange_seed=3)
        images_of = {}
        for sample in plain:
            images_of.setdefault(sample.text, set()).add(sample.img_path)
        for before, after in zip(plain, exchanged, strict=True):
            assert after.img_path not in images_of[after.text]
            assert (after.sample_id, after.img_path, after.category) == (
                before.sample_id,
                before.img_path,
                before.category,
            )
            assert (after.gt_mask == before.gt_mask).all()
        again = read(reader, roots[name], exchange_sentences=True, exchange_seed=3)
        assert [s.text for s in again] == [s.text for s in exchanged]
    with pytest.raises(UserError, match='at least 2 images'):
        read(RRSISD, roots['rrsisd'], 'test', exchange_sentences=True)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickle_reads_plain_data(protocol, tmp_path):
    content = [{'a': 1, 'b': [2.5, None, True], 'c': ('é', b'\xff', {3}, frozenset({4}), 10**30)}]
    path = tmp_path / 'plain.p'
    if protocol < 3:  # bytes come by a function call before protocol 3; the release has none
        content[0]['c'] = tuple(v for v in content[0]['c'] if not isinstance(v, bytes))
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert load_plain_pickle(str(path)) == content


def test_strings_of_python_2(tmp_path):
    path = tmp_path / 'python2.p'
    path.write_bytes(b'\x80\x02]q\x00U\x05caf\xc3\xa9q\x01a.')  # ['café'] as Python 2 writes it
    assert load_plain_pickle(str(path)) == ['café']
