"""Pr@X over X and the histogram against exact fractions, and the curve against the table."""

import random
from fractions import Fraction

import pytest

from rsrefseg2.evaluation import PROTOCOLS, Curves, Sums

PAIRS = [(0, 0), (0, 7), (7, 7), (1, 2), (1, 20), (3, 20), (7, 10), (9, 10), (99, 100), (1, 100)]


def pairs():
    """(intersection, union): ties with thresholds and bins, both empty, and random ones."""
    rng = random.Random(0)
    return PAIRS + [(rng.randint(0, u), u) for u in (rng.randint(1, 900) for _ in range(500))]


# `generalised` counts otherwise: test_generalised.py
@pytest.mark.parametrize('name', sorted(set(PROTOCOLS) - {'generalised'}))
def test_against_fractions(name):
    protocol = PROTOCOLS[name]
    curves, sums = Curves(protocol), Sums(protocol)
    for number, (i, u) in enumerate(pairs()):
        record = dict(id=str(number), intersection=i, union=u)
        curves.add(record)
        sums.add(record)
    empty = dict(paper=0, rmsin=0, lisa=1, release=None)[name]
    ious = [Fraction(i, u) if u else empty for i, u in pairs()]
    defined = [Fraction(iou) for iou in ious if iou is not None]
    points = curves.precision()
    assert [x for x, _ in points] == [k / 100 for k in range(101)]
    for k, (_, value) in enumerate(points):
        x = Fraction(k, 100)
        passed = sum(iou >= x if name == 'rmsin' else iou > x for iou in defined)
        assert value == 100 * passed / len(ious), x
    assert curves.histogram == [
        sum(
            Fraction(k, 20) <= iou < Fraction(k + 1, 20) or (k == 19 and iou == 1)
            for iou in defined
        )
        for k in range(20)
    ]
    for tenths in (5, 6, 7, 8, 9):
        assert points[10 * tenths][1] == sums.scores()[f'Pr@0.{tenths}']
