"""Figs. 4-6 from dumps and Fig. 2 from a model: which samples, which pictures, at which size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from transformers import SiglipModel

from rsrefseg2.apis import activation_rows, choose_ids, compare_rows, load_split, native_encoder
from rsrefseg2.datasets import read_image
from rsrefseg2.engine import load_config, load_model
from rsrefseg2.errors import UserError
from rsrefseg2.registry import MODELS
from rsrefseg2.visualization import GREEN, ORANGE
from tests.dumps import SENTENCES, rle, shifted, target, write_dump
from tests.training import write_config


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('dumps')


@pytest.fixture(scope='module')
def dumps(folder):
    """The first is always right; the second goes astray more and more, but is right on 3."""
    return {
        'RSRefSeg 2': write_dump(folder, 'ours', target),
        'Another': write_dump(folder, 'other', lambda i: shifted(0 if i == 3 else 0.5)(i)),
    }


def test_evenly_or_where_they_differ(dumps):
    assert choose_ids(dumps, 3, 'evenly') == ['1000', '1012', '1023']
    assert choose_ids(dumps, 100, 'evenly') == [str(1000 + i) for i in range(24)]
    differ = choose_ids(dumps, 24, 'differ')
    assert differ[:2] == ['1023', '1022']  # by 12 and 11 columns
    assert set(differ[-3:]) == {'1000', '1001', '1003'}  # by none
    with pytest.raises(UserError, match='two or more'):
        choose_ids({'one': dumps['Another']}, 3, 'differ')


def test_only_samples_of_every_dump_are_chosen(dumps, folder, tmp_path):
    short = write_dump(tmp_path, 'short', target, n=2)
    assert choose_ids({**dumps, 'short': short}, 9, 'evenly') == ['1000', '1001']
    other = write_dump(tmp_path, 'other', target, n=2, id=lambda i: f'x{i}')
    with pytest.raises(UserError, match='no sample is in every one'):
        choose_ids({**dumps, 'other': other}, 9, 'evenly')


def test_a_row_shows_each_model(dumps):
    row, other = compare_rows(dumps, ['1005', '1002'])
    assert (row.text, other.text) == (SENTENCES[1], SENTENCES[2])
    image, gt, ours, another = row.tiles
    assert image.mask is None and (gt.colour, ours.colour) == (GREEN, ORANGE)
    for tile, mask in ((gt, target(5)), (ours, target(5)), (another, shifted(0.5)(5))):
        assert (tile.mask == mask).all()
    assert (image.image[target(5)] == (220, 180, 40)).all()
    # shifted by 2 of 20 columns: 18 shared, 22 in all
    assert (ours.note, another.note) == ('IoU 100.0 %', f'IoU {1800 / 22:.1f} %')


def test_a_dump_may_hold_masks_alone_and_at_its_own_size(dumps, tmp_path):
    def coarse(i):
        return target(i)[::2, ::2]

    bare = write_dump(
        tmp_path,
        'bare',
        coarse,
        keys=('id', 'prediction', 'ground_truth'),
        ground_truth=lambda i: rle(coarse(i)),
    )
    (row,) = compare_rows({**dumps, 'bare': bare}, ['1004'])
    assert row.text == SENTENCES[0] and row.tiles[4].mask.shape == (32, 32)
    assert abs(row.tiles[4].draw(128).astype(int) - row.tiles[2].draw(128)).mean() < 6
    with pytest.raises(UserError, match='one of them needs `file`'):
        compare_rows({'bare': bare}, ['1004'])


@pytest.mark.parametrize(
    'changed, message',
    [
        (dict(sentence=lambda i: 'another'), 'another sentence'),
        (dict(ground_truth=lambda i: rle(target(i + 1))), 'another ground truth'),
    ],
)
def test_dumps_of_other_data_are_refused(dumps, tmp_path, changed, message):
    other = write_dump(tmp_path, 'other', target, **changed)
    with pytest.raises(UserError, match=message):
        compare_rows({**dumps, 'third': other}, ['1004'])


def test_the_command(run, dumps, tmp_path):
    pairs = [f'{name}={path}' for name, path in dumps.items()]
    code, printed, _ = run(
        'analysis/figures.py',
        'compare',
        '--dumps',
        *pairs,
        '--out',
        tmp_path / 'new/fig4.pdf',
        '--ids',
        '1003',
        '1001',
        '--width',
        '3.5',
    )
    assert code == 0 and 'samples: 1003 1001' in printed
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == ['fig4.pdf', 'fig4.png']
    assert read_image(str(tmp_path / 'new/fig4.png')).shape[1] == 1050
    for changed, message in (
        (dict(dumps=pairs[0].partition('=')[2:]), 'NAME=PATH'),
        (dict(dumps=[pairs[0]] * 2), 'each name once'),
        (dict(dumps=['a=none.jsonl']), 'none.jsonl does not exist'),
        (dict(ids=['10033']), 'did you mean 1003'),
    ):
        given = dict(dict(dumps=pairs, ids=['1003']), **changed)
        code, _, error = run(
            'analysis/figures.py',
            'compare',
            '--out',
            tmp_path / 'x',
            '--dumps',
            *given['dumps'],
            '--ids',
            *given['ids'],
        )
        (line,) = error.strip().splitlines()
        assert code == 1 and line.startswith('error: ') and message in line


# ---------------------------------------------------------------------- Fig. 2


@pytest.fixture(scope='module')
def trained(tmp_path_factory, towers, rrsisd_root):
    """A model whose LoRA is not at its zeros any more; config and checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(
        folder / 'tiny.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )
    init_default_scope('rsrefseg2')
    model = MODELS.build(load_config(str(config)).model)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if 'lora_B' in name:
            torch.nn.init.normal_(parameter.data)
    torch.save(dict(state_dict=model.state_dict()), folder / 'a.pth')
    return config, folder / 'a.pth'


def test_the_native_cosine_is_the_published_towers(trained, towers):
    config = load_config(str(trained[0]))
    model, dataset = load_model(config, trained[1], 'cpu'), load_split(config, 'test')
    (row,) = activation_rows(model, native_encoder(config), dataset, ids=['1022'])
    image, gt, native, dense = row.tiles
    assert row.text == 'the vehicle number 6' and gt.mask.any()
    # transformers' own model, no code of ours but the preprocessing; the cosine literally
    siglip = SiglipModel.from_pretrained(str(towers.siglip)).eval()
    where, _ = model.data_preprocessor.images(
        [torch.from_numpy(image.image.transpose(2, 0, 1).copy())]
    )
    ids, _ = model.data_preprocessor.tokenize([row.text])
    with torch.no_grad():
        v = siglip.vision_model(pixel_values=where).last_hidden_state
        t_sent = siglip.text_model(input_ids=ids).pooler_output
    grid = F.interpolate(
        v.transpose(1, 2).unflatten(2, (4, 4)),
        native.values.shape,
        mode='bilinear',
        align_corners=False,
    )
    cosine = F.cosine_similarity(grid, t_sent[:, :, None, None])[0].numpy()
    expected = (cosine - cosine.min()) / np.ptp(cosine)
    assert np.abs(native.values - expected).max() < 1e-4
    assert native.note == f'cos {cosine.min():.2f} to {cosine.max():.2f}'
    adapted = model.encoder.encode_images(where)
    assert (adapted - v).abs().max() > 0.1  # so the test can tell the trained towers
    assert 0 <= dense.values.min() < dense.values.max() <= 1 and 'σ' in dense.note


def test_fig_2_by_command(run, trained, tmp_path):
    code, _, error = run(
        'analysis/figures.py',
        'activation',
        *trained,
        '--out',
        tmp_path / 'fig2',
        '--max',
        2,
        '--device',
        'cpu',
    )
    assert code == 0, error
    assert read_image(str(tmp_path / 'fig2.png')).shape[1] == 2148
    for options, message in (
        (('--cfg-options', 'model.init=random'), 'random towers'),
        (('--ids', '999'), "has no sample '999'"),
    ):
        code, _, error = run(
            'analysis/figures.py',
            'activation',
            *trained,
            '--out',
            tmp_path / 'x',
            '--device',
            'cpu',
            *options,
        )
        line = [line for line in error.splitlines() if line.startswith('error: ')]
        assert code == 1 and message in line[0]
