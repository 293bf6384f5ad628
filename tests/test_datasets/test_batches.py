"""Unique images, loaders with workers, batch samplers over seeds, epochs and ranks."""

import copy
import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rsrefseg2.datasets import (
    RRSISD,
    ImageGroupBatchSampler,
    ImageOrderBatchSampler,
    ShuffledBatchSampler,
    images,
    samplers,
    unique_images_collate,
)
from rsrefseg2.datasets.seeded_index import SeededIndex, own_randomness
from rsrefseg2.errors import UserError
from tests.fabricate import fabricate

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = fabricate('rrsisd', tmp_path_factory.mktemp('rrsisd'))
    return RRSISD(data_root=str(root), split='train', pipeline=PIPELINE)


@pytest.mark.parametrize('workers', [0, 2])
def test_loader_gives_unique_images(data, workers):
    loader = DataLoader(data, batch_size=4, num_workers=workers, collate_fn=unique_images_collate)
    (batch,) = loader
    assert len(batch['inputs']) == 3
    assert batch['image_index'].tolist() == [0, 1, 1, 2]
    assert batch['image_index'].dtype == torch.int64
    assert [s.sample_id for s in batch['data_samples']] == ['1040', '1003', '1004', '1011']
    for index, sample in zip(batch['image_index'], batch['data_samples'], strict=True):
        assert batch['inputs'][index].shape == (3, *sample.ori_shape)
        alone = data[['1040', '1003', '1004', '1011'].index(sample.sample_id)]
        assert torch.equal(batch['inputs'][index], alone['inputs'])
        assert torch.equal(sample.gt_mask, alone['data_samples'].gt_mask)


def test_an_image_is_decoded_once_per_batch(data, monkeypatch):
    paths = []
    read = images.read_image
    monkeypatch.setattr(images, 'read_image', lambda path: paths.append(path) or read(path))
    data.__getitems__([0, 1, 2, 1, 0])
    assert len(paths) == len(set(paths)) == 2


def test_a_changed_image_is_an_image_of_its_own(data):
    """A random transform gives two samples of one file two images; they must not be merged."""

    def darken(results):
        if results['sample_id'] == '1004':
            results['img'] = results['img'] // 2
        return results

    changed = RRSISD(
        data_root=data.data_root, split='train', pipeline=[*PIPELINE[:2], darken, PIPELINE[2]]
    )
    batch = unique_images_collate(changed.__getitems__([1, 2]))
    assert batch['image_index'].tolist() == [0, 1]
    assert torch.equal(batch['inputs'][1], batch['inputs'][0] // 2)


def test_shared_images_cannot_be_written_to(data):
    def spoil(results):
        results['img'][:] = 0
        return results

    spoiled = RRSISD(data_root=data.data_root, split='train', pipeline=[PIPELINE[0], spoil])
    with pytest.raises(ValueError, match='read-only'):
        spoiled[0]


def test_no_sample_is_replaced(data):
    dropping = RRSISD(data_root=data.data_root, split='train', pipeline=[lambda results: None])
    with pytest.raises(RuntimeError, match="None for sample '1040'"):
        dropping[0]


def test_error_in_a_worker_names_the_file(tmp_path):
    root = fabricate('rrsisd', tmp_path, fault='truncated image')
    broken = RRSISD(data_root=str(root), split='train', pipeline=PIPELINE)
    with pytest.raises(UserError, match='00040.jpg.: the image cannot be read'):
        list(DataLoader(broken, batch_size=4, num_workers=1, collate_fn=unique_images_collate))


def test_names_in_a_config(data):
    """As mmengine's runner builds it, with no default scope set."""
    assert FUNCTIONS.get('rsrefseg2.unique_images_collate') is unique_images_collate
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=0,
            collate_fn=dict(type='rsrefseg2.unique_images_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_sampler=dict(type='rsrefseg2.ImageOrderBatchSampler'),
            dataset=dict(
                type='rsrefseg2.RRSISD', data_root=data.data_root, split='train', pipeline=PIPELINE
            ),
        ),
        seed=0,
    )
    assert [len(batch['inputs']) for batch in loader] == [3]


# ---------------------------------------------------------------- samplers


class Images:
    """A data set of keys only."""

    def __init__(self, keys):
        self.keys = list(keys)

    def __len__(self):
        return len(self.keys)

    def image_key(self, index):
        return self.keys[index]


MANY = Images((7 * i) % 40 + (i % 3 == 0) * 100 for i in range(333))
FEW = Images('abcab')


def batches_of_ranks(monkeypatch, sampler_type, dataset, world_size, epoch=0, seed=5, **options):
    ranks = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, world_size))
        batch_sampler = sampler_type(sampler=DefaultSampler(dataset, seed=seed), **options)
        if hasattr(batch_sampler, 'start_at'):
            batch_sampler.start_at(epoch)
        ranks.append(list(batch_sampler))
        assert len(ranks[-1]) == len(batch_sampler)
    return ranks


@pytest.mark.parametrize('world_size', [1, 2, 3, 8])
@pytest.mark.parametrize(
    'sampler_type, options',
    [
        (ImageOrderBatchSampler, dict(batch_size=8)),
        (ImageOrderBatchSampler, dict(batch_size=2)),
        (ImageGroupBatchSampler, dict(batch_size=24, sentences_per_image=6)),
        (ImageGroupBatchSampler, dict(batch_size=4, sentences_per_image=4)),
        (ImageGroupBatchSampler, dict(batch_size=5, sentences_per_image=1)),
        (ShuffledBatchSampler, dict(batch_size=1)),
        (ShuffledBatchSampler, dict(batch_size=7)),
    ],
)
def test_every_sample_once_and_equal_numbers(monkeypatch, sampler_type, options, world_size):
    ranks = batches_of_ranks(monkeypatch, sampler_type, MANY, world_size, **options)
    assert len({len(batches) for batches in ranks}) == 1
    indices = [i for batches in ranks for batch in batches for i in batch]
    assert sorted(indices) == list(range(len(MANY)))
    assert all(batch for batches in ranks for batch in batches)
    # where one group a batch does not divide among the ranks, some batches take one more
    spare = {1: 1, 4: 4}.get(options['batch_size'], 0)
    assert max(len(b) for batches in ranks for b in batches) <= options['batch_size'] + spare


@pytest.mark.parametrize('ranks', [2, 3, 4, 5])
def test_single_samples_are_padded_on_their_own_rank(monkeypatch, ranks):
    """So every rank runs the same number of batches, and what is repeated meets its double in the
    same rank's scores."""
    found = batches_of_ranks(monkeypatch, ImageOrderBatchSampler, FEW, ranks, batch_size=1)
    assert {len(batches) for batches in found} == {-(-len(FEW) // ranks)}
    own = [{index for batch in batches for index in batch} for batches in found]
    assert sorted(index for indices in own for index in indices) == list(range(len(FEW)))


def test_order_sampler_keeps_images_together(monkeypatch):
    (batches,) = batches_of_ranks(monkeypatch, ImageOrderBatchSampler, MANY, 1, batch_size=24)
    holding = Counter(key for batch in batches for key in {MANY.keys[i] for i in batch})
    assert set(holding.values()) == {1}
    assert batches_of_ranks(monkeypatch, ImageOrderBatchSampler, FEW, 1, batch_size=3) == [
        [[0, 3], [1, 4, 2]]
    ]
    assert batches_of_ranks(monkeypatch, ImageOrderBatchSampler, FEW, 1, batch_size=1) == [
        [[0], [3], [1], [4], [2]]
    ]


def test_group_sampler_caps_the_sentences_of_an_image(monkeypatch):
    for epoch in range(5):
        (batches,) = batches_of_ranks(
            monkeypatch,
            ImageGroupBatchSampler,
            MANY,
            1,
            epoch,
            batch_size=12,
            sentences_per_image=3,
        )
        for batch in batches:
            counts = Counter(MANY.keys[i] for i in batch)
            assert len(counts) <= 4 and max(counts.values()) <= 3


def test_group_sampler_is_a_function_of_seed_and_epoch(monkeypatch):
    def order(epoch, seed):
        torch.manual_seed(torch.seed())  # the global state must not matter
        return batches_of_ranks(
            monkeypatch,
            ImageGroupBatchSampler,
            MANY,
            2,
            epoch,
            seed,
            batch_size=12,
            sentences_per_image=3,
        )

    first = copy.deepcopy(order(0, 5))
    assert order(0, 5) == first
    assert order(1, 5) != first and order(0, 6) != first


TRAINING = [
    (ShuffledBatchSampler, {}),
    (ImageGroupBatchSampler, dict(sentences_per_image=3)),
    (ImageGroupBatchSampler, dict(sentences_per_image=1)),
]


@pytest.mark.parametrize('epoch', [0, 3])
@pytest.mark.parametrize(('sampler_type', 'options'), TRAINING)
def test_global_batches_do_not_depend_on_the_number_of_ranks(
    monkeypatch, sampler_type, options, epoch
):
    """24 sentences a step, however they are divided; the ranks' shares differ by one group."""
    one = batches_of_ranks(monkeypatch, sampler_type, MANY, 1, epoch, batch_size=24, **options)[0]
    for ranks in (2, 4, 8):
        found = batches_of_ranks(
            monkeypatch, sampler_type, MANY, ranks, epoch, batch_size=24 // ranks, **options
        )
        assert [sum(step, []) for step in zip(*found, strict=True)] == one
        if sampler_type is ShuffledBatchSampler:
            assert all(
                max(map(len, step)) - min(map(len, step)) <= 1 for step in zip(*found, strict=True)
            )
    assert (
        one
        != batches_of_ranks(
            monkeypatch, sampler_type, MANY, 1, epoch + 1, batch_size=24, **options
        )[0]
    )


@pytest.mark.parametrize(('sampler_type', 'options'), TRAINING)
def test_an_epoch_goes_on_in_its_middle(monkeypatch, sampler_type, options):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (1, 2))
    sampler = sampler_type(sampler=DefaultSampler(MANY, seed=5), batch_size=12, **options)
    sampler.start_at(4)
    whole = list(sampler)
    sampler.start_at(4, 9)
    assert list(sampler) == whole[9:] and len(sampler) == len(whole)


def test_a_samples_randomness_is_its_own():
    """Whatever was drawn before it, and what is drawn after it goes on undisturbed."""

    def draw():
        return random.random(), np.random.rand(), float(torch.rand(1))

    def read(seed, *indices):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        found = []
        for index in indices:
            with own_randomness(index):
                found.append(draw())
        return found, draw()

    one, other = SeededIndex(7, (0, 3)), SeededIndex(8, (0, 3))
    (first, second), after = read(0, one, other)
    assert read(1, other, one)[0] == [second, first] and len({*first, *second}) == 6
    assert after == read(0)[1]
    for changed in (SeededIndex(7, (1, 3)), SeededIndex(7, (0, 4))):
        assert read(0, changed)[0] != [first]
    assert pickle.loads(pickle.dumps(one)).seed == one.seed == (0, 3)


def test_wrong_sizes_are_named():
    sampler = DefaultSampler(FEW, seed=0)
    with pytest.raises(UserError, match='batch_size 10 is not a multiple of sentences_per_image 4'):
        ImageGroupBatchSampler(sampler=sampler, batch_size=10, sentences_per_image=4)


def test_more_ranks_than_samples(monkeypatch):
    with pytest.raises(UserError, match='5 samples cannot be shared among 6 ranks'):
        batches_of_ranks(monkeypatch, ImageOrderBatchSampler, FEW, 6, batch_size=2)
