"""Pixels and ids without torch equal those of the data preprocessor."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.deployment.exported_model import (
    GRAPHS,
    Description,
    GraphFile,
    read_description,
    write_description,
)
from rsrefseg2.deployment.numpy_resize import resize
from rsrefseg2.errors import UserError
from rsrefseg2.models import RefSegDataPreprocessor
from tests.tiny_towers import siglip_config

SHAPES = [(37, 53), (192, 192), (300, 500), (20, 400), (1, 7), (1000, 700)]


def description(**changes):
    options = dict(
        name='x',
        format='onnx',
        opset=20,
        graphs={name: GraphFile(f'{name}.onnx', ['a'], ['b']) for name in GRAPHS},
        size_siglip=64,
        size_sam=96,
        mean_siglip=[0.5, 0.4, 0.3],
        std_siglip=[0.5, 0.6, 0.7],
        mean_sam=[0.485, 0.456, 0.406],
        std_sam=[0.229, 0.224, 0.225],
        siglip_from='original',
        sam_resize='float32',
        fit='squash',
        upsample_via_sam_input=False,
        max_length=8,
        padding='full',
        lower_case=True,
        pad_id=0,
        eos_id=1,
        bos_id=None,
    )
    return Description(**{**options, **changes})


@pytest.mark.parametrize('antialias', [True, False])
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('size', [(192, 192), (64, 31), (37, 300)])
def test_it_resizes_as_torch_does(shape, size, antialias):
    maps = np.random.default_rng(0).random((3, *shape), np.float32)
    expected = F.interpolate(
        torch.from_numpy(maps)[None],
        size,
        mode='bilinear',
        align_corners=False,
        antialias=antialias,
    )[0].numpy()
    assert np.abs(resize(maps, size, antialias=antialias) - expected).max() < 1e-5


@pytest.mark.parametrize('shape', SHAPES[:3])
@pytest.mark.parametrize(
    'options',
    [{}, {'siglip_from': 'sam_input'}, {'sam_resize': 'uint8'}, {'fit': 'pad'}, {'size_sam': 64}],
    ids=lambda options: '-'.join(map(str, options.values())) or 'paper',
)
def test_the_pictures_are_those_of_the_preprocessor(shape, options):
    made = description(**options)
    preprocessor = RefSegDataPreprocessor(
        tokenizer=siglip_config(),
        init='random',
        max_length=8,
        size_siglip=made.size_siglip,
        size_sam=made.size_sam,
        mean_siglip=made.mean_siglip,
        std_siglip=made.std_siglip,
        **{name: value for name, value in options.items() if name != 'size_sam'},
    )
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    for mine, expected in zip(made.images(image), preprocessor.images([tensor]), strict=True):
        assert mine.shape == expected.shape and mine.dtype == np.float32
        assert np.abs(mine - expected.numpy()).max() < 5e-5  # 1e-5 of a grey level, over the std


def test_ids_are_cut_and_padded():
    ids, lengths = description(max_length=4, bos_id=9).pad([[5], [5, 6, 7, 8]])
    assert ids.tolist() == [[9, 5, 1, 0], [9, 5, 6, 1]] and lengths.tolist() == [3, 4]
    ids, lengths = description(padding='longest').pad([[5], [5, 6]])
    assert ids.tolist() == [[5, 1, 0], [5, 6, 1]] and ids.dtype == lengths.dtype == np.int64


def test_the_description_is_read_as_it_was_written(tmp_path):
    write_description(description(), tmp_path)
    assert read_description(tmp_path) == description()
    (tmp_path / 'model.json').write_text('{"name": 1}')
    with pytest.raises(UserError, match='export the model again'):
        read_description(tmp_path)
    with pytest.raises(UserError, match='name a folder of rsrefseg2 export'):
        read_description(tmp_path / 'nothing')


def test_the_predictor_imports_no_torch():
    heavy = ('torch', 'mmengine', 'transformers', 'msgspec', 'cv2')
    code = (
        'import sys, rsrefseg2.deployment.onnx_predictor\n'
        f'print([name for name in {heavy} if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
