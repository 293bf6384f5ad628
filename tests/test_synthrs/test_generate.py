"""Scenes: deterministic, varied, with masks that fit what is drawn; sentences chosen rightly."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from rsrefseg2.synthrs.generation.generate import make_scene
from rsrefseg2.synthrs.generation.language import Ground, Phrase, Relation
from rsrefseg2.synthrs.generation.objects import CATEGORIES
from rsrefseg2.synthrs.generation.scene import Thing


@pytest.fixture(scope='module')
def scenes():
    return [make_scene(seed=5, split='train', index=index)[0] for index in range(40)]


def test_a_scene_depends_on_its_own_seed_only(scenes):
    again, _ = make_scene(seed=5, split='train', index=7)
    np.testing.assert_array_equal(again.image, scenes[7].image)
    assert again.things == scenes[7].things
    for other in (dict(seed=6, split='train'), dict(seed=5, split='test')):
        scene, _ = make_scene(**other, index=7)
        assert (scene.image != scenes[7].image).mean() > 0.5


def test_masks_boxes_and_centres_agree_and_do_not_overlap(scenes):
    for scene in scenes:
        assert scene.image.shape == (128, 128, 3) and scene.image.dtype == np.uint8
        covered = np.zeros((128, 128), int)
        for thing in scene.things:
            mask = coco_mask.decode(thing.rle)
            rows, columns = np.nonzero(mask)
            x, y, width, height = thing.bbox
            assert (x, y, x + width, y + height) == (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            assert thing.area == mask.sum() >= 20
            np.testing.assert_allclose(
                thing.centre, (columns.mean() + 0.5, rows.mean() + 0.5), atol=0.01
            )
            covered += mask
        assert covered.max() == 1


def test_variety(scenes):
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.category for thing in things} == set(CATEGORIES) and len(CATEGORIES) >= 10
    assert 8 <= len(things) / len(scenes) <= 12
    cut = [
        thing
        for thing in things
        if 0 in thing.bbox[:2]
        or 128 in (thing.bbox[0] + thing.bbox[2], thing.bbox[1] + thing.bbox[3])
    ]
    assert 0.05 < len(cut) / len(things) < 0.4  # occlusion at the border, not everywhere
    for name in CATEGORIES:
        lengths = {
            size: [
                thing.length for thing in things if thing.category == name and thing.size == size
            ]
            for size in ('small', 'large')
        }
        assert max(lengths['small']) < min(lengths['large'])
        assert all(
            thing.colour is None
            for thing in things
            if thing.category == name and not CATEGORIES[name].coloured
        )


def test_the_drawn_object_stands_out_from_its_surroundings(scenes):
    """The mask lies on the object: inside, the picture differs from the ring around it."""
    import cv2

    differences = []
    for scene in scenes:
        for thing in scene.things:
            mask = coco_mask.decode(thing.rle)
            ring = cv2.dilate(mask, np.ones((7, 7), np.uint8)) - cv2.dilate(
                mask, np.ones((3, 3), np.uint8)
            )
            inside, around = (np.median(scene.image[area > 0], axis=0) for area in (mask, ring))
            differences.append(np.abs(inside - around).max())
    assert np.median(differences) > 40
    assert np.mean(np.array(differences) > 12) > 0.95


@pytest.mark.parametrize('size', [64, 200])
def test_other_sizes(size):
    scene, sentences = make_scene(seed=0, split='val', index=0, size=size, per_level=1)
    assert scene.image.shape == (size, size, 3) and len(sentences) == 3
    assert all(thing.length < size / 2 for thing in scene.things)


def test_objects_of_another_scale():
    """Twice the side and half the scale: objects of the same length, more of the ground."""
    scene, _ = make_scene(seed=0, split='val', index=0)
    larger, _ = make_scene(seed=0, split='val', index=0, size=256, object_scale=0.5)
    lengths = [sorted(thing.length for thing in one.things) for one in (scene, larger)]
    assert larger.image.shape == (256, 256, 3)
    assert np.median(lengths[1]) == pytest.approx(np.median(lengths[0]), rel=0.4)
    assert max(thing.area for thing in larger.things) < 0.05 * 256**2


def thing(category, x, y, *, colour='red', size='small'):
    return Thing(
        category=category,
        colour=colour,
        size=size,
        centre=(x, y),
        bbox=(0, 0, 1, 1),
        angle=0.0,
        length=1.0,
        area=1,
        rle={},
    )


def test_only_clear_sentences_in_which_every_word_counts():
    ground = Ground(
        [
            thing('ship', 40, 8),
            thing('ship', 60, 80),
            thing('ship', 63, 124),
            thing('vehicle', 88, 68),
            thing('airplane', 88, 12),
        ],
        size=128,
    )
    assert ground.clear(Phrase('ship', place='leftmost')) == 0
    assert not ground.needs_every_word(Phrase('ship', place='leftmost'), 0)  # also the topmost
    assert ground.clear(Phrase('ship', place='top')) == 0
    assert ground.needs_every_word(Phrase('ship', place='top'), 0)
    assert ground.clear(Phrase('ship', place='rightmost')) is None  # 60 against 63
    assert ground.clear(Phrase('vehicle', place='bottom')) is None  # 68 is no clear half
    left = Relation(Phrase('ship'), 'left', Phrase('vehicle'))
    assert ground.clear(left) == 1
    assert not ground.needs_every_word(left, 1)  # also the closest
    above = left._replace(relation='above')
    assert ground.clear(above) == 0
    assert ground.needs_every_word(above, 0)
    assert ground.clear(Relation(Phrase('ship'), 'left', Phrase('ship', colour='red'))) is None
