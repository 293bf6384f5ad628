"""From a COCO instance file to triplets: a fabricated file, its quirks and its faults."""

import collections
import copy
import json

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.dataprep.from_coco import convert_coco, split_of
from rsrefseg2.datasets import RRSISD
from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.diagnostics.baselines import baseline_scores
from rsrefseg2.errors import UserError
from tests.fabricate import rle_of

HEIGHT, WIDTH = 120, 160


def polygon(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def fabricate_coco(root, change=lambda content: None):
    """20 pictures: two ships, an airplane and, in every second one, a third ship."""
    (root / 'images').mkdir(parents=True)
    content = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 3, 'name': 'ship'}, {'id': 1, 'name': 'airplane'}],
    }
    for number in range(20):
        pixels = np.full((HEIGHT, WIDTH, 3), 60 + number, np.uint8)
        boxes = [
            (3, (10, 10 + number, 24, 20)),
            (3, (110, 20, 24, 20)),
            (1, (60, 80 - number, 30, 30)),
        ] + [(3, (120, 90, 24, 20))] * (number % 2)
        for category, (x, y, w, h) in boxes:
            pixels[y : y + h, x : x + w] = 200
            content['annotations'].append(
                {
                    'id': len(content['annotations']) + 1,
                    'image_id': number,
                    'category_id': category,
                    'bbox': [x, y, w, h],
                    'area': w * h,
                    'iscrowd': 0,
                    'segmentation': polygon(x, y, w, h),
                }
            )
        Image.fromarray(pixels).save(root / f'images/{number:03d}.jpg')
        content['images'].append(
            {'id': number, 'file_name': f'{number:03d}.jpg', 'height': HEIGHT, 'width': WIDTH}
        )
    change(content)
    (root / 'instances.json').write_text(json.dumps(content))
    return root


def convert(root, out, **options):
    return convert_coco(
        str(root / 'instances.json'), str(root / 'images'), to='rrsisd', out=out, **options
    )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return fabricate_coco(tmp_path_factory.mktemp('coco') / 'source')


@pytest.fixture(scope='module')
def converted(root):
    summary = convert(root, root.parent / 'out')
    return root.parent / 'out', summary


def test_the_reader_returns_masks_and_pictures(root, converted):
    out, summary = converted
    annotations = {
        a['id']: a for a in json.loads((root / 'instances.json').read_text())['annotations']
    }
    seen = 0
    for split in ('train', 'val', 'test'):
        data = RRSISD(
            data_root=str(out),
            split=split,
            classes=None,
            pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')],
        )
        samples = {
            sample['data_samples'].sample_id: sample
            for sample in (data[index] for index in range(len(data)))
        }
        for scene in read_scenes(out / 'scenes', split):
            (name,) = scene['files']
            assert split_of(name, 0, (0.7, 0.1, 0.2)) == split
            pixels = np.asarray(Image.open(root / 'images' / name)).transpose(2, 0, 1)
            for sentence in scene['sentences']:
                sample = samples.pop(sentence['keys']['rrsisd'])
                target = annotations[sentence['from']]
                x, y, w, h = target['bbox']
                mask = np.zeros((HEIGHT, WIDTH), bool)
                mask[y : y + h, x : x + w] = True
                assert (sample['data_samples'].gt_mask.numpy() == mask).all()
                assert sample['data_samples'].text == sentence['text']
                assert sample['data_samples'].category == (
                    'ship' if target['category_id'] == 3 else 'airplane'
                )
                assert (sample['inputs'].numpy() == pixels).all()
                seen += 1
        assert not samples
    assert seen == sum(counts['sentences'] for counts in summary['splits'].values()) > 100
    assert json.loads((out / 'summary.json').read_text())['splits'] == summary['splits']
    levels = collections.Counter()
    for counts in summary['splits'].values():
        levels.update(counts['levels'])
    assert levels['relation'] > levels.total() / 4


def test_the_same_arguments_give_the_same_triplets(root, converted, tmp_path):
    convert(root, tmp_path / 'again')
    convert(root, tmp_path / 'other', seed=1)
    same, again, other = (
        [list(read_scenes(out / 'scenes', split)) for split in ('train', 'val', 'test')]
        for out in (converted[0], tmp_path / 'again', tmp_path / 'other')
    )
    assert same == again != other


def test_the_baselines_read_it(converted):
    found = baseline_scores(converted[0] / 'scenes', 'test')
    assert {'all', 'position', 'relation'} <= set(found)
    assert 0 < found['all']['whole image'] < 10
    assert found['all']['random object'] < found['all']['random object of the category'] <= 100
    assert found['all']['text only'] > found['all']['whole image']


def test_the_split_is_a_hash_of_the_name():
    names = [f'{number}.jpg' for number in range(3000)]
    found = collections.Counter(split_of(name, 7, (0.5, 0.2, 0.3)) for name in names)
    assert [round(found[split] / 3000, 1) for split in ('train', 'val', 'test')] == [0.5, 0.2, 0.3]
    assert {split_of(name, 7, (0, 0, 1)) for name in names} == {'test'}


def edit(**changes):
    """Change annotation 1, a ship of the first picture."""
    return lambda content: content['annotations'][0].update(changes)


def test_crowds_run_lengths_boxes_and_doubtful_ones(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 10:34] = True

    def change(content):
        a = content['annotations']
        a[0]['segmentation'] = rle_of(mask)  # the compressed form
        runs = {'size': [HEIGHT, WIDTH], 'counts': [0, HEIGHT, HEIGHT * (WIDTH - 1)]}
        a[3].update(iscrowd=1, segmentation=runs)  # of picture 1, a ship
        a[7]['bbox'] = [60, 20, 5, 5]  # not where its mask is
        a.append({**copy.deepcopy(a[-1]), 'id': 999})  # the same instance twice

    root = fabricate_coco(tmp_path / 'a', change)
    summary = convert(root, tmp_path / 'out')
    assert summary['instances']['masks from run lengths'] == 1
    assert summary['instances']['crowds: their category is left out of the picture'] == 1
    assert summary['instances']['doubtful'] == 3
    scenes = {
        scene['files'][0]: scene
        for split in ('train', 'val', 'test')
        for scene in read_scenes(tmp_path / 'out/scenes', split)
    }
    assert {'ship'} not in [
        {scenes['001.jpg']['objects'][s['target']]['category']}
        for s in scenes['001.jpg']['sentences']
    ]
    named = {s['from'] for scene in scenes.values() for s in scene['sentences']}
    assert named.isdisjoint({4, 8, 999}) and named > {1, 2, 3}

    root = fabricate_coco(
        tmp_path / 'b', lambda content: [a.update(segmentation=[]) for a in content['annotations']]
    )
    with pytest.raises(UserError, match='annotation 1: no segmentation, only a box: give --boxes'):
        convert(root, tmp_path / 'boxes')
    summary = convert(root, tmp_path / 'boxes', boxes_as_masks=True, exclude=['ship'])
    assert summary['instances']['masks from filled boxes'] == 70
    assert all(set(counts['categories']) <= {'airplane'} for counts in summary['splits'].values())


@pytest.mark.parametrize(
    'change, options, says',
    [
        (lambda c: c.pop('images'), {}, 'instances.json.*missing required field images'),
        (lambda c: c['images'][0].update(file_name='x.jpg'), {}, "picture '.*x.jpg' is missing"),
        (lambda c: c['images'][0].update(height=99), {}, '000.jpg.* is 120 x 160 .*says 99 x 160'),
        (lambda c: c['images'][1].update(id=0), {}, 'image 1: id 0 occurs twice'),
        (edit(image_id=77), {}, r'1 annotated pictures \(id 77\) are not among its images'),
        (edit(category_id=9), {}, 'annotation 1: category 9 is not among the categories'),
        (edit(bbox=[1, 2]), {}, 'annotation 1: bbox: expected array of length 4, got 2'),
        (edit(segmentation=[[1, 2]]), {}, 'annotation 1: polygon 1 is no flat list'),
        (edit(segmentation={'size': [9, 9], 'counts': [81]}), {}, 'mask is 9 x 9, its picture 120'),
        (None, dict(shares=(0.5, 0.5, 0.5)), 'add up to 1, got 0.5 0.5 0.5'),
        (None, dict(exclude=['boat']), '--exclude names boat; the categories are airplane, ship'),
        (None, dict(names={'boat': ['boat']}), '--names speaks of boat'),
    ],
)
def test_faults_end_in_one_line(root, tmp_path, change, options, says):
    source = root if change is None else fabricate_coco(tmp_path / 'source', change)
    with pytest.raises(UserError, match=says) as caught:
        convert(source, tmp_path / 'out', **options)
    assert '\n' not in str(caught.value) and not (tmp_path / 'out').exists()


def test_the_tool(run, root, tmp_path):
    (tmp_path / 'names.json').write_text('{"ship": ["boat"]}')
    code, printed, _ = run(
        'data/convert.py',
        'coco',
        root / 'instances.json',
        '--to',
        'risbench',
        '--out',
        tmp_path / 'out',
        '--names',
        tmp_path / 'names.json',
    )
    assert code == 0 and '20 of 20 annotated pictures' in printed and 'by kind:' in printed
    text = (tmp_path / 'out/output_phrase_train.txt').read_text()
    assert 'boat' in text and 'ship' not in text
    for options, says in (
        (['--images', tmp_path], 'is missing'),
        (['--names', tmp_path / 'none.json'], 'none.json'),
    ):
        code, _, error = run(
            'data/convert.py',
            'coco',
            root / 'instances.json',
            '--to',
            'rrsisd',
            '--out',
            tmp_path / 'b',
            *options,
        )
        assert code == 1 and says in error and len(error.splitlines()) == 1
