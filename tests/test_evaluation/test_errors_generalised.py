"""Causes of failures where sentences may name nothing: what is invented, what is lost; by a count of
the samples by hand."""

import json

import numpy as np
import pytest

from rsrefseg2.apis import choose_ids, compare_rows
from rsrefseg2.cli import run_command
from rsrefseg2.evaluation import PROTOCOLS, attribute_dump
from rsrefseg2.visualization import plot_causes
from tests.dumps import SIDE, rle, target, write_dump

GENERALISED = PROTOCOLS['generalised']
NOTHING = np.zeros((SIDE, SIDE), bool)


def half(number):
    """Half of the target's columns: an IoU of exactly 0.5."""
    mask = target(number)
    mask[:, 15:] = False
    return mask


# (prediction, annotated) of sample i % 7 -> the cause under `generalised`; None: no failure
CASES = (
    (target, target, None),
    (lambda i: NOTHING, lambda i: NOTHING, None),
    (target, lambda i: NOTHING, 'invented'),
    (lambda i: NOTHING, target, 'lost'),
    (lambda i: np.roll(target(i), 30, axis=1), target, 'where'),
    (lambda i: target(i) & (np.arange(SIDE) < 12), target, 'how'),
    (half, target, None),  # counts under `generalised`, not under `paper`
)


@pytest.fixture
def dump(tmp_path):
    return write_dump(
        tmp_path,
        'test',
        lambda i: CASES[i % 7][0](i),
        n=28,
        ground_truth=lambda i: rle(CASES[i % 7][1](i)),
        level=lambda i: 'none' if i % 7 in (1, 2) else 'attribute',
    )


def test_the_causes(dump):
    found = attribute_dump(dump, None, GENERALISED).to_dict()
    assert found['protocol'] == 'generalised'
    for cause in ('invented', 'lost', 'where', 'how'):
        assert found[cause] == pytest.approx(100 / 7)
    assert found['failed'] == pytest.approx(400 / 7) and found['undecided'] == found['both'] == 0
    none = found['by_level']['none']
    assert none['invented'] == none['failed'] == 50 and none['samples'] == 8
    paper = attribute_dump(dump, None).to_dict()
    assert paper['protocol'] == 'paper' and 'invented' not in paper
    # two empty masks, an empty one, one of nothing, half of the target; and the two others
    assert paper['failed'] == pytest.approx(600 / 7)
    assert paper['undecided'] == pytest.approx(300 / 7)


def test_the_tool_and_its_plot(dump, capsys, tmp_path):
    arguments = [str(dump), '--from', 'prediction', '--protocol', 'generalised']
    run_command('analysis errors', arguments)
    said = capsys.readouterr().out
    assert 'IoU < 0.5, protocol `generalised`' in said and 'invented' in said
    run_command('analysis errors', [str(dump), '--from', 'prediction'])
    said = capsys.readouterr().out
    assert 'IoU <= 0.5, protocol `paper`' in said and 'invented' not in said
    pytest.importorskip('matplotlib')
    figure = plot_causes(attribute_dump(dump, None, GENERALISED).to_dict())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['where', 'how', 'invented', 'lost']


def test_thresholds_of_the_prompt(tmp_path, capsys):
    """A failure with a target goes the way that it goes under `paper`."""
    scores = dict(
        coarse_localisation=lambda i: None if i % 7 in (1, 2) else 0.9, mask_agreement=lambda i: 0.8
    )
    truth = dict(ground_truth=lambda i: rle(CASES[i % 7][1](i)), **scores)
    val = write_dump(tmp_path, 'val', target, n=70, **scores)
    test = write_dump(tmp_path, 'test', lambda i: CASES[i % 7][0](i), n=28, **truth)
    run_command(
        'analysis errors',
        [str(test), '--thresholds', str(val), '--protocol', 'generalised', '--json'],
    )
    found = json.loads(capsys.readouterr().out)
    assert found['how'] == pytest.approx(200 / 7)  # both of 4 and 5: c is high
    assert found['invented'] == found['lost'] == pytest.approx(100 / 7)


def test_figures_follow_the_protocol(dump):
    notes = {}
    for protocol in (PROTOCOLS['paper'], GENERALISED):
        (row,) = compare_rows({'ours': dump}, ['1001'], protocol=protocol)
        notes[protocol.name] = row.tiles[-1].note
    assert notes == {'paper': 'IoU 0.0 %', 'generalised': 'IoU 100.0 %'}
    assert len(choose_ids({'ours': dump}, 3, 'evenly', GENERALISED)) == 3
