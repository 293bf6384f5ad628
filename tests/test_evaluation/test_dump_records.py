"""Lines of a dump against their schema: any value that JSON has either scores or is one line."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import PROTOCOLS, attribute_dump, compare, dumped_samples, score
from rsrefseg2.rle import encode
from tests.dumps import rle, target

FIELDS = (
    'id',
    'file',
    'sentence',
    'category',
    'level',
    'rule',
    'area',
    'iou',
    'object_hit',
    'coarse_localisation',
    'mask_agreement',
    'prediction',
    'ground_truth',
    'unknown',
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(('size', 'counts', 'x')), inner, max_size=3)
    ),
    max_leaves=6,
)
FEW = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(path, records):
    path.write_text(''.join(json.dumps(record) + '\n' for record in records), encoding='utf-8')
    return path


def line(number=0, **changed):
    mask = rle(target(number))
    return dict(id=number, prediction=mask, ground_truth=mask) | changed


@FEW
@given(field=st.sampled_from(FIELDS), value=JSON)
def test_any_value_scores_or_is_one_line(field, value, tmp_path):
    path = write(tmp_path / 'dump.jsonl', [line(), line(1, **{field: value})])
    try:
        report, _ = score(dumped_samples(path), PROTOCOLS['paper'])
        attribute_dump(path, None)
    except UserError as error:
        assert f'{path}:2' in str(error) and '\n' not in str(error)
    else:
        assert report.scores()['gIoU'] >= 50 and json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    'changed, message',
    [
        (dict(id=True), 'id: expected int | str, got bool'),
        (dict(id=None), 'id: '),
        (dict(category={}), 'category: '),
        (dict(coarse_localisation=5), 'coarse_localisation: '),
        (dict(sentence=4), 'sentence: '),
        (dict(id=float('nan')), 'NaN is no JSON'),
        (
            dict(prediction=rle(np.ones((4, 6), bool)), ground_truth=rle(np.ones((6, 4), bool))),
            'transposed',
        ),
    ],
)
def test_a_wrong_field_is_named(changed, message, tmp_path):
    path = write(tmp_path / 'dump.jsonl', [line(), line(1, **changed)])
    with pytest.raises(UserError) as error:
        score(dumped_samples(path), PROTOCOLS['rmsin'])
    assert f'{path}:2' in str(error.value) and message in str(error.value)


def test_transposed_masks_of_equal_bytes_are_not_equal(tmp_path):
    dumps = [
        write(tmp_path / f'{height}.jsonl', [dict(id=0, prediction=mask, ground_truth=mask)])
        for height in (4, 6)
        for mask in [encode(np.ones((height, 10 - height), bool))]
    ]
    with pytest.raises(UserError, match='sample 0: its annotated mask is 4 x 6 .* 6 x 4'):
        compare(*map(dumped_samples, dumps), PROTOCOLS['paper'])


def test_a_line_at_a_time(tmp_path):
    """A damaged line is not seen before it is reached."""
    path = write(tmp_path / 'dump.jsonl', [line(), line(1)])
    path.write_bytes(path.read_bytes() + b'\xff\n')
    samples = dumped_samples(path)
    assert [next(samples).record['id'] for _ in range(2)] == ['0', '1']
    with pytest.raises(UserError, match=r'dump\.jsonl:3: not UTF-8'):
        next(samples)
