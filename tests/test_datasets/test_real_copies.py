"""Real triplets and records, read in place where the checkout has them beside it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rsrefseg2.datasets import RRSISD, RefSegJSONL, RISBench, as_rle
from rsrefseg2.rle import decode

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'
PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


def real(name):
    if not (SHARED / name).exists():
        pytest.skip(f'no real data beside the checkout: {SHARED / name} is absent')
    return SHARED / name


@pytest.mark.parametrize(
    'name, reader, counts',
    [
        ('rrsisd_mini', RRSISD, {'train': 28, 'val': 8, 'test': 8}),
        ('risbench_mini', RISBench, {'train': 4, 'val': 2, 'test': 2}),
    ],
)
def test_mini_copies(name, reader, counts):
    root = real(name)
    for split, count in counts.items():
        data = reader(data_root=str(root), split=split, pipeline=PIPELINE)
        assert len(data) == count
        for index in range(count):
            item = data[index]
            sample = item['data_samples']
            assert item['inputs'].shape == (3, 512, 512) and item['inputs'].float().std() > 5
            assert sample.gt_mask.shape == sample.ori_shape == (512, 512)
            assert sample.gt_mask.sum() >= 1852  # the smallest target of the mini copies
            assert sample.text == sample.text.strip() != ''
            assert sample.category in data.metainfo['classes']
            stem = Path(sample.img_path).stem
            assert sample.sample_id == (str(int(stem)) if name == 'rrsisd_mini' else stem)


def test_rrsisd_mini_categories():
    data = RRSISD(data_root=str(real('rrsisd_mini')), split='train')
    assert data[0]['category'] == 'Expressway-Service-area'
    assert data[0]['text'] == 'the expressway service area in the middle'
    assert len(Counter(data[i]['category'] for i in range(len(data)))) > 1
    assert (
        data.metainfo['classes']
        == RRSISD(data_root=data.data_root, split='train', classes=None).metainfo['classes']
    )


def test_risbench_mini_val_is_named_train():
    data = RISBench(data_root=str(real('risbench_mini')), split='val')
    assert [data[i]['sample_id'] for i in range(2)] == ['train_12430_0', 'train_16111_0']
    assert [data[i]['category'] for i in range(2)] == ['bridge', 'tennis court']


@pytest.mark.parametrize(
    'file, split, benchmark',
    [
        ('refsegrs_val_1.jsonl', 'val', 'refsegrs'),
        ('risbench_test_2.jsonl', 'test', 'risbench'),
        ('rrsisd_val_2.jsonl', 'val', 'rrsisd'),
    ],
)
def test_published_lines_are_read(file, split, benchmark):
    """Of images that are not here: the records alone."""
    data = RefSegJSONL(
        data_root=str(real('records')),
        split=split,
        ann_file=file,
        image_folder='.',
        benchmark=benchmark,
        lazy_init=True,
    )
    records = data.read_records()
    lines = [json.loads(line) for line in (real('records') / file).read_text().splitlines()]
    assert [r['text'] for r in records] == [line['sent'] for line in lines]
    assert [r['sample_id'] for r in records] == [
        str(line['image_id']).removesuffix('.png') for line in lines
    ]
    assert [r['category'] for r in records] == [
        line.get('category_name', 'ship' if 'ship' in line['sent'] else 'vehicle') for line in lines
    ]


# Areas and tight boxes (x1, y1, x2, y2, inclusive) that decoding the published records gives.
RECORDS = {
    ('refsegrs_val_1.jsonl', '25'): (1125, None),
    ('risbench_test_2.jsonl', 'test_1_0.png'): (711, None),
    ('rrsisd_val_2.jsonl', '7855'): (2946, [664, 136, 743, 207]),
    ('rrsisd_val_2.jsonl', '14636'): (544, [496, 24, 511, 63]),
}


@pytest.mark.parametrize('file, image_id', RECORDS)
def test_published_records(file, image_id):
    lines = (real('records') / file).read_text().splitlines()
    record = next(r for r in map(json.loads, lines) if str(r['image_id']) == image_id)
    rle = as_rle(record['segmentation'], file)
    mask = decode(rle, location=file)
    area, box = RECORDS[file, image_id]
    assert list(mask.shape) == rle['size'] and mask.sum() == area
    if box is not None:
        ys, xs = np.nonzero(mask)
        assert [xs.min(), ys.min(), xs.max(), ys.max()] == box


def test_images_that_break_naive_loaders():
    from rsrefseg2.datasets import read_image, read_mask

    folder = real('misc')
    assert read_image(str(folder / 'dota_rgba.png')).shape == (294, 285, 3)
    assert read_image(str(folder / 'loveda_1024.png')).shape == (1024, 1024, 3)
    assert read_image(str(folder / 'whu_nearly_empty_image.tif')).shape == (512, 512, 3)
    label = read_mask(str(folder / 'whu_nearly_empty_label.tif'))
    assert label.shape == (512, 512) and 0 < label.sum() < 0.05 * label.size
