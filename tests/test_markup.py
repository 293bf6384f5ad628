"""Text from data in Markdown, CSV and file names, and files of scores."""

import csv
import io
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsrefseg2.errors import UserError
from rsrefseg2.files import require_free
from rsrefseg2.markup import code, csv_cell, link, table, text
from rsrefseg2.publishing.card_facts import read_scores
from rsrefseg2.publishing.publish import check_name
from rsrefseg2.publishing.published_weights import check_tested
from rsrefseg2.publishing.scores_files import read_scores_file, weights_hash
from rsrefseg2.visualization import file_name

FEW = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GOOD = dict(
    gIoU=50.0,
    cIoU=None,
    protocol='paper',
    samples=3,
    by_level=dict(a=dict(gIoU=1.0)),
    intervals=dict(gIoU=[1.0, None]),
)


@FEW
@given(st.text(max_size=30) | st.sampled_from(['<script>', '[x](javascript:a)', 'a|b', '`` ` ``']))
def test_text_is_no_markup(value):
    for shown in (text(value), code(value), link(value, value)):
        assert '\n' not in shown and '\x1b' not in shown
        cells = shown.replace('\\\\', '').replace('\\|', '')
        assert '|' not in cells
    assert '<' not in text(value) and '](' not in text(value).replace('\\](', '')
    row = list(table(['a', 'b'], [[text(value), code(value)]]))
    assert len(row) == 3


def test_plain_text_stays():
    for plain in ('object_hit', 'Pr@0.5', "ECCV'20", 'NCE-t_sent-v', 'RSRefSeg 2', 'CMPC+', '✗ †'):
        assert text(plain) == plain
    assert code('a b') == '`a b`' and code('a`b') == '`` a`b ``'
    assert link('x.json', 'a/x.json') == '[x.json](a/x.json)'


@FEW
@given(st.text(max_size=10) | st.floats() | st.integers())
def test_no_cell_is_a_formula(value):
    out = io.StringIO()
    csv.writer(out).writerow([csv_cell(value)])
    if isinstance(value, str):
        cell = csv_cell(value)
        assert cell in (value, f"'{value}")
        begins = cell.lstrip()
        assert begins[:1] not in tuple('=+-@') or not begins[1:].strip() or float(begins) <= 1e999
    else:
        assert csv_cell(value) is value


@FEW
@given(number=st.integers(0, 999), name=st.text(max_size=400))
def test_a_file_name_holds_any_id(number, name):
    made = file_name(number, name)
    assert len(made.encode()) <= 255 and made.startswith(f'{number:03d}_')
    assert not set('/\\\0:\n') & set(made)


@FEW
@given(
    key=st.sampled_from(
        sorted([*GOOD, 'object_hit', 'checkpoint', 'undefined', 'by_kind', 'cut_sentences'])
    ),
    value=st.none()
    | st.booleans()
    | st.integers(-9, 999)
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers()),
)
def test_any_scores_are_read_or_one_line(key, value, tmp_path):
    path = tmp_path / 'scores.json'
    path.write_text(json.dumps(GOOD | {key: value}))
    try:
        scores = read_scores(path)
    except UserError as error:
        assert str(path) in str(error) or 'protocol' in str(error)
    else:
        assert all(math.isnan(v) or 0 <= v <= 100 for v in scores.values.values())


@pytest.mark.parametrize(
    'changed',
    [
        dict(gIoU='7'),
        dict(gIoU=250),
        dict(cIoU=-1),
        dict(intervals=dict(gIoU=['a', 'b'])),
        dict(samples='<b>'),
    ],
)
def test_what_is_no_score_is_refused(changed, tmp_path):
    path = tmp_path / 'scores.json'
    path.write_text(json.dumps(GOOD | changed))
    with pytest.raises(UserError, match=next(iter(changed))):
        read_scores_file(path)


def test_counts_are_no_scores_and_an_evaluators_own_scores_are(tmp_path):
    path = tmp_path / 'scores.json'
    path.write_text(json.dumps(GOOD | dict(cut_sentences=750, mine=3.5, note='text')))
    assert set(read_scores(path).values) == {'gIoU', 'cIoU', 'mine'}


def test_scores_of_other_weights_are_refused(tmp_path):
    import torch

    one, other = (dict(state_dict={'w': torch.full((2,), value)}) for value in (1.0, 2.0))
    wrapped = dict(state_dict={'module.w': torch.full((2,), 1.0)})
    path = tmp_path / 'scores.json'
    path.write_text(
        json.dumps(GOOD | dict(checkpoint=dict(file='a.pth', sha256=weights_hash(one))))
    )
    scores = read_scores(path)
    check_tested(scores.tested, scores.source, 'b.pth', wrapped)
    check_tested(scores.tested, scores.source, 'b.pth', other, one)
    with pytest.raises(UserError, match='scores of other weights .a.pth'):
        check_tested(scores.tested, scores.source, 'b.pth', other)


def test_a_name_that_not_every_system_has_is_refused():
    assert check_name("Bob's model-2.1") == "Bob's model-2.1"
    for name in ('a<b>', 'x](y)', 'a:b', 'a\nb', 'a|b'):
        with pytest.raises(UserError, match='rename the config'):
            check_name(name)


def test_a_mark_at_either_end(tmp_path):
    path = tmp_path / 'figure.pdf'
    far = bytes(4500)
    for content, free in (
        (b'%PDF' + far + b'% ours\n', True),
        (b'ours' + far, True),
        (far + b'ours' + far, False),
    ):
        path.write_bytes(content)
        if free:
            require_free(path, mark='ours')
        else:
            with pytest.raises(UserError, match='--overwrite'):
                require_free(path, mark='ours')
