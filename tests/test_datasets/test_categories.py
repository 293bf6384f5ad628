"""The category that a sentence names: whole words, the longest name at the earliest place."""

import pytest

from rsrefseg2.datasets import RefSegRS, RISBench, base
from rsrefseg2.datasets.categories import CategoryFinder
from rsrefseg2.datasets.risbench import SYNONYMS
from tests.fabricate import fabricate, set_line

REFSEGRS = CategoryFinder(RefSegRS.METAINFO['classes'], {})
RISBENCH = CategoryFinder(RISBench.METAINFO['classes'], SYNONYMS)


@pytest.mark.parametrize(
    'text, category',
    [
        ('road marking', 'road marking'),
        ('road markings on the road', 'road marking'),
        ('sidewalk along with tree', 'sidewalk'),
        ('light-duty vehicle driving on the road', 'vehicle'),
        ('the carpet', None),
        ('a van beside the car', 'van'),
        ('Buses', 'bus'),
        ('a busy road', 'road'),
        ('impervious  surface', 'impervious surface'),
        ('tree-lined road', 'road'),
        ('low-vegetation', 'low vegetation'),
    ],
)
def test_refsegrs(text, category):
    assert REFSEGRS(text) == category


@pytest.mark.parametrize(
    'text, category',
    [
        ('The plane at the very bottom of the image.', 'airplane'),
        ('The small baseball field is left of the ship.', 'baseball diamond'),
        ('The storage tank located at the top-right corner', 'storage tank'),
        ('The white tank', 'storage tank'),
        ('The helicopter landing pad', 'helipad'),
        ('The court at the top of the image', None),
        ('The vehicle above the chimney', 'vehicle'),
        ('A large ground track field with a football field inside', 'ground track field'),
        ('The expressway service area', 'expressway service area'),
        ('The toll station', 'expressway toll station'),
        ('THE BOATS in the harbor', 'ship'),
        ('an L-shaped dock', 'harbor'),
        ('the planet', None),
        ('the thing', None),
    ],
)
def test_risbench(text, category):
    assert RISBENCH(text) == category


def test_every_synonym_means_a_category():
    assert set(SYNONYMS.values()) <= set(RISBench.METAINFO['classes'])
    for word, category in SYNONYMS.items():
        assert RISBENCH(f'the {word.upper()} there') == category


def test_the_share_of_unknown_is_reported(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(base, 'print_log', lambda line, **_: lines.append(line))
    root = fabricate('refsegrs', tmp_path)
    set_line('output_phrase_train.txt', 2, b'3 a car on the road')(root)
    data = RefSegRS(data_root=str(root), split='train')
    assert [data[i]['category'] for i in range(4)] == [None, 'car', None, None]
    assert lines == [
        'RefSegRS train: 3 of 4 samples (75.0 %) are of unknown category: their sentences name none'
    ]
