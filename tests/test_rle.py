"""Run lengths: what pycocotools writes is read back, and what is damaged is refused or still one
whole mask, the same for COCO's C code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from rsrefseg2 import rle
from rsrefseg2.errors import UserError

SIDES = st.integers(1, 14)
MASKS = st.tuples(SIDES, SIDES).flatmap(lambda size: arrays(bool, size))
FORMS = ('text', 'bytes', 'list', 'tuple')


def in_form(mask, form):
    given = rle.encode(mask)
    if form == 'bytes':
        given['counts'] = given['counts'].encode()
    elif form != 'text':
        runs = rle.runs_of(given, location='here')[1].tolist()
        given['counts'] = runs if form == 'list' else tuple(runs)
    return given


def settled(damaged):
    """The mask and COCO's own reading of it; or None, where it is refused in one line."""
    try:
        found = rle.decode(damaged, location='f.json:3')
    except UserError as error:
        assert str(error).startswith('f.json:3: ') and '\n' not in str(error)
        with pytest.raises(UserError):
            rle.checked(damaged, location='f.json:3')
        return None
    return found, coco_mask.decode(rle.checked(damaged, location='f.json:3')).astype(bool)


@given(MASKS, st.sampled_from(FORMS))
@settings(max_examples=60)
def test_every_form_is_the_mask(mask, form):
    ours, coco = settled(in_form(mask, form))
    assert np.array_equal(ours, mask) and np.array_equal(coco, mask)


@given(MASKS.filter(lambda mask: mask.size > 1), st.data())
@settings(max_examples=60)
def test_damage_is_refused_or_a_whole_mask(mask, data):
    """Cut off anywhere, any bit flipped, any characters: COCO's code never reads beyond the end."""
    given = in_form(mask, 'bytes')
    text = given['counts']
    cut = settled({**given, 'counts': text[: data.draw(st.integers(0, len(text) - 1))]})
    bit = data.draw(st.integers(0, 8 * len(text) - 1))
    flipped = bytearray(text)
    flipped[bit // 8] ^= 1 << bit % 8
    others = [
        settled({**given, 'counts': counts})
        for counts in (
            bytes(flipped),
            data.draw(st.binary(max_size=9)),
            data.draw(st.text(max_size=9)),
        )
    ]
    for found in filter(None, [cut, *others]):
        assert found[0].shape == mask.shape and np.array_equal(*found)


@given(MASKS, SIDES, SIDES)
@settings(max_examples=30)
def test_runs_that_do_not_fill_the_size_are_refused(mask, height, width):
    found = settled({**rle.encode(mask), 'size': [height, width]})
    assert (found is None) == (height * width != mask.size)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.none().map(lambda _: 10**5000)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(
    st.one_of(
        ANYTHING,
        st.fixed_dictionaries({'size': ANYTHING, 'counts': ANYTHING}),
        st.fixed_dictionaries({'size': st.just([3, 2]), 'counts': ANYTHING}),
    )
)
@settings(max_examples=80)
def test_any_other_value_is_refused_in_one_line(value):
    found = settled(value)
    assert found is None or found[0].size == sum(value['counts'])


CORNERS = st.lists(st.floats(-9, 18) | st.integers(-9, 18), min_size=6, max_size=12).filter(
    lambda values: len(values) % 2 == 0
)


@given(st.lists(CORNERS, min_size=1, max_size=3))
@settings(max_examples=40)
def test_polygons_are_their_union(polygons):
    found = coco_mask.decode(rle.from_polygons(polygons, (9, 9), location='here'))
    each = [
        coco_mask.decode(coco_mask.frPyObjects([list(map(float, polygon))], 9, 9)[0])
        for polygon in polygons
    ]
    assert found.shape == (9, 9) and np.array_equal(found, np.any(each, axis=0))


@given(
    CORNERS,
    st.integers(0, 5),
    st.sampled_from(
        [float('nan'), float('inf'), -1e300, 19, -10, 2**70, 10**5000, True, None, '3', [1]]
    ),
)
@settings(max_examples=40)
def test_a_coordinate_that_is_none_is_named(polygon, index, value):
    polygon[index] = value
    with pytest.raises(UserError, match='^f.json:3: polygon 1 ') as caught:
        rle.from_polygons([polygon], (9, 9), location='f.json:3')
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 300
