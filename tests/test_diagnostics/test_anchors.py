"""Models made up so that it is known whether they look for the anchor."""

import json
import math
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.diagnostics.anchors import anchor_scores, anchor_table
from rsrefseg2.errors import UserError
from rsrefseg2.rle import encode
from rsrefseg2.synthrs.generation.build import build
from rsrefseg2.synthrs.generation.solver import solve_without_anchor
from tests.synthrs_data import recipe

PLATEAU = str(Path(__file__).resolve().parents[2] / 'tools/dev/anchor_plateau.py')


@pytest.fixture(scope='module')
def relations(tmp_path_factory):
    out = tmp_path_factory.mktemp('relations') / 'data'
    build(
        out,
        recipe(
            scenes={'train': 1, 'val': 1, 'test': 40},
            levels=('position', 'relation'),
            layouts=('rrsisd',),
        ),
    )
    return out


def dumped(root, path, choose):
    """A dump of the test split where choose(scene, sentence) names the objects of the answer."""
    with open(path, 'w') as file:
        for scene in read_scenes(root, 'test'):
            masks = [coco_mask.decode(thing['rle']) > 0 for thing in scene['objects']]
            for sentence in scene['sentences']:
                chosen = [masks[k] for k in choose(scene, sentence)] or [masks[0] & False]
                file.write(
                    json.dumps(
                        dict(
                            id=sentence['keys']['rrsisd'],
                            ground_truth=encode(masks[sentence['target']]),
                            prediction=encode(np.any(chosen, axis=0)),
                        )
                    )
                    + '\n'
                )
    return path


def reader(scene, sentence):
    if sentence['level'] != 'relation':
        return {sentence['target']}
    return solve_without_anchor(sentence['text'], scene['objects'], scene['size'])


def sure(scene, sentence):
    """Nothing where the reader has several objects to choose from."""
    return found if len(found := reader(scene, sentence)) == 1 else set()


def test_who_looks_for_the_anchor_and_who_does_not(relations, tmp_path):
    looks = anchor_scores(dumped(relations, tmp_path / 'a', lambda _, s: {s['target']}), relations)
    doesnt = anchor_scores(dumped(relations, tmp_path / 'b', sure), relations)
    assert (
        looks['all']['samples']
        == 40
        == sum(row['samples'] for kind, row in looks.items() if kind != 'all')
    )
    assert looks['all']['misleading'] > 0 and looks['all']['needing it'] > 5
    for kind, row in looks.items():
        assert row['model'] == 100 and row.get('model there', 100) == 100
        assert row.get('misled', 0) == 0
        assert doesnt[kind].get('misled', 100) == 100
        for column in ('samples', 'no anchor', 'needing it', 'misleading'):  # of the sentences
            assert row[column] == doesnt[kind][column]
    assert doesnt['all']['model'] == pytest.approx(100 * (1 - looks['all']['needing it'] / 40))
    # One drawn of several would be a hit now and then.
    assert doesnt['all']['no anchor'] > doesnt['all']['model']
    assert 15 < looks['all']['chance there'] <= 25
    assert 'needing it' in anchor_table(looks)


def test_expected_hits_are_those_of_draws(relations, tmp_path):
    generator = np.random.default_rng(0)

    def draw(scene, sentence):
        return [generator.choice(sorted(reader(scene, sentence)))]

    draws = [
        anchor_scores(dumped(relations, tmp_path / 'c', draw), relations)['all'] for _ in range(30)
    ]
    assert np.mean([row['model'] for row in draws]) == pytest.approx(draws[0]['no anchor'], abs=4)


def test_what_cannot_be_read_is_told(relations, dataset, tmp_path):
    path = dumped(relations, tmp_path / 'a', lambda _, s: {s['target']})
    with pytest.raises(UserError, match=r'a:\d+: sample .* is not in .* split val'):
        anchor_scores(path, relations, split='val')
    scenes = relations / 'scenes_test.jsonl'
    other = tmp_path / 'other'
    other.mkdir()
    (other / scenes.name).write_text(re.sub(r'(closest|nearest) to', 'near', scenes.read_text()))
    with pytest.raises(UserError, match=r'a:\d+: no relation is named in .* only the sentences of'):
        anchor_scores(path, other)
    some = tmp_path / 'position'
    some.write_text(path.read_text().splitlines()[0] + '\n')
    with pytest.raises(UserError, match='no sentence of level relation'):
        anchor_scores(some, relations)


def test_symbols_are_asked_by_their_geometry():
    """tools/dev/anchor_plateau.py: answers read again from the symbols, one cell an object."""
    tool = runpy.run_path(PLATEAU)
    torch.manual_seed(0)
    grid = 8
    symbols, cells, centre, category = tool['draw'](40, grid, 1)
    rows = list(zip(*tool['ask'](cells, centre, category), strict=True))
    assert len(rows) > 60
    for scene, x, y, target in rows:
        places = symbols[scene].view(grid, grid)
        (anchor,) = (places == y).nonzero().tolist()
        distances = sorted(
            (math.dist(place, anchor), place[0] * grid + place[1])
            for place in (places == x).nonzero().tolist()
        )
        assert len(distances) == 5 and distances[1][0] > distances[0][0]
        assert target.nonzero().flatten().tolist() == [distances[0][1]]
    big, cells, _, category = tool['draw'](10, 12, 2)
    assert (cells.sum(2) == 4).all() and cells.sum(1).max() == 1
    assert (torch.where(cells, big[:, None], -1).amax(2) == category).all()


@pytest.mark.parametrize('text', ['words', 'tower', 'read'])
def test_readers_of_symbols_learn(text):
    """A few scenes by heart."""
    tool = runpy.run_path(PLATEAU)
    torch.manual_seed(0)
    model = tool['Reader'](6, 1, 0)
    symbols, cells, centre, category = tool['draw'](4, 6, 1)
    questions = tool['ask'](cells, centre, category)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(80):
        loss, reading, hit = tool['score'](model, model(symbols), text, *questions)
        optimizer.zero_grad()
        (loss + reading).backward()
        optimizer.step()
    assert hit > 90
    assert 0 < reading < 0.2 * 9 * 3.6 if text == 'read' else reading == 0
