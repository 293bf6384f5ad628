"""Whatever the files hold: triplets or one clear error, and nothing is lost in between."""

import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import RefCOCO, as_rle
from rsrefseg2.datasets.checks import Faults
from rsrefseg2.datasets.phrase_files import decode_line, read_lines
from rsrefseg2.datasets.plain_pickle import load_plain_pickle
from rsrefseg2.datasets.readers import open_split
from rsrefseg2.datasets.refer_files import Instances, refer_triplets
from rsrefseg2.datasets.refsegrs import RefSegRS
from rsrefseg2.errors import UserError
from rsrefseg2.rle import checked, decode, from_polygons
from tests.fabricate import fabricate
from tests.variants import fabricate_jsonl, fabricate_refcoco

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SENTENCES = st.text(
    st.characters(exclude_categories=['Cs'], exclude_characters='\n\r\0'), max_size=30
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 50)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@FEW
@given(
    lines=st.lists(st.tuples(st.integers(0, 10**6), SENTENCES)),
    bom=st.booleans(),
    end=st.sampled_from(['\n', '\r\n', '\n\n', '\r\n \r\n', ' \t\n']),
    last=st.booleans(),
)
def test_text_lines_come_back(lines, bom, end, last, tmp_path):
    """Every line, with what stands inside the sentence untouched: only its ends are stripped."""
    text = end.join(f'{number} {sentence}' for number, sentence in lines) + end * last
    path = tmp_path / 'lines.txt'
    path.write_bytes(b'\xef\xbb\xbf' * bom + text.encode())
    reader = RefSegRS(data_root='', split='train', lazy_init=True)
    found = [reader._parse(decode_line(raw, ''), '') for _, raw in read_lines(str(path))]
    assert found == [(str(number), sentence.strip()) for number, sentence in lines]


@FEW
@given(before=SENTENCES, after=SENTENCES, mark=st.sampled_from('\r\0'))
def test_a_line_is_one_line_of_text(before, after, mark):
    """A file whose lines end in CR alone is no single triplet, and UTF-16 no UTF-8."""
    with pytest.raises(UserError, match='here: the line holds a (carriage return|NUL)'):
        decode_line(f'a{before}{mark}{after}b'.encode(), 'here')


@FEW
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_lines_or_an_error(raw, tmp_path):
    path = tmp_path / 'lines.txt'
    path.write_bytes(raw)
    reader = RefSegRS(data_root='', split='train', lazy_init=True)
    seen = 0
    for number, line in read_lines(str(path)):
        seen += 1
        try:
            name, _ = reader._parse(decode_line(line, f'here:{number}'), f'here:{number}')
            assert name.isdigit()
        except UserError as error:
            assert str(error).startswith(f'here:{number}: ')
    assert seen == sum(
        bool(line.strip()) for line in raw.removeprefix(b'\xef\xbb\xbf').split(b'\n')
    )


def refer_content():
    """A sound ref, its image and its annotation."""
    return (
        [
            {
                'split': 'train',
                'ref_id': 1,
                'image_id': 1,
                'ann_id': 1,
                'category_id': 0,
                'sentences': [{'sent': 'a ship', 'sent_id': 1}],
            }
        ],
        {
            'images': [{'id': 1, 'file_name': '1.jpg'}],
            'annotations': [
                {
                    'id': 1,
                    'image_id': 1,
                    'categories_id': 0,
                    'segmentation': [{'size': [4, 4], 'counts': '`0'}],
                }
            ],
            'categories': [{'id': 0, 'name': 'ship'}],
        },
    )


def places(value, path=()):
    """Every path of keys and positions below `value`."""
    items = (
        value.items()
        if isinstance(value, dict)
        else (enumerate(value) if isinstance(value, list) else ())
    )
    for key, child in items:
        yield (*path, key)
        yield from places(child, (*path, key))


def put(content, path, value):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


PLACES = [(file, path) for file, content in enumerate(refer_content()) for path in places(content)]


@FEW
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_anywhere_in_refers_files(place, value, tmp_path):
    """A triplet, no triplet of this split, or one line that names the file."""
    contents = refer_content()
    put(contents[place[0]], place[1], value)
    (tmp_path / 'refs.p').write_bytes(pickle.dumps(contents[0]))
    (tmp_path / 'instances.json').write_text(json.dumps(contents[1]))
    try:
        found = list(
            refer_triplets(
                str(tmp_path / 'refs.p'),
                Instances(str(tmp_path / 'instances.json')),
                'images',
                split='train',
                faults=Faults(),
            )
        )
    except UserError as error:
        assert str(tmp_path) in str(error) and '\n' not in str(error)
        return
    if contents[0] and contents[0][0]['split'] == 'train':
        assert len(found) == len(contents[0][0]['sentences'])


@pytest.fixture(scope='module')
def refcoco(tmp_path_factory):
    """A folder whose two files each example writes anew."""
    return fabricate_refcoco(tmp_path_factory.mktemp('data') / 'refcoco')


@FEW
@given(data=st.data())
def test_any_value_anywhere_in_refcocos_files(data, refcoco):
    """Its triplets with their masks, or one line that names the file."""
    files = refcoco / 'refcoco/refs(unc).p', refcoco / 'refcoco/instances.json'
    before = [file.read_bytes() for file in files]
    contents = [pickle.loads(before[0]), json.loads(before[1])]
    number = data.draw(st.integers(0, 1))
    place = data.draw(st.sampled_from(sorted(places(contents[number]), key=str)))
    put(contents[number], place, data.draw(VALUES | st.sampled_from([1e300, 10**400, -(10**12)])))
    try:
        files[0].write_bytes(pickle.dumps(contents[0]))
        files[1].write_text(json.dumps(contents[1]))
        found = RefCOCO(data_root=str(refcoco), split='train', serialize_data=False)
        assert [decode(record['mask_rle'], location='here').shape for record in found] == [
            (48, 64)
        ] * len(found) or place[-1] in ('height', 'width', 'size')
    except UserError as error:
        assert str(refcoco) in str(error) and '\n' not in str(error) and len(str(error)) < 2000
    finally:
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)


@pytest.mark.parametrize(
    'name', ['../../secret.jpg', '/etc/passwd', 'a/../../b.jpg', '..', '.', '', 'a\0b.jpg']
)
@pytest.mark.parametrize('kind', ['rrsisd', 'jsonl', 'refcoco'])
def test_file_names_stay_in_their_folder(kind, name, tmp_path):
    if kind == 'jsonl':
        root = fabricate_jsonl(tmp_path, 'rrsisd')
        path = root / 'rrsisd_train.jsonl'
        lines = [json.loads(line) | {'file_name': name} for line in path.read_text().splitlines()]
        path.write_text('\n'.join(map(json.dumps, lines)))
    else:
        root = fabricate_refcoco(tmp_path / 'r') if kind == 'refcoco' else fabricate(kind, tmp_path)
        path = root / kind / 'instances.json'
        content = json.loads(path.read_text())
        for image in content['images']:
            image['file_name'] = name
        path.write_text(json.dumps(content))
    with pytest.raises(UserError, match='the file name .* leads out of its folder'):
        open_split(kind, root, 'train')


@pytest.mark.parametrize(
    'file', ['rrsisd/refs(unc).p', 'rrsisd/instances.json', 'images/rrsisd/JPEGImages']
)
def test_what_the_system_refuses_is_said(file, tmp_path):
    """Not that it is missing. A loop of links stands for missing permissions: it stops root."""
    root = fabricate('rrsisd', tmp_path)
    (root / file).rename(root / 'moved')
    (root / file).symlink_to(root / file)
    with pytest.raises(UserError, match=f'{re.escape(file)}.*links form a circle'):
        open_split('rrsisd', root, 'train')


def test_a_file_name_with_a_blank_is_named(tmp_path):
    root = fabricate('risbench', tmp_path)
    path = root / 'output_phrase_train.txt'
    path.write_text(path.read_text().replace('train_0_0.png', 'DJI 0001.png'))
    with pytest.raises(UserError, match="train.txt:1: the file name in 'DJI 0001.png .* a blank"):
        open_split('risbench', root, 'train')


def test_an_option_that_a_reader_has_not(tmp_path):
    with pytest.raises(UserError, match="reader of rrsisd has no option 'benchmark'"):
        open_split('rrsisd', tmp_path, 'train', benchmark='rrsisd')


@FEW
@given(value=VALUES)
def test_any_json_is_instances_or_an_error(value, tmp_path):
    (tmp_path / 'instances.json').write_text(json.dumps(value))
    with pytest.raises(UserError, match='instances.json'):
        Instances(str(tmp_path / 'instances.json'))


@FEW
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_a_pickle_or_an_error(raw, tmp_path):
    path = tmp_path / 'refs.p'
    path.write_bytes(raw)
    try:
        load_plain_pickle(str(path))
    except UserError as error:
        assert str(path) in str(error)


MASKS = st.tuples(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)


@FEW
@given(drawn=MASKS)
def test_run_lengths_round_trip(drawn):
    """Against pycocotools, and by the definition of uncompressed run lengths."""
    height, width, seed, share = drawn
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    flat = mask.flatten(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    runs = np.diff([0, *edges, flat.size]).tolist()
    for counts in (rle['counts'], rle['counts'].decode(), runs):
        found = as_rle([{'size': [height, width], 'counts': counts}], 'here')
        assert checked(found, location='here')['counts'] == rle['counts']
        np.testing.assert_array_equal(decode(found, location='here'), mask)
        assert coco_mask.area(checked(found, location='here')) == mask.sum()


@FEW
@given(
    counts=st.binary(max_size=12) | st.text(max_size=12) | st.lists(st.integers(-2, 20)) | VALUES,
    size=st.lists(st.integers(-1, 6), max_size=3) | VALUES,
)
def test_any_run_lengths_are_a_mask_or_an_error(counts, size):
    try:
        mask = decode(as_rle({'size': size, 'counts': counts}, 'here'), location='here')
    except UserError as error:
        assert str(error).startswith('here: ')
    else:
        assert list(mask.shape) == list(size)


@pytest.mark.parametrize(
    'polygons', [[], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [['a'] * 6], 'text', [3], None]
)
def test_no_polygons(polygons):
    with pytest.raises(UserError, match='here: (the segmentation is|polygon 1 (is no|holds))'):
        from_polygons(polygons, (8, 9), location='here')


def test_polygons_are_joined():
    left, right = [0, 0, 4, 0, 4, 8, 0, 8], [3, 0, 9, 0, 9, 8, 3, 8]
    mask = decode(from_polygons([left, right], (8, 9), location='here'), location='here')
    assert mask.shape == (8, 9) and mask.all()
