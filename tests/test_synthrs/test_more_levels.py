"""Sentences that name several objects or none: two solvers, counts, layouts, the metric."""

import collections
import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import RRSISD, RefSegJSONL, RefSegRS, RISBench
from rsrefseg2.datasets.scene_files import read_scenes, single_target, targets_of
from rsrefseg2.diagnostics.baselines import baseline_scores
from rsrefseg2.errors import UserError
from rsrefseg2.models.data_preprocessor import RefSegDataPreprocessor
from rsrefseg2.options import LEVELS, MORE_LEVELS
from rsrefseg2.registry import METRICS
from rsrefseg2.synthrs.generation import solver
from rsrefseg2.synthrs.generation.build import build
from rsrefseg2.synthrs.generation.generate import GroupSentence, make_more, make_scene
from rsrefseg2.synthrs.generation.language import Ground, Phrase, Relation
from rsrefseg2.synthrs.generation.more_levels import Pair, clear_group, clearly_empty
from rsrefseg2.synthrs.generation.wording import more_vocabulary, vocabulary
from rsrefseg2.synthrs.pretraining.pointing import pointing_game
from rsrefseg2.synthrs.pretraining.siglip_task import SiglipPretraining
from tests.synthrs_data import PER_LEVEL, SCENES, recipe
from tests.test_synthrs.test_generate import thing
from tests.test_synthrs.test_pretraining import Pointing
from tests.test_synthrs.test_solver import HAND_MADE

DRAWN = 60
KINDS = {
    'several': {'category', 'colour', 'size', 'place', 'pair'},
    'none': {'category', 'attribute', 'place', 'relation'},
}
READERS = {
    'rrsisd': lambda **options: RRSISD(classes=None, **options),
    'refsegrs': RefSegRS,
    'risbench': RISBench,
    'jsonl': RefSegJSONL,
}


@pytest.fixture(scope='module')
def drawn():
    """[(scene, its objects as the solver reads them, sentences of both levels)]"""
    found = []
    for index in range(DRAWN):
        scene, sentences = make_more(seed=11, split='train', index=index, more=MORE_LEVELS)
        objects = [
            dict(category=t.category, colour=t.colour, size=t.size, centre=t.centre)
            for t in scene.things
        ]
        found.append((scene, objects, [s for s in sentences if isinstance(s, GroupSentence)]))
    return found


@pytest.fixture(scope='module')
def generalised(tmp_path_factory):
    out = tmp_path_factory.mktemp('generalised') / 'data'
    build(out, recipe(levels=(*LEVELS, *MORE_LEVELS), layouts=tuple(READERS)))
    return out


def test_both_solvers_agree(drawn):
    kinds = collections.defaultdict(set)
    for scene, objects, sentences in drawn:
        assert [s.level for s in sentences] == ['several'] * 2 + ['none'] * 2
        for sentence in sentences:
            kinds[sentence.level].add(sentence.kind)
            if sentence.level == 'none':
                assert sentence.targets == ()
                assert solver.nothing_fulfils(sentence.text, objects, scene.size), sentence
            else:
                named = solver.solve_several(sentence.text, objects, scene.size)
                assert named == set(sentence.targets) and len(named) > 1, sentence
                assert list(sentence.targets) == sorted(sentence.targets)
    assert kinds == KINDS


def test_an_easy_and_three_hard_kinds_of_none(drawn):
    """By words alone: what is named in the scene, and what the attribute or the place leaves out."""
    for scene, objects, sentences in drawn:
        for sentence in (s for s in sentences if s.level == 'none'):
            words = sentence.text.removeprefix('the ')
            there = {item['category'] for item in objects}
            named = [name for name in solver.ALIASES if name in words]
            categories = {solver.ALIASES[name] for name in named}
            if sentence.kind == 'category':
                assert not categories & there
            else:
                assert categories <= there, sentence
            if sentence.kind == 'relation':
                anchor = ' the ' + sentence.text.rsplit(' the ', 1)[1]
                assert len(solver.solve(anchor.strip(), objects, scene.size)) == 1


def test_the_scene_and_its_old_sentences_stay():
    for index in range(8):
        old, sentences = make_scene(seed=5, split='val', index=index)
        for more in (('none',), MORE_LEVELS, ()):
            new, spoken = make_more(seed=5, split='val', index=index, more=more)
            assert new.things == old.things and spoken[:6] == sentences
            assert len(spoken) == 6 + 2 * len(more)
            np.testing.assert_array_equal(new.image, old.image)


def test_only_clear_groups_and_clear_emptiness():
    """On a picture of 128 pixels, of which the slack is 5.1."""
    ground = Ground(
        [
            thing('ship', 20, 20),
            thing('ship', 30, 90, colour='blue'),
            thing('ship', 62, 40, colour='blue'),
            thing('vehicle', 100, 64),
            thing('airplane', 95, 110),
            thing('airplane', 98, 20),
        ],
        size=128,
    )
    assert clear_group(ground, Phrase('ship')) == (0, 1, 2)
    assert clear_group(ground, Phrase('ship', 'blue')) == (1, 2)
    assert clear_group(ground, Phrase('ship', place='left')) is None  # 62 is no clear half
    assert clear_group(ground, Phrase('ship', place='top')) == (0, 2)
    assert clear_group(ground, Phrase('vehicle')) is None  # one alone
    assert clear_group(ground, Pair(Phrase('vehicle'), Phrase('ship', 'red'))) == (0, 3)
    assert clear_group(ground, Pair(Phrase('vehicle'), Phrase('ship'))) is None
    assert clear_group(ground, Pair(Phrase('vehicle'), Phrase('vehicle', 'red'))) is None
    assert clearly_empty(ground, Phrase('ship', 'white'))
    assert not clearly_empty(ground, Phrase('ship', place='right'))  # 62 comes near
    assert clearly_empty(ground, Phrase('airplane', place='left'))
    right = Relation(Phrase('ship'), 'right', Phrase('vehicle'))
    assert clearly_empty(ground, right)
    assert not clearly_empty(ground, right._replace(relation='left'))
    for anchor in (Phrase('airplane'), Phrase('helipad')):  # two of them; none
        assert ground.evaluate(right._replace(anchor=anchor)) == ()
        assert not clearly_empty(ground, right._replace(anchor=anchor))


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('the planes', {0, 1}),
        ('red vehicles', {2, 5}),
        ('the large cars that are red', {5}),
        ('cars that are in the upper half', {2, 3, 4}),
        ('the vehicles located on the left of the image', {2, 3}),
        ('white cars', set()),
        ('the white plane and the pool', {0, 6}),
        ('plane that is red and the small blue car', {1, 3}),
        ('the plane and the pool', set()),
        ('the pool and the swimming pool', set()),
        ('the plane', None),
        ('the cars that is red', None),
        ('the red cars left of the pool', None),
        ('the pool and the white plane on the left', None),
    ],
)
def test_several_by_hand(text, wanted):
    objects = [dict(zip(('category', 'colour', 'size', 'centre'), row)) for row in HAND_MADE]
    if wanted is None:
        with pytest.raises(solver.NotUnderstood):
            solver.solve_several(text, objects, 100)
    else:
        assert solver.solve_several(text, objects, 100) == wanted


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('the helipad', True),
        ('the blue plane', True),
        ('the white plane', False),
        ('the pool on the left', True),
        ('the vehicle to the left of the white airplane', True),
        ('the vehicle left of the rightmost plane', False),
        ('the car under the helipad', False),  # no anchor
        ('the pool right of the airplane', False),  # two anchors
    ],
)
def test_nothing_fulfils_by_hand(text, wanted):
    objects = [dict(zip(('category', 'colour', 'size', 'centre'), row)) for row in HAND_MADE]
    assert solver.nothing_fulfils(text, objects, 100) is wanted


def test_words(drawn):
    """The shipped tokenizers know those of level none, and of pairs; plurals are new."""
    assert not set(more_vocabulary()) & set(vocabulary())
    said = collections.defaultdict(set)
    for _, _, sentences in drawn:
        for sentence in sentences:
            said[sentence.level].update(sentence.text.split())
            if sentence.kind == 'pair':
                assert set(sentence.text.split()) <= {*vocabulary(), 'and'}
    assert said['none'] <= set(vocabulary())
    assert said['several'] <= {*vocabulary(), *more_vocabulary()}
    assert said['several'] & set(more_vocabulary())


def test_counts(generalised):
    summary = json.loads((generalised / 'summary.json').read_text())
    assert summary['arguments']['levels'] == [*LEVELS, *MORE_LEVELS]
    for split, scenes in SCENES.items():
        counts = summary['splits'][split]
        assert counts['levels'] == dict.fromkeys((*LEVELS, *MORE_LEVELS), scenes * PER_LEVEL[split])
        assert counts['sentences'] == 5 * scenes * PER_LEVEL[split] == sum(counts['kinds'].values())
        sentences = [s for scene in read_scenes(generalised, split) for s in scene['sentences']]
        assert sum(counts['target_categories'].values()) == sum(
            len(targets_of(sentence)) for sentence in sentences
        )
        assert all(('target' in s) == (s['level'] in LEVELS) for s in sentences)
        assert all(('targets' in s) == (s['level'] in MORE_LEVELS) for s in sentences)


def test_the_new_levels_alone(tmp_path):
    few = dict(scenes={'train': 2, 'val': 0, 'test': 2}, layouts=('rrsisd',))
    counts = build(tmp_path / 'none', recipe(levels=('none',), **few))['splits']['train']
    assert counts['levels'] == {**dict.fromkeys(LEVELS, 0), 'none': 4}
    assert baseline_scores(tmp_path / 'none', 'test') == {}
    with pytest.raises(UserError, match="unknown level 'nothing'.*known: attribute.*several, none"):
        recipe(levels=('nothing',))


@pytest.mark.parametrize('layout', READERS)
def test_the_readers_return_what_was_drawn(generalised, layout):
    samples = READERS[layout](
        data_root=str(generalised / layout),
        split='train',
        no_target=True,
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')],
    )
    found = {}
    for index in range(len(samples)):
        sample = samples[index]['data_samples']
        found[sample.sample_id] = sample
    areas = collections.defaultdict(list)
    for scene in read_scenes(generalised, 'train'):
        masks = [coco_mask.decode(item['rle']) > 0 for item in scene['objects']]
        for sentence in scene['sentences']:
            sample = found.pop(sentence['keys'][layout])
            union = np.zeros((128, 128), bool)
            for target in targets_of(sentence):
                union |= masks[target]
            assert sample.text == sentence['text']
            np.testing.assert_array_equal(sample.gt_mask.numpy(), union)
            assert bool(sample.get('no_target')) == (sentence['level'] == 'none')
            areas[sentence['level']].append(union.sum())
    assert not found
    assert min(areas['several']) > 0 and set(areas['none']) == {0}


def test_annotation_ids_are_unique_to_a_mask(generalised):
    lines = [json.loads(line) for line in (generalised / 'jsonl/train.jsonl').open()]
    masks = collections.defaultdict(set)
    for line in lines:
        if 'ann_id' in line:
            masks[line['ann_id']].add((line['image_id'], line['segmentation'][0]['counts']))
    assert masks and all(len(found) == 1 for found in masks.values())
    instances = json.loads((generalised / 'rrsisd/rrsisd/instances.json').read_text())
    ids = [annotation['id'] for annotation in instances['annotations']]
    assert len(set(ids)) == len(ids)
    empty = [a for a in instances['annotations'] if a['area'] == 0]
    assert empty and all(a['bbox'] == [0, 0, 0, 0] for a in empty)


def test_metric_end_to_end(generalised, monkeypatch):
    """A stub that answers right, but nothing to every second sentence of level several, and one
    object to every third of level none."""
    config = dict(type='ObjectHitMetric', data_root=str(generalised), protocol='generalised')
    metric = METRICS.build(config)
    shown = []
    monkeypatch.setattr(metric, 'log', shown.append)
    samples, turns = [], collections.Counter()
    for scene in read_scenes(generalised, 'test'):
        masks = np.stack([coco_mask.decode(item['rle']) > 0 for item in scene['objects']])
        for sentence in scene['sentences']:
            gt = masks[list(targets_of(sentence))].any(0)
            pred = gt
            turns[sentence['level']] += 1
            if sentence['level'] == 'several' and turns['several'] % 2:
                pred = np.zeros_like(gt)
            elif sentence['level'] == 'none' and turns['none'] % 3 == 0:
                pred = masks[0]
            samples.append(
                dict(
                    sample_id=sentence['keys']['rrsisd'],
                    category=None,
                    gt_mask=torch.from_numpy(gt),
                    pred_mask=torch.from_numpy(pred),
                )
            )
            assert (single_target(sentence) is None) == (sentence['level'] in MORE_LEVELS)
    metric.process(None, samples)
    scores = metric.evaluate(len(samples))
    assert scores['N-acc'] == pytest.approx(100 * 4 / 6)
    assert scores['T-acc'] == pytest.approx(100 * 21 / 24)
    assert scores['gIoU'] == pytest.approx(100 * (30 - 3 - 2) / 30)
    assert scores['object_hit'] == 100
    assert {key for key in scores if key.endswith('_hit')} == {
        'object_hit',
        *(f'{level}_hit' for level in LEVELS),
    }
    by_level = metric.report['by_level']
    assert set(by_level) == {*LEVELS, *MORE_LEVELS}
    assert by_level['several']['gIoU'] == 50
    assert 'object_hit' not in by_level['several'] and 'object_hit' not in by_level['none']
    assert set(metric.report['baselines_by_level']) == set(LEVELS)
    (table,) = (text for text in shown if 'this model' in text)  # no 'all', of other sentences
    (row,) = (line for line in table.splitlines() if line.startswith('this model'))
    assert row.split()[2:] == ['100.00'] * 3
    assert not np.isnan([value for value in scores.values()]).any()


def test_the_pointing_game_leaves_them_out(generalised, tmp_path):
    made = SiglipPretraining(tmp_path, image_size=128)
    preprocess = RefSegDataPreprocessor(
        tokenizer=str(tmp_path), init='pretrained', max_length=24, size_siglip=128, size_sam=128
    )
    pointing = Pointing(made.grid_size, preprocess, lambda i: 0)
    found = pointing_game(pointing, generalised)
    assert pointing.calls == 30  # 6 scenes, a sentence of each level
    assert {name.split(':')[0] for name in found} == set(LEVELS)
