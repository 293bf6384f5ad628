"""The coarse localisation score on activations whose answer is known."""

import numpy as np
import pytest

from rsrefseg2.evaluation import coarse_localisation

GT = np.zeros((800, 640), bool)
GT[100:200, 160:320] = True  # rows 32 to 64, columns 64 to 128 of a 256 x 256 prompt
ON, OFF = (slice(32, 64), slice(64, 128)), (slice(160, 192), slice(128, 192))  # of equal size


def logits(*places, low=-4.0, high=4.0):
    prompt = np.full((256, 256), low, np.float32)
    for place in places:
        prompt[place] = high
    return prompt


@pytest.mark.parametrize('places, expected', [((ON,), 1), ((OFF,), 0), ((ON, OFF), 0.5)])
def test_the_share_of_the_activation(places, expected):
    assert coarse_localisation(logits(*places), GT) == pytest.approx(expected)


def test_a_floor_under_the_whole_image_does_not_matter():
    assert coarse_localisation(logits(ON, low=0.0), GT) == pytest.approx(1)
    assert coarse_localisation(logits(OFF, low=0.0), GT) == pytest.approx(0)


def test_a_patch_beside_the_target_counts_and_two_patches_do_not():
    beside = logits((slice(32, 64), slice(128, 136)))  # the 8 columns after the target
    beyond = logits((slice(32, 64), slice(144, 152)))
    assert coarse_localisation(beside, GT) == pytest.approx(1)
    assert coarse_localisation(beyond, GT) == pytest.approx(0)


def test_a_target_of_one_pixel_has_a_place():
    gt = np.zeros((800, 800), bool)
    gt[400, 400] = True
    assert coarse_localisation(logits((slice(127, 130), slice(127, 130))), gt) == pytest.approx(1)


def test_where_nothing_has_a_place_there_is_no_score():
    assert coarse_localisation(logits(ON), np.zeros_like(GT)) is None
    assert coarse_localisation(logits(), GT) is None
    assert coarse_localisation(np.full((8, 8), 200.0), GT) is None
