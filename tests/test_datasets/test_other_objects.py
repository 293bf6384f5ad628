"""`other_objects=True`: the other objects of each picture, from each of the three sources."""

import logging
import shutil

import numpy as np
import pytest
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import JoinedDataset
from rsrefseg2.datasets.readers import open_split
from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.errors import UserError
from tests.fabricate import change_instances, fabricate, rle_of, target
from tests.variants import fabricate_jsonl

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


@pytest.fixture
def log():
    """The messages of the run's log."""
    messages = []

    class Keeper(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger, handler = MMLogger.get_current_instance(), Keeper()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def others_of(name, root, split, **options):
    """{sample id: (gt_mask, other_mask)}, both (H, W) bool."""
    data = open_split(name, root, split, pipeline=PIPELINE, other_objects=True, **options)
    samples = [data[index]['data_samples'] for index in range(len(data))]
    return {s.sample_id: (s.gt_mask.numpy(), s.other_mask.numpy()) for s in samples}


def check_scenes(found, scenes, layout):
    seen = 0
    for scene in scenes:
        masks = [coco_mask.decode(thing['rle']) > 0 for thing in scene['objects']]
        for sentence in scene['sentences']:
            gt, others = found[sentence['keys'][layout]]
            assert np.array_equal(gt, masks[sentence['target']])
            union = np.zeros_like(gt)
            for number, mask in enumerate(masks):
                if number != sentence['target']:
                    union |= mask
            assert others.dtype == bool and np.array_equal(others, union & ~gt)
            seen += others.any()
    assert seen and len(found) == sum(len(scene['sentences']) for scene in scenes)


@pytest.mark.parametrize('layout', ['rrsisd', 'refsegrs', 'risbench'])
def test_of_the_scene_file(dataset, layout, log):
    options = dict(classes=None) if layout == 'rrsisd' else {}
    found = others_of(layout, dataset / layout, 'test', **options)
    check_scenes(found, list(read_scenes(dataset, 'test')), layout)
    (said,) = [message for message in log if 'objects of each image' in message]
    assert f'{dataset}/scenes_test.jsonl' in said


def test_of_scenes_in_the_folder_itself(dataset, tmp_path):
    """Where the conversion of other data writes them."""
    root = shutil.copytree(dataset / 'rrsisd', tmp_path / 'mine/data')
    (root / 'scenes').mkdir()
    shutil.copy(dataset / 'scenes_test.jsonl', root / 'scenes')
    found = others_of('rrsisd', root, 'test', classes=None)
    check_scenes(found, list(read_scenes(dataset, 'test')), 'rrsisd')


def test_scenes_of_other_data_are_refused(dataset, tmp_path):
    root = shutil.copytree(dataset / 'rrsisd', tmp_path / 'data')
    shutil.copy(dataset / 'scenes_val.jsonl', tmp_path / 'scenes_test.jsonl')
    with pytest.raises(UserError, match=r'no object of .*\.jpg. in .*scenes_test.jsonl'):
        others_of('rrsisd', root, 'test', classes=None)


def test_of_the_instances(tmp_path, log):
    """Also those that no sentence asks for, and of this picture alone."""
    root = fabricate('rrsisd', tmp_path)
    lone = np.zeros_like(target(0))
    lone[12:30, 20:50] = True  # in part over the first

    def add(content):
        content['annotations'].append(
            {'id': 999, 'image_id': 21, 'segmentation': [rle_of(lone)], 'categories_id': 0}
        )

    change_instances(add)(root)
    found = others_of('rrsisd', root, 'test')
    first, second = target(3), target(6)
    assert (first & lone).any() and (lone & ~first).any()
    assert np.array_equal(found['1021'][1], (second | lone) & ~first)
    assert np.array_equal(found['1022'][1], (first | lone) & ~second)
    assert not others_of('rrsisd', root, 'train')['1003'][1].any()  # the only object
    assert any("those of the data's own list" in message for message in log)


def test_an_annotation_without_its_image_is_named(tmp_path):
    root = fabricate('rrsisd', tmp_path)
    change_instances(lambda c: c['annotations'].append({'id': 999, 'image_id': 5}))(root)
    with pytest.raises(UserError, match='annotation 999: its image 5 is not in the file'):
        others_of('rrsisd', root, 'test')


def test_of_the_other_sentences(tmp_path, log):
    """RefSegRS stores a picture once a sentence: 471 is 12 again."""
    root = fabricate('refsegrs', tmp_path)
    shutil.copy(root / 'images/12.tif', root / 'images/471.tif')
    found = others_of('refsegrs', root, 'train')
    first, second = target(0), target(2)
    assert np.array_equal(found['12'][1], second & ~first) and found['12'][1].any()
    assert np.array_equal(found['471'][1], first & ~second)
    assert not found['3'][1].any() and not found['20'][1].any()
    assert any('those of the targets of all its sentences' in message for message in log)


def test_of_run_lengths_of_the_other_sentences(tmp_path):
    found = others_of('jsonl', fabricate_jsonl(tmp_path, 'rrsisd'), 'test')
    assert np.array_equal(found['21'][1], target(6) & ~target(3))


def test_of_joined_data_sets(dataset, tmp_path):
    """Each sample's are those that its own data set gives."""
    fabricate('refsegrs', tmp_path / 'tiles')
    alone = dict(
        scenes=others_of('rrsisd', dataset / 'rrsisd', 'test', classes=None),
        tiles=others_of('refsegrs', tmp_path / 'tiles', 'test'),
    )
    roots = dict(scenes=('SynthRS', dataset / 'rrsisd'), tiles=('RefSegRS', tmp_path / 'tiles'))
    joined = JoinedDataset(
        datasets={name: dict(type=kind, data_root=str(at)) for name, (kind, at) in roots.items()},
        split='test',
        pipeline=PIPELINE,
        other_objects=True,
    )
    assert len(joined) == sum(map(len, alone.values()))
    for index in range(len(joined)):
        sample = joined[index]['data_samples']
        name, sample_id = sample.sample_id.split('/')
        assert np.array_equal(sample.other_mask.numpy(), alone[name][sample_id][1])


def test_off_by_default(tmp_path):
    data = open_split('rrsisd', fabricate('rrsisd', tmp_path), 'test', pipeline=PIPELINE)
    assert 'other_mask' not in data[0]['data_samples']


def test_of_some_indices(tmp_path):
    """The objects are those of the whole split."""
    root = fabricate('refsegrs', tmp_path)
    shutil.copy(root / 'images/12.tif', root / 'images/471.tif')
    assert others_of('refsegrs', root, 'train', indices=1)['12'][1].any()
