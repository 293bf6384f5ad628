"""A dump replaces nothing without being asked, and is continued from whole parts alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2.errors import UserError
from rsrefseg2.evaluation.dump import Lines, prepare_dump, replacing_dump

RUN = {'checkpoint': 'a.pth'}
HEAD = json.dumps({'run': RUN}).encode() + b'\n'
LINE = b'{"id": "s1", "prediction": {}, "ground_truth": {}, "intersection": 2, "union": 3}\n'
DAMAGE = (
    b'\xff\xfe\x00',
    b'[1, 2]\n',
    b'{}\n',
    b'{"run": 3}\n',
    b'text\n',
    HEAD + b'[]\n',
    HEAD + b'{"id": "s1"}\n',
    HEAD + b'\xff\n',
    HEAD + b'{"id": "s1", "prediction": {}, "ground_truth": {}}\n',
)


def prepare(path, **options):
    return prepare_dump(path, RUN, **{'resume': False, 'overwrite': False, **options})


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.sampled_from(DAMAGE)))
def test_a_damaged_part_is_named_or_predicted_again(tmp_path_factory, content):
    path = tmp_path_factory.mktemp('dump') / 'dump.jsonl'
    part = path.with_name('dump.jsonl.rank0')
    part.write_bytes(content)
    try:
        assert prepare(path, resume=True) == []
        assert not content.rpartition(b'\n')[0]
    except UserError as error:
        assert str(part) in str(error) and 'remove' in str(error)
        assert part.read_bytes() == content


@pytest.mark.parametrize('torn', range(0, len(LINE), 7))
def test_a_torn_line_is_predicted_again(tmp_path, torn):
    (tmp_path / 'd.rank0').write_bytes(HEAD + LINE + LINE.replace(b's1', b's2')[:torn])
    assert prepare(tmp_path / 'd', resume=True) == ['s1']


def test_another_dump_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / 'd'
    path.write_bytes(LINE)
    for resume in (False, True):
        with pytest.raises(UserError, match='--overwrite'):
            prepare(path, resume=resume)
    (tmp_path / 'd.rank0').write_bytes(HEAD + LINE)
    with pytest.raises(UserError, match='--resume.*--overwrite'):
        prepare(path)
    assert path.read_bytes() == LINE
    assert prepare(path, resume=True) == ['s1']  # a kill between the dump and the end of its parts
    assert prepare(path, overwrite=True) == [] and path.exists()
    with replacing_dump(path) as file:
        file.write('new\n')
    assert [child.name for child in tmp_path.iterdir()] == ['d'] and path.read_text() == 'new\n'


def test_a_folder_is_refused_before_the_test(tmp_path):
    for options in (dict(), dict(overwrite=True), dict(resume=True)):
        with pytest.raises(UserError, match='is a folder: choose another --dump'):
            prepare(tmp_path, **options)


def test_a_failed_test_leaves_its_parts(tmp_path):
    path = tmp_path / 'd'
    lines = Lines(path, RUN)
    lines.write([json.loads(LINE)])
    lines.close()
    with pytest.raises(ZeroDivisionError), replacing_dump(path):
        raise ZeroDivisionError
    assert [child.name for child in tmp_path.iterdir()] == ['d.rank0']
    assert prepare(path, resume=True) == ['s1']
