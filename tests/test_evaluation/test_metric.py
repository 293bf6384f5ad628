"""The scores against brute force in exact fractions, mmdet's metric, and hand-made edge cases."""

import math
import random
from fractions import Fraction

import pytest
import torch
from mmengine.evaluator import Evaluator

from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import PROTOCOLS, RefSegMetric, Report, Sums, score_table
from rsrefseg2.registry import METRICS
from rsrefseg2.structures import RefSegDataSample

SCORES = ['gIoU', 'cIoU', 'Pr@0.5', 'Pr@0.6', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9']


def data_sample(pred, gt, *, sample_id='1', category=None):
    sample = RefSegDataSample(
        metainfo=dict(
            sample_id=sample_id,
            img_path='a.png',
            text='a car',
            category=category,
            ori_shape=tuple(pred.shape),
        )
    )
    sample.pred_mask = pred
    if gt is not None:
        sample.gt_mask = gt
    return sample


def score(pairs, *, categories=None, batch_size=3):
    """The metric by mmengine's evaluator, as a loop would call it."""
    evaluator = Evaluator(dict(type='rsrefseg2.RefSegMetric'))
    samples = [
        data_sample(p, g, sample_id=str(i), category=categories and categories[i])
        for i, (p, g) in enumerate(pairs)
    ]
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return evaluator.evaluate(len(samples))


def brute_force(pairs):
    """Pixel by pixel with Python's integers and fractions."""
    ious, total_i, total_u = [], 0, 0
    for pred, gt in pairs:
        i = u = 0
        for p_row, g_row in zip(pred.tolist(), gt.tolist()):
            for p, g in zip(p_row, g_row):
                i += p and g
                u += p or g
        total_i, total_u = total_i + i, total_u + u
        ious.append(Fraction(i, u) if u else Fraction(0))
    expected = dict(gIoU=sum(ious) / len(ious), cIoU=Fraction(total_i, total_u or 1))
    for k in (5, 6, 7, 8, 9):
        expected[f'Pr@0.{k}'] = Fraction(sum(iou > Fraction(k, 10) for iou in ious), len(ious))
    return {key: float(100 * value) for key, value in expected.items()}


def random_pairs(n, seed=0):
    """Masks of many sizes and overlaps, degenerate ones among them."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(n):
        shape = rng.randint(1, 9), rng.randint(1, 9)
        gt = torch.rand(shape, generator=generator) < rng.choice([0, 0.1, 0.5, 0.9, 1])
        flip = torch.rand(shape, generator=generator) < rng.choice([0, 0.02, 0.1, 0.3, 1])
        pairs.append((gt ^ flip, gt))
    return pairs


def test_equals_brute_force():
    pairs = random_pairs(1500)
    result = score(pairs, batch_size=7)
    assert list(result) == SCORES
    assert result == pytest.approx(brute_force(pairs), rel=1e-14)
    for key in SCORES[1:]:
        assert result[key] == brute_force(pairs)[key]
    assert all(type(value) is float for value in result.values())


def test_equals_mmdet_where_the_rules_agree():
    from rsrefseg2.compat import use_mmdet_losses

    use_mmdet_losses()
    from mmdet.evaluation import RefSegMetric as MMDetMetric
    from mmdet.structures.mask import BitmapMasks

    pairs = random_pairs(300, seed=1)
    other = MMDetMetric(prefix='mmdet')
    other.process(
        {},
        [
            dict(
                pred_instances=dict(masks=pred[None]),
                gt_masks=BitmapMasks(gt[None].numpy(), *gt.shape),
            )
            for pred, gt in pairs
        ],
    )
    expected = other.compute_metrics(other.results)
    result = score(pairs)
    assert result['cIoU'] == pytest.approx(expected['cIoU'].item(), rel=1e-6)
    assert result['gIoU'] == pytest.approx(expected['mIoU'].item(), rel=1e-6)


EMPTY, FULL = torch.zeros(4, 5, dtype=torch.bool), torch.ones(4, 5, dtype=torch.bool)
PIXEL = EMPTY.clone()
PIXEL[1, 2] = True


@pytest.mark.parametrize(
    'pred, gt, iou',
    [
        (EMPTY, EMPTY, 0),
        (EMPTY, FULL, 0),
        (FULL, EMPTY, 0),
        (FULL, FULL, 100),
        (PIXEL, PIXEL, 100),
        (PIXEL, FULL, 5),
        (FULL, PIXEL, 5),
        (EMPTY, PIXEL, 0),
    ],
)
def test_degenerate_masks(pred, gt, iou):
    result = score([(pred, gt)])
    assert result['gIoU'] == result['cIoU'] == pytest.approx(iou)
    assert {result[key] for key in SCORES[2:]} == {100.0 if iou == 100 else 0.0}


def sums(pairs, protocol='paper'):
    """The scores of (intersection, union) pairs."""
    total = Sums(PROTOCOLS[protocol])
    for i, (intersection, union) in enumerate(pairs):
        total.add(dict(id=i, intersection=intersection, union=union))
    return total.scores()


@pytest.mark.parametrize('tenths', [5, 6, 7, 8, 9])
def test_a_tie_passes_its_threshold_only_where_the_protocol_says_so(tenths):
    """IoU = k/10 exactly; 3 * 0.1 * 10 style rounding must not decide."""
    for unit in (1, 3, 7, 1000):
        tie = tenths * unit, 10 * unit
        assert sums([tie])[f'Pr@0.{tenths}'] == 0
        assert sums([tie], 'rmsin')[f'Pr@0.{tenths}'] == 100
        assert sums([(tie[0] + 1, tie[1])])[f'Pr@0.{tenths}'] == 100
        assert sums([(tie[0] - 1, tie[1])], 'rmsin')[f'Pr@0.{tenths}'] == 0


def test_order_is_immaterial_to_the_last_digit():
    pairs = [(i, 3 * i + 7) for i in range(1000)]
    expected = sums(pairs)
    assert expected['gIoU'] == 100 * math.fsum(i / u for i, u in pairs) / 1000
    random.Random(0).shuffle(pairs)
    assert sums(pairs) == expected


def test_sums_do_not_overflow():
    assert sums([(2**62, 2**62)] * 4)['cIoU'] == 100


@pytest.mark.parametrize(
    'protocol, gIoU, pr',
    [('paper', 50, 50), ('rmsin', 50, 50), ('lisa', 100, 100), ('release', math.nan, 50)],
)
def test_two_empty_masks(protocol, gIoU, pr):
    found = sums([(3, 3), (0, 0)], protocol)
    assert found['gIoU'] == pytest.approx(gIoU, nan_ok=True)
    assert found['Pr@0.9'] == pr and found['cIoU'] == 100


def test_category_rule_of_table_iv():
    """The mean over a category's samples, then over categories: 2 of 3 samples in one category."""
    pairs = [(FULL, FULL), (EMPTY, FULL), (PIXEL, FULL), (FULL, FULL)]
    result = score(pairs, categories=['ship', 'ship', 'dam', None])
    assert result['category_gIoU'] == pytest.approx((50 + 5) / 2)
    assert result['gIoU'] == pytest.approx((100 + 0 + 5 + 100) / 4)
    report = Report(PROTOCOLS['paper'])
    report.add(dict(id=1, category=None, intersection=1, union=1))
    report.add(dict(id=2, category='ship', intersection=1, union=2))
    rows = report.to_dict()['by_category']
    assert list(rows) == ['ship', 'unknown'] and rows['ship']['samples'] == 1
    assert 'category_gIoU' not in score(pairs)


def test_padding_is_dropped_and_missing_samples_are_an_error():
    """Three samples, one of them again in the middle of the order."""

    def evaluate(size):
        metric = RefSegMetric()
        for name in '0102':
            metric.process(
                {}, [data_sample(FULL if name == '1' else EMPTY, FULL, sample_id=name).to_dict()]
            )
        return metric.evaluate(size)

    assert evaluate(3)['gIoU'] == pytest.approx(100 / 3)
    with pytest.raises(UserError, match='4 samples, but 3 different.*more than once: 0'):
        evaluate(4)
    with pytest.raises(UserError, match='2 samples, but 3 different'):
        evaluate(2)


def test_state_is_cleared_between_evaluations():
    evaluator = Evaluator(METRICS.build(dict(type='RefSegMetric')))
    for iou in (100, 0):
        evaluator.process([data_sample(FULL if iou else EMPTY, FULL)])
        assert evaluator.evaluate(1)['gIoU'] == iou


def test_prefix_is_an_option():
    metric = RefSegMetric(prefix='val')
    metric.process({}, [data_sample(FULL, FULL).to_dict()])
    assert metric.evaluate(1)['val/gIoU'] == 100


def test_no_mask_is_kept():
    metric = RefSegMetric()
    assert set(metric.record(data_sample(FULL, FULL).to_dict())) == {
        'id',
        'file',
        'sentence',
        'category',
        'area',
        'intersection',
        'union',
        'iou',
    }
    metric.process({}, [data_sample(FULL, FULL).to_dict()])
    assert not metric.results


def test_bad_samples_are_named():
    metric = RefSegMetric()
    with pytest.raises(UserError, match=r'sample 7 \(a.png\).*\(4, 5\).*\(5, 4\)'):
        metric.process({}, [data_sample(FULL, FULL.T, sample_id='7').to_dict()])
    with pytest.raises(UserError, match='sample 7 .* no annotated mask'):
        metric.process({}, [data_sample(FULL, None, sample_id='7').to_dict()])


def test_the_table_names_its_protocol(monkeypatch):
    lines = []
    for module in ('rsrefseg2.evaluation.metric', 'mmengine.evaluator.metric'):
        monkeypatch.setattr(f'{module}.print_log', lambda text, **_: lines.append(text))
    score([(FULL, FULL)], categories=['ship'])
    text = '\n'.join(lines)
    assert text.count('protocol `paper`') == text.count('Pr@0.5') == 4  # by group; not overall
    header = next(line for line in text.splitlines() if 'Pr@0.5' in line)
    columns = ['Pr@0.5', 'Pr@0.6', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9', 'cIoU', 'gIoU', 'samples']
    assert header.split() == ['category', *columns]
    assert 'prefix is not set' not in text


def test_columns_of_a_table_are_aligned():
    table = score_table(
        {'a': dict(gIoU=1.5, a_long_column=3), 'longer': {}},
        'title',
        head='row',
        columns=('gIoU', 'a_long_column'),
    )
    title, header, rule, first, second = table.splitlines()
    assert len({len(header), len(rule), len(first), len(second)}) == 1
    assert first.split() == ['a', '1.50', '3'] and second.split() == ['longer', '-', '-']
