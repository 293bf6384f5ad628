"""What is drawn keeps picture, mask and sentence together, and is one for all of an image."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rsrefseg2.datasets import (
    ImageCache,
    RandomRewording,
    RandomSymmetry,
    RefSegJSONL,
    unique_images_collate,
)
from rsrefseg2.datasets.seeded_index import SeededIndex
from rsrefseg2.directions import rewrite
from rsrefseg2.symmetries import GROUPS
from tests.fabricate import rle_of
from tests.test_models import tiny_model

HEIGHT, WIDTH = 48, 64
IMAGES = 6
TEXTS = ('the ship on the upper left', 'the ship left of the tank', 'the second ship', 'a ship')
REFUSED = 2


class OtherMask:
    """Adds another object's mask, as a transform before the symmetry may do."""

    def __call__(self, results):
        results['other_mask'] = np.roll(results['gt_mask'], 7, axis=1)
        return results


class Keep:
    """An item of what a test looks at."""

    KEYS = ('text', 'img', 'gt_mask', 'other_mask', 'ori_shape', 'mask_size', 'sample_id')

    def __call__(self, results):
        return {key: results[key] for key in self.KEYS}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Pictures of noise, each with four sentences."""
    root = tmp_path_factory.mktemp('noise')
    (root / 'images').mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f'images/{number}.png')
        for row, text in enumerate(TEXTS):
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[row : row + 9, number : number + 20] = True
            lines.append(
                dict(
                    split='train',
                    image_id=str(number),
                    sent_id=f'{number}-{row}',
                    sent=text,
                    file_name=f'{number}.png',
                    segmentation=rle_of(mask),
                )
            )
    (root / 'all.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return root


def dataset(root, *transforms, end=None):
    between = [OtherMask(), *transforms]
    end = end or Keep()
    return RefSegJSONL(
        data_root=str(root),
        split='train',
        equal_images='path',
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), *between, end],
    )


def drawn(indices, epoch=0, seed=0):
    return [SeededIndex(i, (seed, epoch)) for i in indices]


def symmetry_of(plain, item):
    """The one that leads from the one picture to the other; noise has no symmetry of its own."""
    (found,) = [
        s for s in GROUPS['all'] if np.array_equal(s.maps(plain['img'], y=0, x=1), item['img'])
    ]
    return found


@pytest.mark.parametrize('group', GROUPS)
def test_picture_masks_and_sentence_stay_together(root, group):
    plain = dataset(root)
    data = dataset(root, RandomSymmetry(symmetries=group))
    seen = set()
    for epoch in range(6):
        items = data.__getitems__(drawn(range(len(data)), epoch))
        for number, item in enumerate(items):
            before = plain[number]
            symmetry = symmetry_of(before, item)
            for key in ('gt_mask', 'other_mask'):
                assert np.array_equal(symmetry.maps(before[key], y=0, x=1), item[key])
                assert item[key].dtype == bool
            assert item['text'] == rewrite(before['text'], symmetry)
            assert item['ori_shape'] == item['img'].shape[:2] == item['mask_size']
            if number % 4 == REFUSED:
                assert symmetry == GROUPS['all'][0]
            else:
                seen.add(symmetry)
        for first in range(0, len(items), 4):  # of one image: one draw, one array
            arrays = [id(item['img']) for item in items[first : first + 4]]
            refused = arrays.pop(REFUSED)
            assert len(set(arrays)) == 1
            changed = not np.array_equal(items[first]['img'], plain[first]['img'])
            assert (refused not in arrays) == changed  # never the same pixels twice
    assert seen == set(GROUPS[group])


def test_the_share_of_images(root):
    plain = dataset(root)

    def changed(prob):
        data = dataset(root, RandomSymmetry(prob=prob))
        return sum(
            data[index]['img'].tobytes() != plain[int(index)]['img'].tobytes()
            for epoch in range(60)
            for index in drawn(range(0, 24, 4), epoch)
        )

    assert changed(0.0) == 0
    assert 0.3 < changed(0.5) / 360 < 0.57  # of a half 7 of 8
    assert 0.8 < changed(1.0) / 360 < 0.94


def test_a_draw_depends_on_seed_epoch_and_image_alone(root):
    data = dataset(root, RandomSymmetry(), RandomRewording(prob=1))

    def read(epoch, seed, order):
        random.seed(order[0])
        np.random.seed(order[0])
        items = data.__getitems__(drawn(order, epoch, seed))
        found = {item['sample_id']: (item['text'], item['img'].tobytes()) for item in items}
        return [found[key] for key in sorted(found)]

    first = read(3, 1, list(range(24)))
    assert read(3, 1, list(range(23, -1, -1))) == first
    assert [read(3, 1, [i])[0] for i in range(24)] == first
    assert read(4, 1, list(range(24))) != first and read(3, 2, list(range(24))) != first


def test_where_data_lie_changes_no_draw():
    here, there = (ImageCache((0, 1)).generator(f'{root}/1.png').random() for root in ('/a', '/b'))
    assert here == there != ImageCache((0, 1)).generator('/a/2.png').random()


def test_an_index_that_was_not_drawn_has_one_symmetry_a_batch(root):
    data = dataset(root, RandomSymmetry())
    np.random.seed(0)
    found = set()
    for _ in range(40):
        one, two, three, four = data.__getitems__([0, 1, 3, 0])
        assert one['img'] is two['img'] is three['img'] is four['img']
        found.add(symmetry_of(dataset(root)[0], one))
    assert found == set(GROUPS['all'])


def packed(root):
    return dataset(root, RandomSymmetry(), RandomRewording(), end=dict(type='PackRefSegInputs'))


def batches(root, workers):
    order = drawn(range(24), 2)
    return list(
        DataLoader(
            packed(root),
            batch_sampler=[order[:12], order[12:]],
            num_workers=workers,
            collate_fn=unique_images_collate,
        )
    )


def test_workers_give_the_same_batches(root):
    for here, there in zip(batches(root, 0), batches(root, 2), strict=True):
        assert [s.text for s in here['data_samples']] == [s.text for s in there['data_samples']]
        assert torch.equal(here['image_index'], there['image_index'])
        assert all(map(torch.equal, here['inputs'], there['inputs']))
        # three images; those that are changed come once more for their refused sentence
        assert 3 <= len(here['inputs']) <= 6
        assert here['image_index'].tolist().count(int(here['image_index'][0])) >= 3


def test_a_model_learns_from_pictures_of_both_orientations(root):
    """Height and width differ, and change places for some pictures of the batch."""
    batch = batches(root, 0)[0]
    assert {s.ori_shape for s in batch['data_samples']} == {(48, 64), (64, 48)}
    model = tiny_model.build(losses=tiny_model.PAPER_LOSSES)
    for pad in ('squash', 'pad'):
        model.data_preprocessor.fit = pad
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
        assert all(value.isfinite() for value in losses.values())
        for sample in model(**data, mode='predict'):
            assert sample.pred_mask.shape == sample.gt_mask.shape == sample.ori_shape


def test_rewording_keeps_the_rest(root):
    plain = dataset(root)
    never, always = dataset(root, RandomRewording(prob=0)), dataset(root, RandomRewording(prob=1))
    texts = set()
    for epoch in range(20):
        for index in drawn((0, 1), epoch):
            before, item = plain[int(index)], always[index]
            assert never[index]['text'] == before['text']
            assert np.array_equal(before['img'], item['img'])
            assert np.array_equal(before['gt_mask'], item['gt_mask'])
            texts.add(item['text'])
    assert len(texts) > 8


@pytest.mark.parametrize(
    'make',
    [
        lambda: RandomSymmetry(symmetries='rotations'),
        lambda: RandomSymmetry(prob=1.5),
        lambda: RandomRewording(prob=-1),
    ],
)
def test_other_options_are_refused(make):
    with pytest.raises(ValueError, match='not'):
        make()
