"""Conversion between the layouts: what went in comes out, and what does not is said."""

import collections
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.dataprep.convert import convert
from rsrefseg2.dataprep.layouts import LAYOUTS
from rsrefseg2.datasets.readers import FURTHER, open_split, splits_of
from rsrefseg2.errors import UserError
from tests.fabricate import HEIGHT, WIDTH, change_refs, fabricate, picture

FABRICATED = ('refsegrs', 'rrsisd', 'risbench')
PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


def triplets(layout, root, *, splits=None, category=False):
    """Everything that a triplet is: (split, sentence, mask, pixels[, category]), as often as it is
    there."""
    found = collections.Counter()
    for split in splits or splits_of(layout):
        options = dict(classes=None) if layout == 'rrsisd' else {}
        data = open_split(layout, root, split, pipeline=PIPELINE, serialize_data=False, **options)
        for item in (data[index] for index in range(len(data))):
            sample = item['data_samples']
            found[
                split,
                sample.text,
                sample.gt_mask.numpy().tobytes(),
                sample.ori_shape,
                item['inputs'].numpy().tobytes(),
                sample.category if category else '',
            ] += 1
    return found


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('convert')
    return {name: fabricate(name, folder / name) for name in FABRICATED}


@pytest.mark.parametrize('there', LAYOUTS)
@pytest.mark.parametrize('here', FABRICATED)
def test_there_and_back_is_the_identity(roots, tmp_path, here, there):
    before = triplets(here, roots[here])
    assert before.total() == 8
    convert(here, str(roots[here]), to=there, out=tmp_path / 'there')
    assert triplets(there, tmp_path / 'there') == before
    convert(there, str(tmp_path / 'there'), to=here, out=tmp_path / 'back')
    assert triplets(here, tmp_path / 'back') == before


@pytest.mark.parametrize('there', ['rrsisd', 'jsonl', 'risbench'])
@pytest.mark.parametrize('here', FURTHER)
def test_the_further_benchmarks_are_converted(tmp_path, here, there):
    before = triplets(here, fabricate(here, tmp_path / 'here'))
    said = convert(here, str(tmp_path / 'here'), to=there, out=tmp_path / 'there')
    found = triplets(there, tmp_path / 'there', splits=splits_of(here))
    assert found == before and before.total() == 8
    empty = '2 sentences have an empty mask: read the data with no_target=True'
    assert (empty in said) == (here == 'earthreason')


@pytest.mark.parametrize('there', ['rrsisd', 'jsonl'])
def test_categories_stay_where_both_layouts_have_them(roots, tmp_path, there):
    convert('rrsisd', str(roots['rrsisd']), to=there, out=tmp_path / 'there')
    before = triplets('rrsisd', roots['rrsisd'], category=True)
    assert triplets(there, tmp_path / 'there', category=True) == before
    assert len({key[-1] for key in before}) > 3


def test_a_jpeg_keeps_its_bytes_and_the_tree_is_the_benchmarks(roots, tmp_path):
    convert('rrsisd', str(roots['rrsisd']), to='rrsisd', out=tmp_path / 'a')
    source = {p.read_bytes() for p in (roots['rrsisd'] / 'images/rrsisd/JPEGImages').iterdir()}
    assert {p.read_bytes() for p in (tmp_path / 'a/images/rrsisd/JPEGImages').iterdir()} == source
    convert('risbench', str(roots['risbench']), to='refsegrs', out=tmp_path / 'b')
    assert {p.suffix for p in (tmp_path / 'b/images').iterdir()} == {'.tif'}
    assert all(p.stem.isdecimal() for p in (tmp_path / 'b/masks').iterdir())
    convert('refsegrs', str(roots['refsegrs']), to='risbench', out=tmp_path / 'c')
    val = (tmp_path / 'c/output_phrase_val.txt').read_text().split()
    assert val[0].startswith('train_') and val[0].endswith('.png')
    convert('risbench', str(roots['risbench']), to='jsonl', out=tmp_path / 'd')
    line = json.loads((tmp_path / 'd/val.jsonl').read_text().splitlines()[0])
    assert line['split'] == 'val' and line['segmentation'].keys() == {'size', 'counts'}
    assert 'category_name' not in line and line['image_id'] == line['file_name']
    convert('rrsisd', str(roots['rrsisd']), to='jsonl', out=tmp_path / 'e')
    line = json.loads((tmp_path / 'e/test.jsonl').read_text().splitlines()[0])
    assert (line['category_name'], line['category_id']) == ('chimney', 7)
    assert isinstance(line['image_id'], int) and len(line['segmentation']) == 1


def test_what_is_lost_is_said(roots, tmp_path):
    said = ' '.join(convert('rrsisd', str(roots['rrsisd']), to='risbench', out=tmp_path / 'a'))
    assert '8 triplets on 6 pictures' in said
    assert 'no place for the category of 8 triplets' in said
    assert '6 pictures stand under 8 names' in said
    assert '6 jpg pictures are written as png: the same pixels' in said
    sources = [
        json.loads(line)
        for split in ('train', 'val', 'test')
        for line in open(tmp_path / f'a/scenes/scenes_{split}.jsonl')
    ]
    origin = {
        s['from']: (scene['files'], scene['objects'][s['target']]['category'])
        for scene in sources
        for s in scene['sentences']
    }
    assert origin['1004'] == (['images/rrsisd/JPEGImages/00003.jpg'], 'Expressway-Service-area')
    said = ' '.join(convert('risbench', str(roots['risbench']), to='rrsisd', out=tmp_path / 'b'))
    assert '8 triplets have no known category' in said and "'unknown'" in said
    assert 'pictures stay .png files' in said


def test_equal_pictures_are_stored_once(roots, tmp_path):
    root = shutil.copytree(roots['refsegrs'], tmp_path / 'source')
    for name in ('3', '20'):
        shutil.copy(root / 'images/12.tif', root / f'images/{name}.tif')
    before = triplets('refsegrs', root)
    said = ' '.join(convert('refsegrs', str(root), to='rrsisd', out=tmp_path / 'a'))
    assert '8 pictures are 6 of different content' in said
    assert len(list((tmp_path / 'a/images/rrsisd/JPEGImages').iterdir())) == 6
    assert triplets('rrsisd', tmp_path / 'a') == before
    convert('rrsisd', str(tmp_path / 'a'), to='refsegrs', out=tmp_path / 'b')
    assert triplets('refsegrs', tmp_path / 'b') == before
    files = list((tmp_path / 'b/images').iterdir())
    assert len(files) == 8 and len({os.stat(p).st_ino for p in files}) == 6  # links


def test_line_breaks_in_sentences(roots, tmp_path):
    root = shutil.copytree(roots['rrsisd'], tmp_path / 'source')
    change_refs(lambda refs: refs[0]['sentences'][0].update(sent='the red\nvehicle'))(root)
    said = ' '.join(convert('rrsisd', str(root), to='refsegrs', out=tmp_path / 'a'))
    assert '1 sentences had line breaks' in said
    assert any(key[1] == 'the red vehicle' for key in triplets('refsegrs', tmp_path / 'a'))
    convert('rrsisd', str(root), to='jsonl', out=tmp_path / 'b')
    assert triplets('jsonl', tmp_path / 'b') == triplets('rrsisd', root)


def test_a_mask_of_another_size_stays_as_it_is(roots, tmp_path):
    """RRSIS-D has an image of 800 x 801 with a mask of 800 x 800."""
    root = shutil.copytree(roots['rrsisd'], tmp_path / 'source')
    image = np.pad(picture(np.zeros((HEIGHT, WIDTH), bool)), ((0, 1), (0, 0), (0, 0)))
    Image.fromarray(image).save(root / 'images/rrsisd/JPEGImages/00040.jpg')
    convert('rrsisd', str(root), to='risbench', out=tmp_path / 'a')
    assert triplets('risbench', tmp_path / 'a') == triplets('rrsisd', root)
    sizes = {Image.open(path).size for path in (tmp_path / 'a/mask').iterdir()}
    assert sizes == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize('there', ['rrsisd', 'risbench', 'jsonl'])
def test_a_damaged_picture_is_not_copied(roots, tmp_path, there):
    root = shutil.copytree(roots['rrsisd'], tmp_path / 'source')
    path = root / 'images/rrsisd/JPEGImages/00003.jpg'
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match='00003.jpg'):
        convert('rrsisd', str(root), to=there, out=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(roots, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/photo.jpg').write_bytes(b'x')
    with pytest.raises(UserError, match='not empty'):
        convert('risbench', str(roots['risbench']), to='rrsisd', out=tmp_path / 'mine')
    root = shutil.copytree(roots['risbench'], tmp_path / 'source')
    os.remove(root / 'mask/train_7_1.png')
    with pytest.raises(UserError, match='train_7_1'):
        convert('risbench', str(root), to='rrsisd', out=tmp_path / 'a')
    fabricate('risbench', tmp_path / 'broken', fault='truncated image')
    with pytest.raises(UserError, match='train_0_0'):
        convert('risbench', str(tmp_path / 'broken'), to='refsegrs', out=tmp_path / 'a')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['broken', 'mine', 'source']


def test_the_tool(run, roots, tmp_path):
    code, printed, _ = run(
        'data/convert.py',
        'risbench',
        roots['risbench'],
        '--to',
        'rrsisd',
        '--out',
        tmp_path / 'a',
        '--splits',
        'train',
        'test',
    )
    assert code == 0 and '6 triplets on 6 pictures' in printed and str(tmp_path / 'a') in printed
    code, _, error = run(
        'data/convert.py', 'risbench', roots['risbench'], '--to', 'rrsisd', '--out', tmp_path / 'a'
    )
    assert code == 1 and error.startswith('error: ') and len(error.splitlines()) == 1
