"""Several data sets as one: every triplet of each, under its name, checked by its own class."""

import pytest
from mmengine.dataset import DefaultSampler

from rsrefseg2.datasets import (
    RRSISD,
    ImageGroupBatchSampler,
    JoinedDataset,
    RefSegRS,
    unique_images_collate,
)
from rsrefseg2.errors import UserError
from tests.fabricate import fabricate

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp('joined')
    return {name: str(fabricate(name, root / name)) for name in ('refsegrs', 'rrsisd')}


def configs(roots, **changes):
    return {
        'rrsisd': dict(type='RRSISD', data_root=roots['rrsisd'], **changes),
        'streets': dict(type='RefSegRS', data_root=roots['refsegrs']),
    }


def test_every_triplet_of_each_in_order(roots):
    joined = JoinedDataset(datasets=configs(roots), split='train', pipeline=PIPELINE)
    parts = {
        'rrsisd': RRSISD(data_root=roots['rrsisd'], split='train', pipeline=PIPELINE),
        'streets': RefSegRS(data_root=roots['refsegrs'], split='train', pipeline=PIPELINE),
    }
    expected = [(name, part, k) for name, part in parts.items() for k in range(len(part))]
    assert len(joined) == len(expected)
    for index, (name, part, k) in enumerate(expected):
        found, own = joined[index], part[k]
        assert found['data_samples'].sample_id == f'{name}/{own["data_samples"].sample_id}'
        assert found['data_samples'].text == own['data_samples'].text
        assert found['data_samples'].category == own['data_samples'].category
        assert found['inputs'].equal(own['inputs'])
        assert found['data_samples'].gt_mask.equal(own['data_samples'].gt_mask)
    assert joined.metainfo['classes'] == tuple(
        dict.fromkeys(c for part in parts.values() for c in part.metainfo['classes'])
    )
    # as each of the two keeps its pictures apart
    keys = {joined.image_key(index) for index in range(len(joined))}
    assert len(keys) == sum(
        len({part.image_key(k) for k in range(len(part))}) for part in parts.values()
    )


def test_batches_mix_them_and_a_share_is_a_number_of_triplets(roots):
    joined = JoinedDataset(
        datasets=configs(roots, indices=2), split='train', pipeline=PIPELINE, lazy_init=False
    )
    names = [joined.get_data_info(k)['sample_id'].split('/')[0] for k in range(len(joined))]
    assert names.count('rrsisd') == 2 < names.count('streets')
    sampler = DefaultSampler(joined, shuffle=True, seed=0)
    groups = ImageGroupBatchSampler(sampler=sampler, batch_size=4, sentences_per_image=2)
    seen = []
    for _, batch in zip(range(len(groups)), groups):
        seen += [
            s.sample_id for s in unique_images_collate(joined.__getitems__(batch))['data_samples']
        ]
    assert sorted(seen) == sorted(joined.get_data_info(k)['sample_id'] for k in range(len(joined)))


def test_faults_are_one_line(roots, tmp_path):
    with pytest.raises(UserError, match='joins none'):
        JoinedDataset(datasets={}, split='train')
    plain = dict(type='mmengine.BaseDataset')
    with pytest.raises(
        UserError, match=r'datasets\.a: mmengine.BaseDataset has no referring sentences'
    ):
        JoinedDataset(datasets={'a': plain}, split='train')
    broken = fabricate('refsegrs', tmp_path / 'broken', fault='empty sentence')
    with pytest.raises(UserError, match='sentence is empty|no sentence'):
        JoinedDataset(datasets={'b': dict(type='RefSegRS', data_root=str(broken))}, split='train')
