"""Which breakdowns a report shows: each group of samples once."""

import pytest

from rsrefseg2.evaluation import PROTOCOLS, ErrorReport, Report, kind

SENTENCES = ('the red ship', 'the ship on the upper left', 'the ship next to the dam')


def records(**changed):
    """One of each kind, with the level that a generator wrote, and an IoU of its own."""
    return [
        {
            'id': str(i),
            'intersection': 10 + 30 * i,
            'union': 100,
            'area': 100 * 20**i,
            'sentence': sentence,
            'level': changed.get(sentence, kind(sentence)),
        }
        for i, sentence in enumerate(SENTENCES)
    ]


def scored(rows, protocol='paper'):
    report = Report(PROTOCOLS[protocol])
    for row in rows:
        report.add(row)
    return report


def attributed(rows):
    report = ErrorReport(None)
    for i, row in enumerate(rows):
        report.add(row, None if i else 'how')
    return report


@pytest.mark.parametrize('report', [scored, attributed])
def test_kinds_and_levels_stand_once_where_they_are_the_same(report):
    found = report(records())
    assert {'by_level', 'by_size'} <= set(found.to_dict()) and 'by_kind' not in found.to_dict()
    assert [name for name in ('kind', 'level') for t in found.tables() if f'by {name}' in t] == [
        'level'
    ]
    assert set(found.to_dict()['by_level']) == {'attribute', 'position', 'relation'}


@pytest.mark.parametrize('report', [scored, attributed])
def test_both_stand_where_a_sentence_reads_otherwise(report):
    rows = records(**{SENTENCES[0]: 'position', SENTENCES[1]: 'attribute'})
    assert {'by_kind', 'by_level'} <= set(report(rows).to_dict())


def test_an_undefined_score_makes_no_difference():
    """NaN differs from itself; the sums do not."""
    rows = [{**row, 'intersection': 0, 'union': 0} for row in records()]
    assert 'by_kind' not in scored(rows, 'release').to_dict()
