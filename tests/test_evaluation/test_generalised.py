"""Protocol generalised: sentences with one target, several or none, against gRefCOCO's definition.

The brute force follows C. Liu, H. Ding and X. Jiang, "GRES: Generalized Referring Expression
Segmentation", CVPR 2023, as their `gres_model/evaluation/refer_evaluation.py` (github.com,
henghuiding/ReLA) scores it, with a prediction without a pixel as "no target".
"""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2.cli import analysis_compare_command, analysis_score_command
from rsrefseg2.evaluation import (
    PROTOCOLS,
    Curves,
    ImageSums,
    RefSegMetric,
    Report,
    score,
    score_differences,
    score_intervals,
)
from rsrefseg2.evaluation.scoring import Sample, dumped_samples, score_record
from tests.test_evaluation.test_metric import data_sample
from tests.test_evaluation.test_scoring import write_dump

GENERALISED = PROTOCOLS['generalised']
SIDE = 3
EMPTY, FULL = np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)
HALF = FULL.copy()
HALF[:, 1:] = False
# empty masks come up often enough to be paired
MASK = st.just(0) | st.integers(0, 2 ** (SIDE * SIDE) - 1)


def unpack(bits):
    """(SIDE, SIDE) bool from an integer."""
    return np.array([bits >> k & 1 for k in range(SIDE * SIDE)], bool).reshape(SIDE, SIDE)


def published(pairs):
    """name -> the score in percent as a fraction, or None for 0 / 0."""
    true_positive = false_negative = true_negative = false_positive = 0  # "positive": no target
    ious, of_targets, intersections, unions = [], [], 0, 0
    for pred, gt in pairs:
        i = sum(bool(p and g) for p, g in zip(pred.flat, gt.flat, strict=True))
        u = sum(bool(p or g) for p, g in zip(pred.flat, gt.flat, strict=True))
        if not any(gt.flat):
            found = not any(pred.flat)
            true_positive += found
            false_negative += not found
            ious.append(Fraction(1 if found else 0))
        else:
            false_positive += not any(pred.flat)
            true_negative += any(pred.flat)
            ious.append(Fraction(i, u))
            of_targets.append(ious[-1])
        intersections += i
        unions += u

    def share(part, whole):
        return Fraction(100 * part) / whole if whole else None

    return {
        'gIoU': share(sum(ious), len(ious)),
        'cIoU': share(intersections, unions),
        'N-acc': share(true_positive, true_positive + false_negative),
        'T-acc': share(true_negative, true_negative + false_positive),
        **{
            f'Pr@0.{k}': share(sum(iou >= Fraction(k, 10) for iou in of_targets), len(of_targets))
            for k in (5, 6, 7, 8, 9)
        },
    }


def holds(found, expected):
    """Whether scores are those fractions; 0 / 0 is absent as a rate, NaN otherwise."""
    for name, value in expected.items():
        if value is None:
            assert name not in found if name.endswith('acc') else math.isnan(found[name]), name
        else:
            assert found[name] == pytest.approx(float(value), rel=1e-14), name


def samples(pairs, files=None):
    return [
        Sample(dict(id=str(i), file=files and files[i], sentence='a car'), pred, gt)
        for i, (pred, gt) in enumerate(pairs)
    ]


@given(st.lists(st.tuples(MASK, MASK), min_size=1, max_size=12), st.randoms())
@settings(max_examples=150, deadline=None)
def test_against_the_published_definition(bits, random):
    pairs = [(unpack(p), unpack(g)) for p, g in bits]
    report, _ = score(samples(pairs), GENERALISED)
    holds(report.scores(), published(pairs))
    shuffled = samples(pairs)
    random.shuffle(shuffled)
    assert score(shuffled, GENERALISED)[0].all == report.all

    records = [score_record(sample, GENERALISED) for sample in samples(pairs)]
    curves = Curves(GENERALISED)
    for record in records:
        curves.add(record)
    points = dict(curves.precision())
    for k in (5, 6, 7, 8, 9):
        assert points[k / 10] == float(published(pairs)[f'Pr@0.{k}'] or 0)
    assert sum(curves.histogram) == len(pairs)


PAIRS = [
    (EMPTY, EMPTY),
    (EMPTY, EMPTY),
    (HALF, EMPTY),
    (FULL, FULL),
    (HALF, FULL),
    (EMPTY, FULL),
    (~HALF, HALF),
]


def test_by_hand():
    """Two of three found empty; three of four targets not lost, one of them on a wrong place."""
    found = score(samples(PAIRS), GENERALISED)[0].scores()
    assert found['N-acc'] == pytest.approx(200 / 3)
    assert found['T-acc'] == 75
    assert found['gIoU'] == pytest.approx(100 * (1 + 1 + 0 + 1 + 1 / 3 + 0 + 0) / 7)
    assert found['cIoU'] == pytest.approx(100 * (9 + 3) / (3 + 9 + 9 + 9 + 9))
    assert found['Pr@0.5'] == 25


def test_several_targets_are_one_mask():
    """Both objects count: one of two found is half the answer."""
    both, one = HALF.copy(), HALF.copy()
    both[:, 2] = True
    assert score(samples([(one, both)]), GENERALISED)[0].scores()['gIoU'] == 50


def test_other_protocols_have_none_of_it():
    for name in set(PROTOCOLS) - {'generalised'}:
        report, images = score(samples(PAIRS), PROTOCOLS[name])
        assert not {'N-acc', 'T-acc'} & {*report.to_dict(), *score_intervals(images, resamples=5)}


def test_a_running_test_scores_as_its_dump(tmp_path):
    """Also the groups: sentences without a target are the size 'empty'."""
    import torch

    metric = RefSegMetric(protocol='generalised', dump=str(tmp_path / 'd.jsonl'), tables=False)
    metric.start()
    for i, (pred, gt) in enumerate(PAIRS):
        sample = data_sample(torch.from_numpy(pred), torch.from_numpy(gt), sample_id=str(i))
        metric.process({}, [sample.to_dict()])
    holds(metric.evaluate(len(PAIRS)), published(PAIRS))
    report = score(dumped_samples(tmp_path / 'd.jsonl'), GENERALISED)[0]
    assert json.dumps(report.to_dict()) == json.dumps(metric.report)
    rows = metric.report['by_size']
    assert rows['empty']['N-acc'] == metric.report['N-acc'] and 'T-acc' not in rows['empty']
    assert math.isnan(rows['empty']['Pr@0.5'])
    assert rows['small (< 32^2 px)']['T-acc'] == 75
    assert 'N-acc' in report.tables()[0] and '66.67' in report.tables()[0]


def test_intervals_hold_the_scores_themselves():
    """Each image alone: the sums that are resampled add up to the scores."""
    files = ['a', 'a', 'b', 'b', 'c', 'c', 'c']
    report, images = score(samples(PAIRS, files), GENERALISED)
    alike = ImageSums(GENERALISED)
    for sample in samples(PAIRS, ['one'] * len(PAIRS)):
        alike.add(score_record(sample, GENERALISED))
    for name, (low, high) in score_intervals(alike, resamples=20).items():
        assert low == high == pytest.approx(report.scores()[name]), name
    # In some resamples no image has a sentence without a target: no score, no interval, no p.
    assert math.isnan(score_intervals(images, resamples=200)['N-acc'].low)
    better = score(samples([(gt, gt) for _, gt in PAIRS], files), GENERALISED)[1]
    differences = score_differences(images, better, resamples=200)
    assert differences['N-acc'].difference == pytest.approx(100 / 3)
    assert math.isnan(differences['N-acc'].p) and not math.isnan(differences['gIoU'].p)


def test_without_any_sample_with_a_target():
    scores = Report(GENERALISED)
    scores.add(dict(id='1', area=0, intersection=0, union=0))
    found = scores.scores()
    assert found['gIoU'] == found['N-acc'] == 100
    assert math.isnan(found['cIoU']) and math.isnan(found['Pr@0.5'])


@pytest.mark.parametrize('command', ['score', 'compare'])
def test_the_commands_print_both_shares(command, tmp_path, capsys):
    import argparse

    dump = str(write_dump(tmp_path / 'dump.jsonl', PAIRS, file=lambda i: f'{i % 2}.png'))
    module = dict(score=analysis_score_command, compare=analysis_compare_command)[command]
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    given = [dump] * (1 if command == 'score' else 2)
    given += ['--protocol', 'generalised', '--resamples', '20']
    module.run(parser.parse_args(given))
    table = capsys.readouterr().out
    assert 'N-acc' in table and 'T-acc' in table and '66.67' in table and '75.00' in table
    module.run(parser.parse_args([*given, '--json']))
    printed = json.dumps(json.loads(capsys.readouterr().out))
    assert 'N-acc' in printed and 'T-acc' in printed
