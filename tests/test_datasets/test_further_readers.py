"""The benchmarks beside the paper's three, fabricated: every triplet arrives as it was written."""

import numpy as np
import pytest

from rsrefseg2.dataprep.verify import verify
from rsrefseg2.datasets import EarthReason, LaSeRS, NWPURefer, RemoteSAM270K
from rsrefseg2.datasets.readers import FURTHER, open_split, splits_of
from rsrefseg2.errors import UserError
from rsrefseg2.rle import decode, encode, union
from tests.fabricate import (
    REMOTE_REFS,
    change_json,
    change_pickle,
    fabricate,
    refer_masks,
    rle_of,
    target,
    write_refer,
)

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]
NOTHING = np.zeros((48, 64), bool)
# (sample id, sentence, category, target), by split
EXPECTED = {
    'nwpu_refer': {
        'train': [
            ('1', 'the two storage tanks', None, target(0) | target(2)),
            ('4', 'the dam', 'class 3', target(3)),
            ('5', 'the large airplane', 'class 4', target(4)),
            ('6', '大飞机', 'class 4', target(4)),
        ],
        'val': [('2', 'the ship', 'class 1', target(1)), ('7', 'the ship', 'class 5', target(5))],
        'test': [('8', 'the dam', 'class 6', target(6)), ('9', 'the ship', 'class 7', target(7))],
    },
    'earthreason': {
        'train': [
            ('farm_1_0', 'Where is grain kept?', None, target(0)),
            ('farm_1_1', 'Where do tractors stand?', None, target(0)),
            ('farm_2_0', 'Where could one swim?', None, NOTHING),
            ('farm_3_0', 'Which way leads to the town?', None, target(2)),
        ],
        'val': [
            ('farm_4_0', 'Where do ships land?', None, target(3)),
            ('farm_5_0', 'Where is oil kept?', None, NOTHING),
        ],
        'test': [
            ('farm_6_0', 'Where do planes land?', None, target(5)),
            ('farm_7_0', 'Where is power made?', None, target(6)),
        ],
    },
    'ris_lad': {
        'train': [(str(n), f'the white car {n}', None, target(n)) for n in range(4)],
        'val': [
            ('0', 'the white car 4', None, target(4)),
            ('1', 'the white car 5', None, target(5)),
        ],
        'test': [
            ('0', 'the white car 6', None, target(6)),
            ('1', 'the white car 7', None, target(7)),
        ],
    },
    'remotesam': {
        'train': [
            ('1040', 'the vehicle 1040', 'class 0', target(0)),
            ('1003', 'the Expressway-Service-area 1003', 'class 2', target(2)),
            ('1004', 'the Expressway-Service-area 1004', 'class 2', target(2)),
            ('1011', 'the airplane 1011', 'class 4', target(4)),
        ],
        'val': [
            ('1007', 'the ship 1007', 'class 1', target(1)),
            ('1009', 'the bridge 1009', 'class 5', target(5)),
        ],
        'test': [
            ('1021', 'the chimney 1021', 'class 3', target(3)),
            ('1022', 'the vehicle 1022', 'class 6', target(6)),
        ],
    },
    'lasers': {
        'train': [(str(70 + n), f'Segment the wing {n}.', None, target(n)) for n in range(4)],
        'test': [(str(70 + n), f'Segment the wing {n}.', None, target(4 + n)) for n in range(4)],
    },
}


def require_triplets(name, root, expected, **options):
    assert set(expected) == set(splits_of(name))
    for split, triplets in expected.items():
        data = open_split(name, root, split, pipeline=PIPELINE, **options)
        samples = [data[i]['data_samples'] for i in range(len(data))]
        assert [(s.sample_id, s.text, s.category) for s in samples] == [t[:3] for t in triplets]
        for sample, (*_, mask) in zip(samples, triplets, strict=True):
            np.testing.assert_array_equal(sample.gt_mask.numpy(), mask)


@pytest.mark.parametrize('name', FURTHER)
def test_every_triplet_arrives(name, tmp_path):
    require_triplets(name, fabricate(name, tmp_path), EXPECTED[name])


@pytest.mark.parametrize(
    'name, wrapper',
    [
        ('nwpu_refer', 'NWPU-Refer'),
        ('earthreason', 'EarthReason'),
        ('earthreason', 'rs_reason_seg/RSReasonSeg'),
        ('ris_lad', 'RIS-LAD'),
        ('remotesam', 'RemoteSAM-270K'),
        ('lasers', 'LaSeRS'),
    ],
)
def test_in_a_folder_of_its_own(name, wrapper, tmp_path):
    fabricate(name, tmp_path / wrapper)
    require_triplets(name, tmp_path, EXPECTED[name])


@pytest.mark.parametrize('name', FURTHER)
def test_a_whole_copy_has_no_error(name, tmp_path):
    report = verify(name, str(fabricate(name, tmp_path)))
    assert [f for f in report.findings if f.severity == 'error'] == []
    assert report.samples == {split: len(of) for split, of in EXPECTED[name].items()}
    assert not {f.kind for f in report.findings} & {'count', 'orphan', 'empty mask'}
    empty = sum(of['empty masks'] for of in report.statistics.values())
    assert empty == (2 if name == 'earthreason' else 0)


def test_nwpu_refer_by_other_names(tmp_path):
    root = fabricate('nwpu_refer', tmp_path)
    (root / 'new_refs(unc).p').rename(root / 'refs(unc).p')
    (root / 'new_instances.json').rename(root / 'instances.json')
    (root / 'image').rename(root / 'pictures')
    (root / 'image').mkdir()
    (root / 'pictures').rename(root / 'image/image')
    require_triplets('nwpu_refer', root, EXPECTED['nwpu_refer'])


def test_targets_of_one_category_keep_it(tmp_path):
    root = fabricate('nwpu_refer', tmp_path)
    change_json('new_instances.json', lambda c: c['annotations'][2].update(category_id=0))(root)
    assert NWPURefer(data_root=str(root), split='train')[0]['category'] == 'class 0'


def test_a_sentence_of_two_pictures_stays_two_triplets(tmp_path):
    """NWPU-Refer joins refs of one picture alone."""
    root = fabricate('nwpu_refer', tmp_path)
    change_pickle('new_refs(unc).p', lambda refs: [r.update(split='train') for r in refs])(root)
    data = NWPURefer(data_root=str(root), split='train')
    found = [(r['sample_id'], r['img_path'][-6:]) for r in data if r['text'] == 'the ship']
    assert found == [('2', '/7.jpg'), ('7', '/9.jpg'), ('9', '21.jpg')]


@pytest.mark.parametrize('split, all_, first', [('train', 4, 3), ('val', 3, 2), ('test', 4, 2)])
def test_questions_of_a_picture(split, all_, first, tmp_path):
    root = str(fabricate('earthreason', tmp_path))
    for questions, count in (('all', all_), ('first', first)):
        assert len(EarthReason(data_root=root, split=split, questions=questions)) == count
    with pytest.raises(UserError, match="questions is 'all', 'first' or None, not 'last'"):
        EarthReason(data_root=root, split=split, questions='last')


def test_ris_lad_in_refers_form(tmp_path):
    write_refer(
        tmp_path,
        REMOTE_REFS,
        refs='ris_lad/refs(unc).p',
        instances='ris_lad/instances.json',
        images='images/ris_lad',
        segmentations=refer_masks(),
    )
    require_triplets('ris_lad', tmp_path, EXPECTED['remotesam'])
    objects = open_split('ris_lad', tmp_path, 'test', other_objects=True).objects()
    assert [len(masks) for _, masks in objects] == [2]


def test_remotesam_takes_the_files_categories_and_folder(tmp_path):
    root = fabricate('remotesam', tmp_path)
    (root / 'Annotations').mkdir()
    for name in ('refs(unc).p', 'instances.json'):
        (root / name).rename(root / 'Annotations' / name)
    data = RemoteSAM270K(data_root=str(root), split='val')
    assert [r['text'] for r in data] == ['the ship 1007', 'the bridge 1009']
    assert data.metainfo['classes'] == tuple(f'class {i}' for i in range(10))


def test_lasers_file_by_name(tmp_path):
    root = fabricate('lasers', tmp_path)
    (root / 'train/annotations/other.json').write_text('[]')
    data = LaSeRS(data_root=str(root), split='train', ann_file='train_ann.json')
    assert len(data) == 4
    with pytest.raises(UserError) as caught:
        LaSeRS(data_root=str(root), split='train', ann_file='none.json')
    assert str(caught.value) == (
        f"LaSeRS: file '{root}/train/annotations/none.json' is missing: data/README.md shows the "
        'expected tree'
    )
    with pytest.raises(UserError, match="split 'val' is not one of train, test"):
        LaSeRS(data_root=str(root), split='val')


def test_union_of_run_lengths():
    masks = [target(number) for number in range(3)]
    together = union([encode(masks[0]), rle_of(masks[1]), encode(masks[2])], location='here')
    assert (decode(together, location='here') == masks[0] | masks[1] | masks[2]).all()
    with pytest.raises(UserError) as caught:
        union([], location='here')
    assert str(caught.value) == 'here: the list of masks is empty: correct the record'
