"""Sentences drawn anew at every visit of a scene: each names its target, many need their anchor."""

import itertools

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.synthrs.generation.language import Phrase, Relation
from rsrefseg2.synthrs.generation.scene import Thing
from rsrefseg2.synthrs.generation.solver import solve, solve_without_anchor
from rsrefseg2.synthrs.pretraining.questions import ASKED, ask, questions
from rsrefseg2.synthrs.pretraining.train_towers import training_scenes


@pytest.fixture(scope='module')
def asked(dataset):
    """[(scene, its sentences)]"""
    rng = np.random.default_rng(0)
    return [
        (scene, ask([Thing(**thing) for thing in scene['objects']], scene['size'], rng))
        for scene in read_scenes(dataset, 'train')
    ]


def test_every_sentence_names_its_target_alone(asked):
    """By the solver, which shares no code with the generator."""
    for scene, sentences in asked:
        for said in sentences:
            assert solve(said.text, scene['objects'], scene['size']) == {said.target}, said.text


def test_so_many_of_each_sort(asked):
    """Attributes and positions there are enough of; the last four need their anchor."""
    anchors = 0
    for scene, sentences in asked:
        plain = [said for said in sentences if isinstance(said.meaning, Phrase)]
        relations = [said for said in sentences if isinstance(said.meaning, Relation)]
        assert len(plain) == ASKED['attribute'] + ASKED['position']
        assert len(relations) <= ASKED['relation'] + ASKED['anchor']
        needing = relations[ASKED['relation'] :]
        anchors += len(needing)
        for said in needing:
            without = solve_without_anchor(said.text, scene['objects'], scene['size'])
            assert without != {said.target}
            assert said.meaning.relation != 'closest' or said.meaning.anchor.place is None
    assert anchors > 0.8 * ASKED['anchor'] * len(asked)


def test_a_second_visit_brings_other_sentences(dataset):
    scene = next(read_scenes(dataset, 'train'))
    things = [Thing(**thing) for thing in scene['objects']]

    def texts(rng):
        return [said.text for said in ask(things, scene['size'], rng)]

    rng = np.random.default_rng(1)
    first, second = texts(rng), texts(rng)
    assert first != second and first == texts(np.random.default_rng(1))


def test_batches_visit_every_scene_before_any_again(dataset):
    """12 scenes, 5 a batch: 60 places in 12 batches, five visits each."""
    known = list(read_scenes(dataset, 'train'))
    pictures = training_scenes(dataset)
    by_mask = {
        thing['rle']['counts']: (scene['scene'], thing)
        for scene in known
        for thing in scene['objects']
    }
    visits = []
    for batch in itertools.islice(questions(pictures, dataset, images=5, seed=0), 12):
        assert batch['image_index'].tolist() == batch['image_ids'].tolist()
        shown = {}
        for sample, u in zip(batch['data_samples'], batch['image_index'].tolist(), strict=True):
            rle = coco_mask.encode(np.asfortranarray(sample.gt_mask.numpy().astype(np.uint8)))
            number, thing = by_mask[rle['counts'].decode()]
            assert shown.setdefault(u, number) == number
            target = getattr(sample.meaning, 'target', sample.meaning)
            assert target.category == thing['category']
        for u, number in shown.items():
            visits.append(number)
            own = next(
                k
                for k in range(len(pictures))
                if pictures.get_data_info(k)['sample_id']
                == known[number]['sentences'][0]['keys']['rrsisd']
            )
            assert torch.equal(batch['inputs'][u], pictures[own]['inputs'])
    assert len(visits) == 60
    assert all(sorted(visits[k : k + 12]) == list(range(12)) for k in range(0, 60, 12))
