"""Images that are equal under other names: found by content, cached, decoded once."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from PIL import Image

from rsrefseg2.datasets import (
    ImageOrderBatchSampler,
    RefSegRS,
    RISBench,
    content,
    images,
    unique_images_collate,
)
from rsrefseg2.errors import UserError
from tests.fabricate import fabricate

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]


@pytest.fixture(autouse=True)
def cache_elsewhere(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp('cache')
    monkeypatch.setenv('RSREFSEG2_CACHE', str(folder))
    return folder


@pytest.fixture
def root(tmp_path):
    """Train images 12, 3, 471, 20: 471 is 12 again."""
    root = fabricate('refsegrs', tmp_path)
    shutil.copy(root / 'images/12.tif', root / 'images/471.tif')
    return root


@pytest.fixture
def read(monkeypatch):
    """The files that are hashed."""
    paths = []
    file_hash = content.file_hash
    monkeypatch.setattr(
        content, 'file_hash', lambda path: paths.append(os.path.basename(path)) or file_hash(path)
    )
    return paths


def keys(root, reader=RefSegRS, **options):
    data = reader(data_root=str(root), split='train', serialize_data=False, **options)
    return [os.path.basename(data.image_key(i)) for i in range(len(data))]


def test_a_scene_is_one_image(root):
    assert keys(root) == ['12.tif', '3.tif', '12.tif', '20.tif']
    assert keys(root, equal_images='path') == ['12.tif', '3.tif', '471.tif', '20.tif']
    with pytest.raises(UserError, match="equal_images is 'path', 'content' or None"):
        keys(root, equal_images='hash')


def test_sentences_of_a_scene_share_a_batch_and_a_tensor(root, monkeypatch):
    decoded = []
    read_image = images.read_image
    monkeypatch.setattr(images, 'read_image', lambda path: decoded.append(path) or read_image(path))
    data = RefSegRS(data_root=str(root), split='train', pipeline=PIPELINE)
    sampler = ImageOrderBatchSampler(sampler=DefaultSampler(data, shuffle=False), batch_size=2)
    assert list(sampler) == [[0, 2], [1, 3]]
    batch = unique_images_collate(data.__getitems__([0, 2]))
    assert len(batch['inputs']) == 1 and batch['image_index'].tolist() == [0, 0]
    first, second = batch['data_samples']
    assert (os.path.basename(first.img_path), os.path.basename(second.img_path)) == (
        '12.tif',
        '471.tif',
    )
    assert not torch.equal(first.gt_mask, second.gt_mask)
    assert len(decoded) == 1


def test_opening_reads_no_image(root, read):
    data = RefSegRS(data_root=str(root), split='train', pipeline=PIPELINE)
    data[0]
    assert not read
    data.image_key(0)
    assert sorted(read) == ['12.tif', '20.tif', '3.tif', '471.tif']  # all are of one size


def test_only_files_of_equal_size_are_read(tmp_path, read):
    root = fabricate('risbench', tmp_path)
    shutil.copy(root / 'img_rgb/train_0_0.png', root / 'img_rgb/train_7_1.png')
    sizes = [
        (root / f'img_rgb/{name}.png').stat().st_size
        for name in ('train_0_0', 'train_0_2', 'train_1_0', 'train_7_1')
    ]
    assert keys(root, RISBench)[3] == 'train_0_0.png'
    assert len(read) == sum(sizes.count(size) > 1 for size in sizes)


def test_hashes_are_kept_for_the_second_time(root, read, cache_elsewhere):
    first = keys(root)
    assert len(read) == 4 and len(list(cache_elsewhere.glob('content_hashes_*.json'))) == 1
    del read[:]
    assert keys(root) == first and not read
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(root / 'images/471.tif')
    assert keys(root) == ['12.tif', '3.tif', '471.tif', '20.tif']  # another time: read again
    assert read == ['471.tif']


def test_no_cache_comes_with_the_data(root):
    """Neither beside the data nor as a copy of one that names the same files."""
    (root / 'images/.content_hashes.json').write_text('{"12.tif": [1, 2, 3, 4, "a"]}')
    before = {path.name for path in (root / 'images').iterdir()}
    assert keys(root) == ['12.tif', '3.tif', '12.tif', '20.tif']
    assert {path.name for path in (root / 'images').iterdir()} == before


def test_a_hash_holds_for_one_file_alone(root, read):
    """Another file of the same name, size and time, as an archive may make it."""
    keys(root)
    path = root / 'images/12.tif'
    status = path.stat()
    Image.fromarray(np.full((48, 64, 3), 7, np.uint8)).save(path)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    del read[:]
    assert keys(root) == ['12.tif', '3.tif', '471.tif', '20.tif'] and read == ['12.tif']


def test_where_nothing_can_be_kept(root, read, cache_elsewhere):
    cache_elsewhere.chmod(0o555)
    assert keys(root) == keys(root) == ['12.tif', '3.tif', '12.tif', '20.tif']
    assert len(read) == 8
    cache_elsewhere.chmod(0o755)


@pytest.mark.parametrize('damage', ['', '[]', '{"12.tif": 3}', '{"12.tif": [1, 2]}', '\x00'])
def test_a_damaged_cache_is_no_cache(root, damage, cache_elsewhere):
    first = keys(root)
    (cache,) = cache_elsewhere.glob('content_hashes_*.json')
    cache.write_text(damage)
    assert keys(root) == first
    assert len(json.loads(cache.read_text())) >= 4


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs FIFOs')
def test_only_regular_files_are_read(root):
    (root / 'images/12.tif').unlink()
    (root / 'images/471.tif').unlink()
    os.mkfifo(root / 'images/12.tif')
    (root / 'images/471.tif').symlink_to('/dev/zero')
    with pytest.raises(UserError, match='the image is a (FIFO|device): give a regular file'):
        keys(root)


def test_processes_agree_with_one(tmp_path):
    """Enough files for the pool, where there is more than one core."""
    for number in range(40):
        (tmp_path / f'{number}.bin').write_bytes(bytes([number % 7]) * 50)
    paths = [str(tmp_path / f'{number}.bin') for number in range(40)]
    first_of = content.first_of_equal(paths, title='numbers')
    assert first_of == {path: paths[i % 7] for i, path in enumerate(paths) if i >= 7}


def test_the_exchange_takes_another_scene(root):
    shutil.copy(root / 'images/12.tif', root / 'images/20.tif')  # 12, 471 and 20 are one
    for seed in range(5):
        data = RefSegRS(
            data_root=str(root),
            split='train',
            exchange_sentences=True,
            exchange_seed=seed,
            serialize_data=False,
        )
        numbers = [data[i]['text'].split()[4] for i in range(4)]
        assert [numbers[i] for i in (0, 2, 3)] == ['1', '1', '1'] and numbers[1] in ('0', '2', '3')
