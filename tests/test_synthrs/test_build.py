"""On disk: the released layouts, the same bytes for the same seed, and refusals in one line."""

import filecmp
import json
import os
import pickle

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import RRSISD, RefSegRS, RISBench
from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.errors import UserError
from rsrefseg2.synthrs.generation.build import build, own_files
from tests.synthrs_data import PER_LEVEL, SCENES, recipe


def files_of(root):
    return {path.relative_to(root): path for path in root.rglob('*') if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(dataset, tmp_path):
    build(tmp_path / 'again', recipe(), workers=2)
    first, second = files_of(dataset), files_of(tmp_path / 'again')
    assert first.keys() == second.keys()
    assert all(filecmp.cmp(first[name], second[name], shallow=False) for name in first)


def test_a_scene_does_not_depend_on_how_many_there_are(dataset, tmp_path):
    build(tmp_path / 'fewer', recipe(scenes={'train': 2, 'val': 0, 'test': 2}, layouts=('rrsisd',)))
    for split in ('train', 'test'):
        for few, many in zip(read_scenes(tmp_path / 'fewer', split), read_scenes(dataset, split)):
            for scene in (few, many):
                for sentence in scene['sentences']:
                    del sentence['keys']
            assert few == many


def test_summary_counts(dataset):
    summary = json.loads((dataset / 'summary.json').read_text())
    assert summary['seed'] == 3
    for split, scenes in SCENES.items():
        counts = summary['splits'][split]
        assert counts['scenes'] == scenes
        assert counts['levels'] == dict.fromkeys(
            ('attribute', 'position', 'relation'), scenes * PER_LEVEL[split]
        )
        assert (
            sum(counts['target_categories'].values())
            == counts['sentences']
            == sum(counts['kinds'].values())
        )


def test_chosen_levels_on_the_same_scenes(dataset, tmp_path):
    build(tmp_path / 'some', recipe(levels=('position', 'relation'), layouts=('rrsisd',)))
    for split in SCENES:
        for some, all_ in zip(
            read_scenes(tmp_path / 'some', split), read_scenes(dataset, split), strict=True
        ):
            assert some['objects'] == all_['objects']
            assert [s['text'] for s in some['sentences']] == [
                s['text'] for s in all_['sentences'] if s['level'] != 'attribute'
            ]
    root = tmp_path / 'some/rrsisd'
    assert len(RRSISD(data_root=str(root), split='train', classes=None)) == 12 * 4
    with pytest.raises(UserError, match="unknown level 'positon'.*did you mean"):
        recipe(levels=('positon',))
    with pytest.raises(UserError, match=r"levels \['position', 'relation'\] \(asked: not given"):
        build(tmp_path / 'some', recipe(layouts=('rrsisd',)))  # another dataset, not this one again


def test_relations_are_asked_for_as_often_as_said(dataset, tmp_path):
    """Of 24 training sentences; a dataset without the option names none in its summary."""
    more = recipe(relations=(0.05, 0.05, 0.05, 0.85), layouts=('rrsisd',))
    counts = build(tmp_path, more)['splits']['train']['kinds']
    default = json.loads((dataset / 'summary.json').read_text())
    assert (
        counts['relation: closest'] > default['splits']['train']['kinds']['relation: closest'] + 4
    )
    assert 'relations' not in default['arguments'] and build(tmp_path, more)  # this very dataset
    with pytest.raises(UserError, match=r'relations \[0.05, 0.05, 0.05, 0.85\] \(asked: not given'):
        build(tmp_path, recipe(layouts=('rrsisd',)))
    for wrong in ((0.5, 0.5, 0.5, 0.5), (0.0, 0.3, 0.3, 0.4)):
        with pytest.raises(UserError, match='--relations must be positive and sum to 1'):
            recipe(relations=wrong)


@pytest.mark.parametrize(
    'layout, reader',
    [
        ('rrsisd', lambda **options: RRSISD(classes=None, **options)),
        ('refsegrs', RefSegRS),
        ('risbench', RISBench),
    ],
)
@pytest.mark.parametrize('split', SCENES)
def test_the_real_readers_return_what_was_drawn(dataset, layout, reader, split):
    samples = reader(
        data_root=str(dataset / layout),
        split=split,
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')],
    )
    found = {
        sample['data_samples'].sample_id: sample
        for sample in (samples[index] for index in range(len(samples)))
    }
    scenes = list(read_scenes(dataset, split))
    assert len(found) == sum(len(scene['sentences']) for scene in scenes)
    for scene in scenes:
        pictures = []
        for sentence in scene['sentences']:
            sample = found[sentence['keys'][layout]]
            thing = scene['objects'][sentence['target']]
            assert sample['data_samples'].text == sentence['text']
            np.testing.assert_array_equal(
                sample['data_samples'].gt_mask.numpy(), coco_mask.decode(thing['rle']) > 0
            )
            if layout == 'rrsisd':
                assert sample['data_samples'].category == thing['category']
            pictures.append(sample['inputs'].numpy())
        assert all((picture == pictures[0]).all() for picture in pictures)


def test_layouts_show_the_same_picture(dataset):
    scene = next(read_scenes(dataset, 'train'))
    keys = scene['sentences'][0]['keys']
    png = cv2.imread(str(dataset / f'risbench/img_rgb/{keys["risbench"]}.png'))
    tif = cv2.imread(str(dataset / f'refsegrs/images/{keys["refsegrs"]}.tif'))
    jpg = cv2.imread(str(dataset / 'rrsisd/images/rrsisd/JPEGImages/00001.jpg'))
    np.testing.assert_array_equal(png, tif)
    assert np.abs(png.astype(int) - jpg).mean() < 6


def test_peculiarities_of_the_releases(dataset):
    names = [
        line.split()[0]
        for line in (dataset / 'risbench/output_phrase_val.txt').read_text().splitlines()
    ]
    assert names[0] == 'train_12_0.png' and all(name.startswith('train_') for name in names)
    names = [
        line.split()[0]
        for line in (dataset / 'refsegrs/output_phrase_train.txt').read_text().splitlines()
    ]
    assert all(name.isdecimal() for name in names) and names != sorted(names, key=int)
    instances = json.loads((dataset / 'rrsisd/rrsisd/instances.json').read_text())
    annotation = instances['annotations'][0]
    assert 'categories_id' in annotation and 'category_id' not in annotation
    x0, y0, x1, y1 = annotation['bbox']
    mask = coco_mask.decode(annotation['segmentation'][0])
    assert mask[y0:y1, x0:x1].sum() == mask.sum() and annotation['area'] == 255 * mask.sum()
    refs = pickle.loads((dataset / 'rrsisd/rrsisd/refs(unc).p').read_bytes())
    assert {ref['split'] for ref in refs} == set(SCENES)
    assert len({ref['image_id'] for ref in refs}) < len(refs)
    assert all(len({ref['ref_id'], ref['sent_ids'][0]}) == 2 for ref in refs)


def test_what_is_there_is_kept(dataset, tmp_path, capsys):
    before = os.stat(dataset / 'summary.json').st_mtime_ns
    build(dataset, recipe())
    assert 'already holds this dataset' in capsys.readouterr().out
    with pytest.raises(UserError, match=r'another SynthRS dataset: seed 3 \(asked: 4\).*--force'):
        build(dataset, recipe(seed=4))
    assert os.stat(dataset / 'summary.json').st_mtime_ns == before
    (tmp_path / 'photo.jpg').write_bytes(b'mine')
    for force in (False, True):
        with pytest.raises(UserError, match=r'not empty and holds no SynthRS dataset'):
            build(tmp_path, recipe(), force=force)
    assert (tmp_path / 'photo.jpg').read_bytes() == b'mine'


def test_force_replaces_and_a_failure_leaves_the_old_one(tmp_path, monkeypatch):
    small = dict(scenes={'train': 1, 'val': 0, 'test': 0}, layouts=('rrsisd',))
    out = tmp_path / 'data'
    build(out, recipe(**small))
    with monkeypatch.context() as patch:
        patch.setattr('rsrefseg2.synthrs.generation.build.summarise', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(out, recipe(**small, seed=4), force=True)
    assert json.loads((out / 'summary.json').read_text())['seed'] == 3
    assert [path.name for path in tmp_path.iterdir()] == ['data']
    build(out, recipe(**small, seed=4), force=True)
    assert json.loads((out / 'summary.json').read_text())['seed'] == 4


def test_force_removes_a_synthrs_dataset_alone(tmp_path):
    small = dict(scenes={'train': 1, 'val': 0, 'test': 1})
    out = tmp_path / 'data'
    build(out, recipe(**small))
    assert own_files(out) >= {name.as_posix() for name in files_of(out)}
    (out / 'rrsisd/notes.txt').write_text('mine')
    with pytest.raises(UserError, match="1 files that this command did not write .'rrsisd/notes"):
        build(out, recipe(**small, seed=4), force=True)
    for text in ('{"seed": 0, "splits": {}}', '{'):  # of another tool, damaged
        (out / 'summary.json').write_text(text)
        with pytest.raises(UserError, match='holds no SynthRS dataset'):
            build(out, recipe(**small, seed=4), force=True)
    assert (out / 'rrsisd/notes.txt').read_text() == 'mine'
    assert (out / 'scenes_train.jsonl').exists()


@pytest.mark.parametrize(
    'arguments, expected, message',
    [
        (['--layouts', 'rrsis'], 1, "error: unknown layout 'rrsis' (did you mean rrsisd?)"),
        (
            ['--scenes-train', '-1'],
            2,
            "synthrs_generate.py: error: argument --scenes-train: '-1' is not at least 0",
        ),
        (['--size', '16'], 1, 'error: --size must be from 64 to 1024, got 16'),
        (['--min-same', '40'], 1, 'error: --min-same must be from 2 to 6, got 40'),
    ],
)
def test_bad_arguments_end_in_one_line(run, tmp_path, arguments, expected, message):
    code, _, stderr = run('synthrs_generate.py', '--out', tmp_path / 'x', *arguments)
    assert code == expected
    assert stderr.strip().splitlines()[-1].startswith(message)
    assert 'Traceback' not in stderr and not (tmp_path / 'x').exists()
