"""Where or how, on masks and dense prompts whose answer is known, and the tool on dumps of them."""

import json

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import (
    Thresholds,
    attribute_dump,
    cause_from_masks,
    cause_from_prompt,
    coarse_localisation,
    fit_thresholds,
    mask_agreement,
    mask_localisation,
    read_thresholds,
)
from rsrefseg2.rle import encode

SHAPE = (128, 160)
# rows, columns: the target, another object, both of 24 x 32 pixels
TARGET, OTHER = (slice(16, 40), slice(16, 48)), (slice(80, 104), slice(112, 144))


def mask(*places):
    found = np.zeros(SHAPE, bool)
    for place in places:
        found[place] = True
    return found


def prompt(*places, seed=0):
    """Logits (32, 40), a quarter of the image: high at the places, with noise."""
    noise = np.random.default_rng(seed).normal(0, 0.3, (32, 40))
    return (noise + np.where(mask(*places)[::4, ::4], 3, -6)).astype(np.float32)


def strip(start, stop):
    """These rows of the target."""
    return slice(start, stop), TARGET[1]


GT = mask(TARGET)
WIDE = slice(4, 64), slice(4, 80)  # the target with much around it
NARROW = slice(84, 94), slice(116, 128)  # a small part of the other object


# ---------------------------------------------------------------------- the scores


@pytest.mark.parametrize(
    'pred, expected',
    [
        (mask(TARGET), 1),
        (mask(strip(16, 20)), 1),
        (mask(WIDE), 1),
        (np.ones(SHAPE, bool), 1),
        (mask(OTHER), 0),
        (mask(TARGET, OTHER), 0.5),
        (mask(strip(16, 22), OTHER), 0.2),
        (mask((slice(42, 66), TARGET[1])), 1),  # 2 pixels below, within a patch of 4
        (mask((slice(50, 74), TARGET[1])), 0),  # 10 pixels below
        (mask(), None),
    ],
)
def test_mask_localisation(pred, expected):
    found = mask_localisation(pred, GT)
    assert found is None if expected is None else found == pytest.approx(expected)
    assert mask_localisation(pred, mask()) is None


def test_mask_agreement_by_the_formula():
    """Soft Dice of cells of 4 x 4 pixels, by plain sums over the cells."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        dense, pred = rng.normal(0, 3, (9, 11)), rng.random((36, 44)) < 0.4
        a = [1 / (1 + np.exp(-x)) for x in dense.ravel()]
        a = [max(0, x - sorted(a)[len(a) // 2]) for x in a]
        a = [x / max(a) for x in a]
        m = [pred[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() for i in range(9) for j in range(11)]
        expected = (
            2 * sum(x * y for x, y in zip(a, m)) / (sum(x * x for x in a) + sum(y * y for y in m))
        )
        assert mask_agreement(dense, pred) == pytest.approx(expected, rel=1e-5)


def test_mask_agreement_of_known_cases():
    assert mask_agreement(prompt(TARGET), mask(TARGET)) > 0.97
    assert mask_agreement(prompt(TARGET), mask(OTHER)) < 0.05
    assert mask_agreement(prompt(TARGET), mask(WIDE)) < 0.5  # covers it, and far more
    assert mask_agreement(prompt(OTHER), mask(NARROW)) < 0.4  # a part of it
    assert mask_agreement(prompt(TARGET), mask()) == 0
    assert mask_agreement(np.full((8, 8), 5.0), mask(TARGET)) is None


# ---------------------------------------------------------------------- the causes


def test_the_table_of_the_definition():
    limits = Thresholds(0.4, 0.6, 100, 'val')
    for c, q, cause in (
        (0.4, 0.1, 'how'),
        (0.9, 0.9, 'how'),
        (0.39, 0.6, 'where'),
        (0, 0.59, 'both'),
        (None, 0.9, 'undecided'),
        (0.9, None, 'undecided'),
    ):
        assert cause_from_prompt(c, q, limits) == cause
    assert [cause_from_masks(p) for p in (1, 0.5, 0.49, 0, None)] == [
        'how',
        'how',
        'where',
        'where',
        'undecided',
    ]


def record(dense, pred, gt=GT):
    return dict(
        intersection=int((pred & gt).sum()),
        union=int((pred | gt).sum()),
        coarse_localisation=coarse_localisation(dense, gt),
        mask_agreement=mask_agreement(dense, pred),
    )


def successes(n=80):
    """A good split: the prompt on the target with noise, most of the target drawn."""
    for seed in range(n):
        yield prompt(TARGET, seed=seed), mask(strip(16, 32 + seed % 9))


@pytest.mark.parametrize(
    'dense, pred, cause, from_masks',
    [
        (prompt(TARGET), mask(WIDE), 'how', 'how'),
        (prompt(TARGET), mask(strip(16, 24)), 'how', 'how'),
        (prompt(TARGET), mask(), 'how', 'undecided'),
        (prompt(TARGET), mask(OTHER), 'how', 'where'),  # as a shift would leave it
        (prompt(OTHER), mask(OTHER), 'where', 'where'),
        (prompt(OTHER), mask(NARROW), 'both', 'where'),
        (prompt(OTHER), mask(strip(16, 24)), 'both', 'how'),
        (np.zeros((32, 40)), mask(OTHER), 'undecided', 'where'),
    ],
)
def test_causes_of_known_failures(dense, pred, cause, from_masks):
    limits = fit_thresholds((record(*s) for s in successes()), 'val')
    found = record(dense, pred)
    assert found['intersection'] <= found['union'] / 2
    assert cause_from_prompt(found['coarse_localisation'], found['mask_agreement'], limits) == cause
    assert cause_from_masks(mask_localisation(pred, GT)) == from_masks


def test_thresholds_are_the_quantile_of_the_successes_alone():
    rng = np.random.default_rng(0)
    good = [
        dict(intersection=6, union=10, coarse_localisation=c, mask_agreement=q)
        for c, q in rng.random((81, 2))
    ]
    bad = [dict(intersection=5, union=10, coarse_localisation=0.0, mask_agreement=0.0)] * 50
    flat = [dict(intersection=6, union=10, coarse_localisation=None, mask_agreement=None)] * 9
    found = fit_thresholds(good + bad + flat, 'val.jsonl')
    for key in ('coarse_localisation', 'mask_agreement'):
        # of 81 sorted values the third stands at 2 / 80
        assert getattr(found, key) == pytest.approx(sorted(r[key] for r in good)[2])
    assert found.successes == 81 and found.source == 'val.jsonl'
    with pytest.raises(UserError, match='val.jsonl: 39 samples .* thresholds need 40'):
        fit_thresholds(good[:39] + bad, 'val.jsonl')


# ---------------------------------------------------------------------- dumps and the tool


def write_dump(path, cases, *, dense=True, gt=GT):
    """cases: (prompt, prediction, fields)."""
    lines = []
    for number, (logits, pred, fields) in enumerate(cases):
        scores = record(logits, pred, gt) if dense else {}
        lines.append(
            json.dumps(
                dict(
                    id=number, prediction=encode(pred), ground_truth=encode(gt), **scores, **fields
                )
            )
            + '\n'
        )
    path.write_text(''.join(lines))
    return path


@pytest.fixture
def dumps(tmp_path):
    ship = dict(category='ship', sentence='the red ship')
    plane = dict(category='airplane', sentence='the airplane to the left of the ship')
    val = write_dump(tmp_path / 'val.jsonl', [(*s, ship) for s in successes()])
    test = [
        (prompt(OTHER), mask(OTHER), {**plane, 'object_hit': False}),
        (prompt(OTHER), mask(OTHER), {**plane, 'object_hit': False}),
        (prompt(OTHER), mask(NARROW), plane),
        (prompt(TARGET), mask(WIDE), {**ship, 'object_hit': True}),
        *((prompt(TARGET), mask(TARGET), ship) for _ in range(4)),
    ]
    return (
        val,
        write_dump(tmp_path / 'test.jsonl', test),
        write_dump(tmp_path / 'other_model.jsonl', test, dense=False),
    )


def test_errors_tool(run, dumps, tmp_path):
    val, test, other = dumps
    plot = tmp_path / 'new/causes.png'
    code, printed, _ = run(
        'analysis/errors.py', test, '--thresholds', val, '--json', '--plot', plot
    )
    report = json.loads(printed)
    assert code == 0 and report['from'] == 'dense prompt'
    rows = dict(all=report, **report['by_category'], **report['by_kind'], **report['by_object_hit'])
    expected = dict(
        all=(50, 25, 12.5, 12.5, 8),
        ship=(20, 0, 20, 0, 5),
        airplane=(100, 200 / 3, 0, 100 / 3, 3),
        attribute=(20, 0, 20, 0, 5),
        relation=(100, 200 / 3, 0, 100 / 3, 3),
        hit=(100, 0, 100, 0, 1),
        miss=(100, 100, 0, 0, 2),
    )
    assert set(rows) == set(expected)
    for name, numbers in expected.items():
        assert [
            rows[name][key] for key in ('failed', 'where', 'how', 'both', 'samples')
        ] == pytest.approx(numbers)
    picture = np.asarray(Image.open(plot).convert('RGB'))
    for colour in ((213, 94, 0), (0, 114, 178), (204, 121, 167)):  # where, how, both are drawn
        assert (picture == colour).all(-1).sum() > 1000

    # what was printed serves as thresholds, and gives the same
    (tmp_path / 'report.json').write_text(printed)
    assert read_thresholds(tmp_path / 'report.json', other_than=test) == Thresholds(
        **report['thresholds']
    )
    code, printed, _ = run('analysis/errors.py', test, '--thresholds', tmp_path / 'report.json')
    assert code == 0 and '(80 successes of val.jsonl)' in printed and 'protocol `paper`' in printed

    for arguments in ((other,), (test, '--from', 'prediction')):
        code, printed, _ = run('analysis/errors.py', *arguments, '--json')
        report = json.loads(printed)
        assert code == 0 and report['from'] == 'prediction' and report['thresholds'] is None
        assert [report[key] for key in ('where', 'how', 'both')] == [37.5, 12.5, 0]


def test_errors_tool_reports_bad_input_in_one_line(run, dumps, tmp_path):
    val, test, other = dumps
    (tmp_path / 'no.json').write_text('{}')
    old = tmp_path / 'old.jsonl'
    old.write_text(
        ''.join(
            line.replace('"mask_agreement"', '"else"')
            for line in test.read_text().splitlines(keepends=True)
        )
    )
    for arguments, message in (
        ((test,), 'give --thresholds'),
        ((test, '--thresholds', test), 'another split'),
        ((other, '--thresholds', val), 'drop --thresholds'),
        ((test, '--thresholds', other), 'sample 0 has no coarse_localisation'),
        ((old, '--thresholds', val), 'sample 0 has no mask_agreement'),
        ((test, '--thresholds', tmp_path / 'no.json'), 'holds no thresholds'),
        ((test, '--thresholds', tmp_path / 'none.jsonl'), 'none.jsonl does not exist'),
        ((val, '--thresholds', test), 'thresholds need 40'),
        ((test, '--thresholds', val, '--plot', test / 'x'), 'cannot make the folder'),
    ):
        code, _, error = run('analysis/errors.py', *arguments)
        (line,) = error.strip().splitlines()
        assert code == 1 and line.startswith('error: ') and message in line


def test_no_failure_and_no_sentence(tmp_path, run):
    """Only what a scorer needs, and nothing to explain."""
    path = write_dump(tmp_path / 'good.jsonl', [(None, GT, {})] * 3, dense=False)
    assert attribute_dump(path, None).to_dict()['failed'] == 0
    code, printed, _ = run('analysis/errors.py', path, '--plot', tmp_path / 'good.png')
    assert code == 0 and 'category' not in printed and (tmp_path / 'good.png').is_file()
