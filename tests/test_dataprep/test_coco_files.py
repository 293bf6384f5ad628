"""COCO files that hold anything, and pictures that are none: one line, or a sound conversion."""

import copy
import json
import os
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rsrefseg2.dataprep.from_coco import convert_coco
from rsrefseg2.dataprep.verify import verify
from rsrefseg2.datasets.content import in_processes
from rsrefseg2.errors import UserError
from tests.test_dataprep.test_coco import HEIGHT, WIDTH, fabricate_coco, polygon

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([10**400, 1e300, '\udcff', '../x', '', 0, '0', 1, 7.0]),
    lambda some: (
        st.lists(some, max_size=8)
        | st.dictionaries(st.sampled_from(['size', 'counts', 'id', 'name']), some, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope='module')
def three(tmp_path_factory):
    """Three pictures, and the content of their instance file."""
    folder = tmp_path_factory.mktemp('coco')
    root = fabricate_coco(
        folder / 'source',
        lambda content: content.update(
            images=content['images'][:3],
            annotations=[a for a in content['annotations'] if a['image_id'] < 3],
        ),
    )
    return root, json.loads((root / 'instances.json').read_text())


def written(root, content, out, **options):
    path = root.parent / 'changed.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return convert_coco(str(path), str(root / 'images'), to='rrsisd', out=out, **options)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_anywhere(three, tmp_path, data):
    root, content = three
    content = copy.deepcopy(content)
    table = data.draw(st.sampled_from(['images', 'annotations', 'categories']))
    record = content[table][0]
    key = data.draw(st.sampled_from(sorted(record)))
    place = data.draw(st.sampled_from(['table', 'record', 'field', 'field']))
    value = data.draw(ANY)
    if place == 'table':
        content[table] = value
    elif place == 'record':
        content[table][0] = value
    else:
        record[key] = value
    out = tmp_path / 'out'
    boxes = data.draw(st.booleans())
    try:
        written(root, content, out, boxes_as_masks=boxes)
    except UserError as error:
        assert any(word in str(error) for word in ('changed.json', root.name, 'categor'))
        assert len(str(error).splitlines()) == 1 and not out.exists()
        str(error).encode()
    else:
        assert verify('rrsisd', str(out)).verdict != 'errors'
        out.rename(tmp_path / f'done{len(os.listdir(tmp_path))}')


@pytest.mark.parametrize(
    'change, says',
    [
        (
            lambda a: a.update(segmentation=[[float('nan'), *polygon(1, 1, 9, 9)[0][1:]]]),
            r'annotations\[0\].segmentation\[0\]\[0\]: NaN is no JSON',
        ),
        (
            lambda a: a.update(segmentation=[[1e300, *polygon(1, 1, 9, 9)[0][1:]]]),
            'annotation 1: polygon 1 has the coordinate x = 1e.300',
        ),
        (
            lambda a: a.update(bbox=[0, 0, 1e9, 3]),
            'annotation 1: bbox has the coordinate x = 1e.09',
        ),
        (lambda a: a.update(iscrowd='0'), 'annotation 1: iscrowd: expected .* got str'),
        (lambda a: a.update(category_id=[1]), 'annotation 1: category_id: expected'),
        (lambda a: a.update(image_id='0'), 'annotated pictures .id 0. are not among its images'),
    ],
)
def test_a_fault_of_an_annotation_is_named(three, tmp_path, change, says):
    root, content = three
    content = copy.deepcopy(content)
    change(content['annotations'][0])
    with pytest.raises(UserError, match=says):
        written(root, content, tmp_path / 'out')


def test_faults_of_the_whole_file(three, tmp_path):
    root, content = three
    twice = {**content, 'categories': [*content['categories'], {'id': 1, 'name': 'boat'}]}
    crowds = {**content, 'annotations': [{**a, 'iscrowd': 1} for a in content['annotations']]}
    for text, says in (
        ('[' * 100000, 'nested too deep'),
        (twice, "'airplane' and 'boat' are both"),
        (crowds, 'crowds: their category .*: 10.: set iscrowd to 0'),
    ):
        with pytest.raises(UserError, match=says):
            written(root, text, tmp_path / 'out')


@pytest.mark.parametrize(
    'name, says',
    [
        ('../../secret.jpg', 'leads out of its folder'),
        ('/etc/hostname', 'leads out of its folder'),
        ('cut.jpg', 'cannot be read'),
        ('text.jpg', 'not an image file'),
        ('bomb.png', 'larger than'),
        ('fifo.jpg', 'is a FIFO'),
    ],
)
def test_a_picture_is_in_its_folder_and_whole(tmp_path, name, says):
    root = fabricate_coco(tmp_path / 'a/source')
    images = root / 'images'
    (images / 'cut.jpg').write_bytes((images / '000.jpg').read_bytes()[:600])
    (tmp_path / 'a/secret.jpg').write_bytes((images / '000.jpg').read_bytes())
    (images / 'text.jpg').write_text('no picture')
    head = b'IHDR' + (60000).to_bytes(4, 'big') * 2 + b'\x08\0\0\0\0'
    (images / 'bomb.png').write_bytes(
        b'\x89PNG\r\n\x1a\n\0\0\0\r' + head + zlib.crc32(head).to_bytes(4, 'big') + b'\0\0\0\0IDAT'
    )
    os.mkfifo(images / 'fifo.jpg')
    content = json.loads((root / 'instances.json').read_text())
    content['images'][0]['file_name'] = name
    with pytest.raises(UserError, match=says):
        written(root, content, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('layout', ['rrsisd', 'risbench'])
def test_a_turned_picture_is_written_as_it_is_shown(three, tmp_path, layout):
    root, content = three
    images = tmp_path / 'images'
    images.mkdir()
    for image in content['images']:
        exif = Image.Exif()
        exif[0x0112] = 6  # shown turned by 90 degrees
        shown = Image.open(root / 'images' / image['file_name'])
        shown.rotate(90, expand=True).save(images / image['file_name'], exif=exif, quality=95)
    out = tmp_path / 'out'
    summary = convert_coco(str(root / 'instances.json'), str(images), to=layout, out=out)
    assert summary['instances']['pictures turned as their EXIF orientation says'] == 3
    files = sorted(
        (out / {'rrsisd': 'images/rrsisd/JPEGImages', 'risbench': 'img_rgb'}[layout]).iterdir()
    )
    assert {path.suffix for path in files} == {'.png'}
    for path in files:
        found = np.asarray(Image.open(path)).astype(int)
        assert found.shape == (HEIGHT, WIDTH, 3)
        assert found[25:28, 12:30].mean() > 180 > 100 > found[100:, :50].mean()
    assert verify(layout, str(out)).verdict == 'clean'
    stored = {
        **content,
        'images': [{**i, 'height': WIDTH, 'width': HEIGHT} for i in content['images']],
    }
    (tmp_path / 'stored.json').write_text(json.dumps(stored))
    with pytest.raises(UserError, match='EXIF orientation.*exiftool'):
        convert_coco(str(tmp_path / 'stored.json'), str(images), to=layout, out=tmp_path / 'b')


def _end(number):
    if number == 7:
        os._exit(9)  # as the system ends a process when the memory is full
    if number == 3:
        raise MemoryError
    return number


@pytest.mark.parametrize('items, workers', [(range(4, 9), 2), (range(4), 1), (range(4), 2)])
def test_a_process_that_ends_is_one_line(items, workers):
    with pytest.raises(UserError, match='trying: the system ended a process'):
        list(in_processes(_end, items, title='trying', workers=workers, chunk=1))
