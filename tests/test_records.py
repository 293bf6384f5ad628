"""Records: strict JSON comes back as it was, and what is none is one line with its place."""

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2.errors import UserError
from rsrefseg2.records import convert, decode_json, parse_json, read_json, read_json_lines, to_json

TEXT = st.text(st.characters(exclude_categories=['Cs']), max_size=6)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


class Sample(msgspec.Struct):
    id: int
    sentence: str
    box: list[float] | None = None


def refusal(call, *arguments):
    with pytest.raises(UserError, match='^f.json:3: ') as caught:
        call(*arguments, location='f.json:3')
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@given(JSON, st.booleans())
@settings(max_examples=60)
def test_json_comes_back(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text, location='here') == value
    assert decode_json(text.encode(), object, location='here') == value
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize(
    'text',
    [
        'NaN',
        '[Infinity]',
        '{"a": -Infinity}',
        '1e999',
        '[-1e400]',
        '9' * 5000,
        '1' * 400 + '.0',
        '{"a": 1, "b": 2, "a": 1}',
        r'"\ud800"',
        r'{"\udfff": 1}',
        '',
        '\x00',
        '[1] 2',
        "{'a': 1}",
        '[' * 100_000,
        '"\n"',
        '\ufeff1',
    ],
)
def test_what_is_no_json_is_refused(text):
    refusal(parse_json, text)


@pytest.mark.parametrize('text', ['1e308', '-1e-999', '0.' + '1' * 400, r'"\ud83d\ude80"'])
def test_what_looks_like_it_is_read(text):
    assert parse_json(text, location='here') == json.loads(text)


@given(st.binary(max_size=12), st.booleans())
@settings(max_examples=60)
def test_any_bytes_are_json_or_refused(raw, mark):
    raw = b'\xef\xbb\xbf' * mark + raw
    try:
        expected = raw.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        told = refusal(decode_json, raw, object)
        assert f'byte 0x{error.object[error.start]:02x} in line' in told
        return
    try:
        json.loads(expected)
    except ValueError:
        refusal(decode_json, raw, object)


NOT_JSON = (
    JSON
    | st.binary(max_size=3)
    | st.floats()
    | st.sampled_from(
        [
            '\ud800',
            {'id': '\udc80'},
            {1: 2},
            {None: 1},
            {1, 2},
            np.int64(3),
            np.float32(1),
            np.ones(2),
            object(),
            2**70,
            {'id': 2**70, 'sentence': 'a'},
            int,
            {'id': [[[]]]},
        ]
    )
)


@given(
    NOT_JSON,
    st.sampled_from(
        [Sample, int, str, float, list[int], dict[str, float], dict[str, Sample], list[Sample]]
    ),
)
@settings(max_examples=100)
def test_any_value_is_of_the_kind_or_refused(value, kind):
    try:
        found = convert(value, kind, location='f.json:3')
    except UserError:
        refusal(convert, value, kind)
    else:
        assert msgspec.to_builtins(found) == value or isinstance(found, Sample)


@pytest.mark.parametrize(
    ('record', 'place', 'expected'),
    [
        ({'id': '1', 'sentence': 'a'}, 'id: ', 'expected int, got str'),
        ({'id': 1}, '', 'missing required field sentence'),
        ({'id': 1, 'sentence': 'a', 'box': [1, None]}, 'box[1]: ', 'expected float, got null'),
    ],
)
def test_the_field_is_named(record, place, expected):
    told = refusal(decode_json, json.dumps(record), Sample)
    assert told == f'f.json:3: {place}object {expected}: correct the record'.replace(
        'object expected', 'expected'
    )


def test_files_and_lines(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "sentence": "a"}\r\n\n  \n{"id": 2, "sentence": 3}\n')
    records = read_json_lines(path, Sample)
    assert next(records) == (f'{path}:1', Sample(1, 'a'))
    with pytest.raises(UserError, match=f'{path}:4: sentence: expected str, got int'):
        next(records)
    for wrong, says in ((tmp_path / 'none', 'does not exist'), (tmp_path, 'is a folder')):
        with pytest.raises(UserError, match=says):
            read_json(wrong)


@given(
    st.recursive(
        st.floats() | st.integers() | TEXT,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(TEXT, inner, max_size=3)
        ),
        max_leaves=6,
    )
)
@settings(max_examples=40)
def test_what_is_written_is_strict(value):
    """An undefined score becomes null; nothing else changes."""

    def nulls(value):
        if isinstance(value, dict):
            return {key: nulls(child) for key, child in value.items()}
        if isinstance(value, (list, tuple)):
            return [nulls(child) for child in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    assert parse_json(to_json(value), location='here') == nulls(value)
