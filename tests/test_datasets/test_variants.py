"""Copies as they are met: other folders, line ends, masks; the triplets are the same."""

import json
import pickle

import numpy as np
import pytest

from rsrefseg2.datasets import RRSISD, RefCOCO, RefSegJSONL, RISBench
from rsrefseg2.datasets.readers import open_split
from rsrefseg2.errors import UserError
from tests.fabricate import fabricate, target
from tests.variants import VARIANTS, fabricate_jsonl, fabricate_refcoco

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


def samples(name, root, **options):
    """Every triplet of every split: id, sentence, category, size, mask, red of the image."""
    found = []
    for split in ('train', 'val', 'test'):
        data = open_split(name, root, split, pipeline=PIPELINE, serialize_data=False, **options)
        for index in range(len(data)):
            item = data[index]
            s = item['data_samples']
            found.append(
                (
                    split,
                    s.sample_id,
                    s.text,
                    s.category,
                    s.ori_shape,
                    s.gt_mask.numpy().tobytes(),
                    item['inputs'].sum(),
                )
            )
    return found


@pytest.mark.parametrize('name, variant', [(n, v) for n, of in VARIANTS.items() for v in of])
def test_variant_holds_the_same_triplets(name, variant, tmp_path):
    expected = samples(name, fabricate(name, tmp_path / 'released'))
    root = fabricate(name, tmp_path / 'variant')
    VARIANTS[name][variant](root)
    found = samples(name, root)
    if variant == 'refer':  # its ids are REFER's
        expected, found = ([(s[0], *s[2:]) for s in of] for of in (expected, found))
    assert found == expected and len(found) == 8


@pytest.mark.parametrize('benchmark', ['refsegrs', 'rrsisd', 'risbench'])
def test_json_lines_hold_the_same_triplets(benchmark, tmp_path):
    expected = samples(benchmark, fabricate(benchmark, tmp_path / 'released'))
    root = fabricate_jsonl(tmp_path / 'lines', benchmark)
    found = samples('jsonl', root, benchmark=benchmark)
    if benchmark == 'rrsisd':  # a line names its image: further sentences of it are counted
        assert [s[1] for s in found] == ['40', '3', '3#2', '11', '7', '9', '21', '21#2']
        expected, found = ([(s[0], *s[2:]) for s in of] for of in (expected, found))
    assert found == expected


def test_json_lines_of_all_splits_in_one_file(tmp_path):
    root = fabricate_jsonl(tmp_path, 'risbench')
    expected = samples('jsonl', root)
    files = [root / f'risbench_{split}.jsonl' for split in ('val', 'test', 'train')]
    text = ''.join(path.read_text() for path in files)
    [path.unlink() for path in files]
    (root / 'datainfo').mkdir()
    (root / 'datainfo/all.jsonl').write_text(text)
    assert samples('jsonl', root) == expected
    assert samples('jsonl', root, ann_file='datainfo/all.jsonl', image_folder='img_rgb') == expected


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda r: r.update(split='val'),
            "rrsisd_train.jsonl:1: the line is of split 'val', the file of 'train': move the line",
        ),
        (
            lambda r: r.update(split='trian'),
            "rrsisd_train.jsonl:1: split 'trian' is not one of train, "
            'val, test (did you mean train?)',
        ),
        (lambda r: r.pop('sent'), 'rrsisd_train.jsonl:1: object missing required field sent'),
        (
            lambda r: r.update(sent=3),
            'rrsisd_train.jsonl:1: sent: expected str, got int: correct the record',
        ),
        (
            lambda r: r.update(segmentation=[]),
            'rrsisd_train.jsonl:1: no run-length mask but a list of 0',
        ),
        (
            lambda r: r.update(file_name='9.jpg'),
            "JPEGImages': 1 of 3 images are missing (9.jpg): "
            'complete the download, or correct the names',
        ),
        (
            lambda r: r.update(category_name='kayak'),
            "rrsisd_train.jsonl:1: category 'kayak' is not "
            'among the 20 classes of RRSIS-D (JSON lines): '
            'correct the name',
        ),
    ],
)
def test_a_bad_line_is_named(change, message, tmp_path):
    path = fabricate_jsonl(tmp_path, 'rrsisd') / 'rrsisd_train.jsonl'
    first, *others = path.read_text().splitlines()
    record = json.loads(first)
    change(record)
    path.write_text('\n'.join([json.dumps(record), *others]))
    with pytest.raises(UserError) as caught:
        open_split('jsonl', tmp_path, 'train', benchmark='rrsisd')
    assert message in str(caught.value)


def test_json_lines_that_are_not_there(tmp_path):
    root = fabricate_jsonl(tmp_path, 'risbench')
    (root / 'other_train.jsonl').write_text('')
    with pytest.raises(UserError, match='may both be meant: name one as ann_file'):
        RefSegJSONL(data_root=str(root), split='train')
    (root / 'risbench_test.jsonl').unlink()
    with pytest.raises(UserError, match=r"a file \*test.jsonl in '.*' is missing"):
        RefSegJSONL(data_root=str(root), split='test')
    (root / 'risbench_val.jsonl').write_text('{"split": "val"')
    with pytest.raises(UserError, match='risbench_val.jsonl:1: no JSON'):
        RefSegJSONL(data_root=str(root), split='val')


@pytest.mark.parametrize(
    'size, accepted',
    [((48, 65), True), ((49, 64), True), ((47, 63), True), ((50, 64), False), ((48, 66), False)],
)
def test_a_mask_of_almost_the_images_size_follows_it(size, accepted, tmp_path):
    """As RRSIS-D's 800 x 801 and 800 x 787: nearest neighbour; anything else is another file."""
    from PIL import Image

    root = fabricate('risbench', tmp_path)
    mask = np.zeros(size, bool)
    mask[:, :20] = True
    Image.fromarray(mask).save(root / 'mask/train_0_0.png')
    data = RISBench(data_root=str(root), split='train', pipeline=PIPELINE)
    if not accepted:
        with pytest.raises(UserError, match='one of the two files is another version'):
            data[0]
        return
    sample = data[0]['data_samples']
    expected = np.array(Image.fromarray(mask).resize((64, 48), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(sample.gt_mask.numpy(), expected)
    assert sample.mask_size == size
    assert 'mask_size' not in data[1]['data_samples']


def test_refcoco_through_mmdet(tmp_path):
    root = fabricate_refcoco(tmp_path)
    data = RefCOCO(data_root=str(root), split='train', pipeline=PIPELINE)
    found = {s.sample_id: s for s in (data[i]['data_samples'] for i in range(len(data)))}
    assert sorted(found) == ['0', '1', '10', '20', '21']  # every sentence, mmdet's order
    assert found['1'].text == 'the man 0 1' and found['1'].category == 'person'
    rows, columns = np.nonzero(found['0'].gt_mask.numpy())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 10, 5, 14)
    np.testing.assert_array_equal(found['20'].gt_mask.numpy(), target(2))  # a crowd's run lengths
    assert found['10'].img_path == found['0'].img_path
    assert len(RefCOCO(data_root=str(root), split='testA')) == 1
    with pytest.raises(UserError, match="split 'test' is not one of train, val, testA, testB"):
        RefCOCO(data_root=str(root), split='test')


def test_refcoco_refuses_what_mmdet_would_run_or_lose(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (tmp_path / 'canary').touch, ()

    root = fabricate_refcoco(tmp_path / 'data')
    path = root / 'refcoco/refs(unc).p'
    refs = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps([*refs, Malicious()]))
    with pytest.raises(UserError, match='do not trust this file'):
        RefCOCO(data_root=str(root), split='train')
    assert not (tmp_path / 'canary').exists()
    refs[1]['ann_id'] = refs[0]['ann_id']  # mmdet keeps the last ref of an annotation only
    path.write_bytes(pickle.dumps(refs))
    with pytest.raises(UserError, match='mmdet does not give the 3 sentences of image 11'):
        RefCOCO(data_root=str(root), split='train')


def test_a_ref_without_category_takes_it_from_the_sentence(tmp_path):
    root = fabricate('rrsisd', tmp_path)
    refs = pickle.loads((root / 'rrsisd/refs(unc).p').read_bytes())
    content = json.loads((root / 'rrsisd/instances.json').read_text())
    refs[0].pop('category_id')
    refs[0]['sentences'][0]['sent'] = 'The baseball  field beside a vehicle'
    next(a for a in content['annotations'] if a['id'] == 140).pop('categories_id')
    (root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs))
    (root / 'rrsisd/instances.json').write_text(json.dumps(content))
    data = RRSISD(data_root=str(root), split='train')
    assert data[0]['category'] == 'baseballfield' and data[3]['category'] == 'airplane'
