"""The calibration against scipy and a closed form, its scores against brute force, and the tool."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from rsrefseg2.cli import run_command
from rsrefseg2.engine import read_calibration
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import CalibrationReport, fit_calibration, judge_dump
from rsrefseg2.evaluation.calibration import (
    RIDGE,
    Calibration,
    Judged,
    auroc,
    best_threshold,
    calibration_error,
    fit_logistic,
    judge,
    logit,
    presence_rates,
    reliability,
)
from tests.dumps import SIDE, rle, target, write_dump


def answers(n=400, seed=0):
    """Scores that know something, of answers that are right by chance."""
    rng = np.random.default_rng(seed)
    has_target = rng.random(n) < 0.7
    presence = 1 / (1 + np.exp(-(rng.normal(0, 1.5, n) + np.where(has_target, 1.5, -1.5))))
    iou = rng.random(n)
    right = has_target & (rng.random(n) < 0.3 + 0.6 * iou)
    mean = 0.5 + 0.5 * rng.random(n)
    return Judged(np.stack([presence, iou, mean], 1), has_target, rng.random(n) < 0.97, right)


# --- the fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize('seed', range(4))
def test_the_weights_are_those_of_another_solver(seed):
    judged = answers(seed=seed)
    judged = judged.rows(judged.drawn)
    x = logit(judged.scores)

    def loss(w):
        total = RIDGE / 2 * (w[1] ** 2 + w[2] ** 2 + w[3] ** 2)
        for row, right in zip(x, judged.right, strict=True):
            z = w[0] + w[1] * row[0] + w[2] * row[1] + w[3] * row[2]
            p = 1 / (1 + math.exp(-z))
            total -= math.log(p if right else 1 - p)
        return total

    found = fit_logistic(x, judged.right)
    expected = minimize(loss, np.zeros(4), method='BFGS', options=dict(gtol=1e-7)).x
    assert np.abs(found - expected).max() < 1e-4
    calibration = fit_calibration(answers(seed=seed), 'val')
    assert calibration.weights == tuple(found) and calibration.samples == 400


def test_of_two_groups_it_gives_their_shares():
    """A feature of two values: the closed form is the logit of each group's share."""
    x = np.repeat([0.0, 1.0], [40, 60])[:, None]
    right = np.concatenate([np.arange(40) < 10, np.arange(60) < 45])
    w = fit_logistic(x, right)
    assert 1 / (1 + math.exp(-w[0])) == pytest.approx(10 / 40, abs=1e-4)
    assert 1 / (1 + math.exp(-w[0] - w[1])) == pytest.approx(45 / 60, abs=1e-4)


def test_scores_that_separate_give_finite_weights():
    x = np.array([-30.0, -20, 5, 8])[:, None]
    w = fit_logistic(x, np.array([False, False, True, True]))
    assert np.isfinite(w).all() and (1 / (1 + np.exp(-(w[0] + w[1] * x[:, 0]))))[[1, 2]].round(
        2
    ).tolist() == [0, 1]
    calibration = Calibration((0.0, 1.0, 0.0, 0.0), 0.5, 1, 'val')
    assert calibration.confidence(0.7, 0.5, 0.5) == pytest.approx(0.7)
    assert calibration.confidence(0.7, 0.5, 0.0) == 0  # nothing is drawn
    assert 0 <= calibration.confidence(0.0, 1.0, 1.0) < 1e-5  # a logit of 0 and 1 is finite
    assert calibration.finds(0.5) and not calibration.finds(0.49)


def test_the_confidence_is_calibrated_where_the_scores_are_as_on_val():
    fitted = fit_calibration(answers(4000, seed=1), 'val')
    groups = {name: [None] * 4000 for name in ('level', 'rule', 'kind')}
    report = CalibrationReport(fitted, answers(4000, seed=2), groups, 'test')
    assert (
        report.row()['ECE']
        < 5
        < 100 * calibration_error(reliability(report.judged.presence, report.judged.right))
    )


# --- the scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize('seed', range(3))
def test_auroc_is_the_share_of_ordered_pairs(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 9, 60) / 8, rng.random(60) < 0.4  # with equal scores
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, b in itertools.product(scores[positive], scores[~positive])
    ]
    assert auroc(scores, positive) == pytest.approx(sum(pairs) / len(pairs))
    assert math.isnan(auroc(scores, positive | True))


@pytest.mark.parametrize('bins', [1, 3, 10])
def test_the_calibration_error_by_hand(bins):
    rng = np.random.default_rng(bins)
    confidence, right = rng.random(200), rng.random(200) < 0.5
    confidence[:3] = 0, 1, 0.5
    total = 0.0
    for k in range(bins):
        inside = [
            i
            for i, c in enumerate(confidence)
            if k / bins <= c and (c < (k + 1) / bins or k == bins - 1)
        ]
        if inside:
            share = sum(right[i] for i in inside) / len(inside)
            total += len(inside) / 200 * abs(share - sum(confidence[inside]) / len(inside))
    found = reliability(confidence, right, bins)
    assert calibration_error(found) == pytest.approx(total)
    assert sum(one.samples for one in found) == 200


@pytest.mark.parametrize('seed', range(4))
def test_the_threshold_is_the_best_of_all(seed):
    judged = answers(60, seed)
    threshold = best_threshold(judged.presence, judged.has_target & judged.drawn, judged.has_target)

    def mean(t):
        """N-acc and T-acc by counting; a mask that is empty anyway stays so for the T-acc alone."""
        absent = [p < t for p, there in zip(judged.presence, judged.has_target) if not there]
        present = [
            p >= t and drawn
            for p, there, drawn in zip(judged.presence, judged.has_target, judged.drawn)
            if there
        ]
        return sum(absent) / len(absent) + sum(present) / len(present)

    every = [0.0, 1.0, *judged.presence, *(judged.presence + 1e-9)]
    assert mean(threshold) == pytest.approx(max(map(mean, every)))


def test_the_rates_at_a_threshold():
    judged = Judged(
        np.array([[0.1, 0.6, 0.7, 0.2, 0.9], [0.5] * 5, [0.5] * 5]).T,
        np.array([False, False, True, True, True]),
        np.array([True, True, True, True, False]),
        np.zeros(5, bool),
    )
    assert presence_rates(judged, 0.5) == {'N-acc': 50, 'T-acc': pytest.approx(100 / 3)}
    assert presence_rates(judged, 0) == {'N-acc': 0, 'T-acc': pytest.approx(200 / 3)}
    assert math.isnan(presence_rates(judged.rows(judged.has_target), 0.5)['N-acc'])


@pytest.mark.parametrize('t_acc', [0, 50, 80, 92, 92.5, 95])
def test_the_highest_threshold_that_keeps_a_share(t_acc):
    """Against all thresholds between two scores, one by one."""
    judged = answers()
    values = np.unique(judged.presence)
    candidates = [0.0, *(values[1:] + values[:-1]) / 2, 1.0]
    rates = [(presence_rates(judged, one)['T-acc'], one) for one in candidates]
    best = max(one for rate, one in rates if rate >= t_acc - 1e-9)
    assert fit_calibration(judged, 'val', t_acc).presence_threshold == pytest.approx(best)
    assert t_acc > 0 or best == 1


def test_no_threshold_keeps_what_is_not_drawn():
    with pytest.raises(UserError, match=r'val.jsonl: T-acc is 9\d\.\d without a threshold'):
        fit_calibration(answers(), 'val.jsonl', 100)


# --- a dump --------------------------------------------------------------------------------------

NOTHING = np.zeros((SIDE, SIDE), bool)


def dump(folder, name, n=60, **changed):
    """Of three samples the third has no target; presence and IoU say so, but for some."""
    return write_dump(
        folder,
        name,
        lambda i: target(i) if i % 7 else np.roll(target(i), 30, axis=1),
        n=n,
        **{
            'ground_truth': lambda i: rle(NOTHING if i % 3 == 2 else target(i)),
            'presence': lambda i: 0.2 + 0.01 * (i % 5) if (i % 3 == 2) ^ (i % 10 == 0) else 0.9,
            'predicted_iou': lambda i: 0.9 if i % 7 else 0.4,
            'mean_probability': lambda i: 0.6 + 0.01 * (i % 30),
            'level': lambda i: 'none' if i % 3 == 2 else 'attribute',
            **changed,
        },
    )


def test_a_dump_is_judged_by_the_mask_as_drawn(tmp_path):
    judged, groups = judge_dump(dump(tmp_path, 'val'))
    assert judged.has_target.tolist() == [i % 3 != 2 for i in range(60)]
    assert judged.right.tolist() == [i % 3 != 2 and i % 7 != 0 for i in range(60)]
    assert groups['level'][:3] == ['attribute', 'attribute', 'none']
    emptied = dump(
        tmp_path,
        'emptied',
        prediction=lambda i: rle(NOTHING if i % 2 else target(i)),
        drawn=lambda i: rle(target(i)) if i % 2 else None,
    )
    assert judge_dump(emptied)[0].right.tolist() == [i % 3 != 2 for i in range(60)]


def test_what_it_refuses(tmp_path):
    with pytest.raises(UserError, match='has no predicted_iou: write the dump with a model'):
        judge([dict(id='a', presence=0.5, area=1, intersection=1, union=1)])
    judged = answers()
    for kept, said in (
        (judged.right, 'IoU above 0.5 stands in'),
        (judged.has_target, 'a sentence with a target stands in'),
    ):
        with pytest.raises(UserError, match=said):
            fit_calibration(judged.rows(kept), 'val.jsonl')


def test_the_tool(tmp_path, capsys):
    val, test = dump(tmp_path, 'val'), dump(tmp_path, 'test', n=90)
    run_command('analysis calibrate', [str(val), '--test', str(test), '--json'])
    found = json.loads(capsys.readouterr().out)
    threshold = found['calibration']['presence_threshold']
    assert 0.24 < threshold < 0.9
    # 90 samples: 30 without a target, of which i % 10 == 0 are 20, 50, 80; 60 with, of which 6
    assert found['N-acc'] == pytest.approx(90) and found['T-acc'] == pytest.approx(90)
    assert found['by_level']['none']['T-acc'] is None
    assert sum(one['samples'] for one in found['bins']) == found['samples'] == 90
    run_command('analysis calibrate', [str(val), '--t-acc', '90', '--json'])
    kept = json.loads(capsys.readouterr().out)
    # 4 of val's 40 with a target have a presence of 0.20, the others one of 0.9: both shares serve
    assert kept['T-acc'] >= 90 and kept['calibration']['presence_threshold'] > 0.24
    with pytest.raises(SystemExit):
        run_command('analysis calibrate', [str(val), '--t-acc', '101'])
    assert '--t-acc is from 0 to 100, not 101' in capsys.readouterr().err
    run_command('analysis calibrate', [str(val)])
    printed = capsys.readouterr().out
    assert 'which it was fitted on' in printed and 'with a target' in printed


def test_the_checkpoint_is_that_of_the_dump(tmp_path, capsys):
    checkpoint = tmp_path / 'iter_9.pth'
    checkpoint.write_bytes(b'weights')
    val = dump(tmp_path, 'val', test=lambda i: dict(checkpoint='iter_9.pth, 7 bytes, 123'))
    run_command('analysis calibrate', [str(val), '--checkpoint', str(checkpoint)])
    assert 'iter_9.calibration.json' in capsys.readouterr().err
    assert read_calibration(checkpoint).source == 'val.jsonl'
    checkpoint.write_bytes(b'other weights')
    with pytest.raises(SystemExit):
        run_command('analysis calibrate', [str(val), '--checkpoint', str(checkpoint)])
    assert 'is of iter_9.pth, 7 bytes' in capsys.readouterr().err


def test_the_plot(tmp_path, capsys):
    pytest.importorskip('matplotlib')
    val = dump(tmp_path, 'val')
    run_command('analysis calibrate', [str(val), '--plot', str(tmp_path / 'plot')])
    assert (tmp_path / 'plot.png').stat().st_size > 0 < (tmp_path / 'plot.pdf').stat().st_size
