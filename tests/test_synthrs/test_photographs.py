"""Views of photographs: picture, masks and sentences stay true to each other; towers train on them."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rsrefseg2.dataprep.expressions import solve
from rsrefseg2.errors import UserError
from rsrefseg2.models.towers.load import load_sam, load_siglip
from rsrefseg2.synthrs.pretraining.photographs import Photographs, questions_on, view_of
from rsrefseg2.synthrs.pretraining.train_towers import pretrain, read_words
from tests.test_dataprep.test_coco import convert, fabricate_coco

SIDE = 96


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = fabricate_coco(tmp_path_factory.mktemp('coco') / 'source')
    convert(root, root.parent / 'out')
    return root.parent / 'out'


@pytest.fixture(scope='module')
def photographs(folder):
    return Photographs(folder)


def views(photographs, count=120):
    rng = np.random.default_rng(0)
    pictures = photographs.pictures
    for number in range(count):
        yield view_of(pictures[number % len(pictures)], SIDE, rng), rng


def test_the_masks_lie_on_what_the_view_shows(photographs):
    """The fabricated objects are brighter than everything else, in whatever light."""
    turned, cut = set(), 0
    for view, _ in views(photographs):
        bright = view.image.mean(-1) > view.image.mean() + 20
        # borders are blurred: a pixel more or less around a mask
        inner = view.masks.any(0)
        assert (bright & inner).sum() >= 0.8 * inner.sum()
        cut += len(view.things) < len(photographs.pictures[0].categories)
        turned |= {view.shape[0] < view.shape[1], view.shape[0] == view.shape[1]}
    assert turned == {True, False} and cut > 10


def test_things_are_the_masks_boxes_in_the_parts_own_pixels(photographs):
    for view, _ in views(photographs, 40):
        height, width = view.shape
        for thing, mask in zip(view.things, view.masks, strict=True):
            y, x = np.nonzero(mask)
            if len(y) == 0:
                assert thing.doubtful
                continue
            box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], float)
            box *= np.array([width, height, width, height]) / SIDE
            assert np.abs(box - thing.box).max() <= 2 * max(height, width) / SIDE
            assert thing.area == pytest.approx(mask.sum() * height * width / SIDE**2, rel=0.35)


def test_a_cut_instance_is_neither_target_nor_anchor(photographs):
    doubtful = 0
    for view, rng in views(photographs, 200):
        doubtful += sum(thing.doubtful for thing in view.things)
        for said in questions_on(view, photographs.names, rng):
            assert not view.things[said.target].doubtful
    assert doubtful > 20


def test_sentences_name_their_target_in_the_view(photographs):
    """By the solver, which shares no code with the rules, on boxes of the square's masks."""
    asked = 0
    for view, rng in views(photographs, 60):
        height, width = view.shape
        objects = []
        for thing, mask in zip(view.things, view.masks, strict=True):
            x0, y0, x1, y1 = thing.box
            objects.append(
                {'category': thing.category, 'bbox': [x0, y0, x1 - x0, y1 - y0], 'area': mask.sum()}
            )
        for said in questions_on(view, photographs.names, rng):
            found = solve(said.text, objects, height=height, width=width, names=photographs.names)
            assert found == {said.target}, said.text
            asked += 1
    assert asked > 100


def test_batches_are_whole_and_a_function_of_the_seed(photographs):
    first, again, other = (
        next(photographs.asked(images=3, side=SIDE, seed=seed)) for seed in (0, 0, 1)
    )
    assert len(first['inputs']) == 3 and set(first['image_index'].tolist()) == {0, 1, 2}
    assert len(first['data_samples']) == len(first['image_index'])
    assert all(image.shape == (3, SIDE, SIDE) for image in first['inputs'])
    assert [s.text for s in first['data_samples']] == [s.text for s in again['data_samples']]
    assert not torch.equal(first['inputs'][0], other['inputs'][0])
    drawn = next(photographs.drawn(images=3, instances=2, side=SIDE, seed=0))
    counts = drawn['image_index'].bincount()
    assert counts.max() == 2 and counts.min() >= 1
    assert all(sample.gt_mask.any() for sample in drawn['data_samples'])


def test_towers_go_on_from_scenes_to_photographs(dataset, folder, tmp_path):
    """At another size; words keep their vectors, wherever they stand in the new tokenizer."""
    options = dict(patch_size=16, layers=1, width=24)
    given = dict(data_root=dataset, seed=0, images=2)
    pretrain('siglip', out=tmp_path / 'a', steps=1, image_size=64, **given, **options)
    words = read_words(tmp_path / 'a')
    tokens = tmp_path / 'a/tokenizer.json'
    content = json.loads(tokens.read_text())
    table = content['model']['vocab']
    table['ship'], table['tank'] = table['tank'], table['ship']  # an earlier order
    tokens.write_text(json.dumps(content))
    pretrain(
        'siglip',
        out=tmp_path / 'b',
        steps=1,
        lr=1e-9,
        image_size=96,
        start=tmp_path / 'a',
        photographs=folder,
        **given,
        **options,
    )
    name = 'text_model.embeddings.token_embedding.weight'
    before, after = (load_file(tmp_path / f'{x}/model.safetensors')[name] for x in 'ab')
    torch.testing.assert_close(after[words['ship']], before[words['tank']], atol=1e-6, rtol=0)
    torch.testing.assert_close(after[words['red']], before[words['red']], atol=1e-6, rtol=0)
    assert load_siglip(str(tmp_path / 'b')).config.vision_config.image_size == 96
    *_, last = map(json.loads, (tmp_path / 'b/pretraining.jsonl').read_text().splitlines())
    assert {'attribute', 'position'} < set(last['pointing_on_photographs'])

    pretrain('sam2', out=tmp_path / 'c', steps=1, image_size=64, **given)
    pretrain(
        'sam2',
        out=tmp_path / 'd',
        steps=2,
        image_size=128,
        start=tmp_path / 'c',
        photographs=folder,
        **given,
    )
    assert load_sam(str(tmp_path / 'd')).config.prompt_encoder_config.image_size == 128
    head = json.loads((tmp_path / 'd/pretraining.jsonl').read_text().splitlines()[0])
    assert head['image_size'] == 128 and head['photographs'] == folder.name


def test_what_is_no_such_folder_is_one_line(dataset, tmp_path):
    with pytest.raises(UserError, match=r'holds no folder .scenes.: make it by'):
        pretrain(
            'sam2', data_root=dataset, out=tmp_path, steps=1, seed=0, photographs=tmp_path / 'no'
        )
    with pytest.raises(UserError, match='--image-size must be a multiple of 64'):
        pretrain('sam2', data_root=dataset, out=tmp_path, steps=1, seed=0, image_size=100)
