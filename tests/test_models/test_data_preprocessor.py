"""I_1, I_2, token ids: what the towers read of an image and a sentence."""

import logging

import cv2
import pytest
import torch
from mmengine.registry import DefaultScope

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.errors import UserError
from rsrefseg2.models.data_preprocessor import IMAGENET_MEAN, IMAGENET_STD
from rsrefseg2.registry import MODELS
from tests import tiny_towers

from .tiny_model import SENTENCES, items

LENGTH = 16


def build(**options):
    config = dict(
        dict(
            type='RefSegDataPreprocessor',
            tokenizer=tiny_towers.siglip_config(),
            init='random',
            max_length=LENGTH,
            size_siglip=8,
            size_sam=12,
        ),
        **options,
    )
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(config)


@pytest.fixture
def preprocessor():
    return build()


def of_colour(colour, height, width):
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, height, width)


def test_each_tower_gets_its_own_size_and_normalisation(preprocessor):
    where, how = preprocessor.images([of_colour((255, 0, 51), 20, 30)])
    assert where.shape == (1, 3, 8, 8) and how.shape == (1, 3, 12, 12)
    assert where.dtype == how.dtype == torch.float32
    assert torch.allclose(where[0, :, 3, 4], torch.tensor([1.0, -1.0, -0.6]), atol=1e-5)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert torch.allclose(how[0, :, 3, 4], torch.tensor(expected), atol=1e-5)


def test_images_are_squashed_whole_and_antialiased(preprocessor):
    image = of_colour((0, 0, 0), 64, 16).clone()
    image[:, ::4] = 255  # lines of one pixel
    where, _ = preprocessor.images([image])
    # antialiased, a quarter of white; a plain shrink by 8 sees two rows in eight: half of it
    assert (where[0, :, 1:-1] + 0.5).abs().max() < 0.05
    half = of_colour((0, 0, 0), 64, 16).clone()
    half[:, 32:] = 255
    where, _ = preprocessor.images([half])
    assert (where[0, :, :3] < -0.99).all() and (where[0, :, 5:] > 0.99).all()


def test_an_image_of_the_right_size_stays(preprocessor):
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    where, _ = preprocessor.images([image])
    assert torch.allclose(where[0], (image / 255 - 0.5) / 0.5, atol=1e-6)


def test_a_batch_of_unique_images_and_all_sentences(preprocessor):
    data = preprocessor(unique_images_collate(items()))
    inputs = data['inputs']
    assert inputs.images_siglip.shape == (4, 3, 8, 8) and inputs.images_sam.shape == (4, 3, 12, 12)
    assert inputs.image_index.tolist() == [0, 1, 0, 2, 3, 1]
    assert inputs.input_ids.shape == (6, LENGTH) and inputs.input_ids.dtype == torch.int64
    assert inputs.lengths.tolist() == [3, 12, 4, 13, 2, 6]
    assert [sample.text for sample in data['data_samples']] == SENTENCES


def test_image_ids_are_the_same_everywhere(preprocessor):
    """Of the pixels alone: another batch, rank or process says the same, whatever the name."""
    every = preprocessor(unique_images_collate(items()))['inputs'].image_ids
    some = preprocessor(unique_images_collate(items([5, 2])))['inputs'].image_ids
    assert some.tolist() == every[[5, 2]].tolist()
    assert every[0] == every[2] and len(every.unique()) == 4
    renamed = items([0])
    renamed[0]['data_samples'].set_metainfo(dict(img_path='another.png'))
    other = items([0])
    other[0]['inputs'] = 255 - other[0]['inputs']
    for batch, equal in ((renamed, True), (other, False)):
        ids = preprocessor(unique_images_collate(batch))['inputs'].image_ids
        assert (ids[0] == every[0]) == equal


def test_ids_are_padded_on_the_right_and_end_with_eos(preprocessor):
    ids, lengths = preprocessor.tokenize(['the car', 'the red car'])
    tokenizer = preprocessor.tokenizer
    for row, length in zip(ids, lengths, strict=True):
        assert row[length - 1] == tokenizer.eos_id
        assert (row[length:] == tokenizer.pad_id).all()
    assert ids[0, 0] == ids[1, 0] and ids[0, 1] == ids[1, 2]


def test_lower_case_is_an_option():
    upper, lower = ([text.encode() for text in texts] for texts in (['The CAR'], ['the car']))
    seen = {}
    for lower_case in (True, False):
        preprocessor = build(lower_case=lower_case)
        preprocessor.tokenizer.sentence_ids = lambda text: list(text.encode())
        seen[lower_case] = preprocessor.tokenize(['The CAR'])[0][0, :7].tolist()
    assert bytes(seen[True]) == lower[0] and bytes(seen[False]) == upper[0]


def test_a_long_sentence_is_cut_counted_and_warned_of_once(preprocessor, monkeypatch):
    said = []
    monkeypatch.setattr(
        'rsrefseg2.models.data_preprocessor.print_log',
        lambda text, logger, level: said.append((text, level)),
    )
    long = 'the car ' * 40
    for _ in range(3):
        ids, lengths = preprocessor.tokenize([long, 'a car', long])
    assert lengths.tolist() == [LENGTH, 3, LENGTH]
    assert ids[0, -1] == preprocessor.tokenizer.eos_id
    assert preprocessor.n_cut == 6
    ((text, level),) = said
    assert '16 positions' in text and level == logging.WARNING


def test_a_sentence_without_a_known_word_is_warned_of_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'rsrefseg2.models.data_preprocessor.print_log',
        lambda text, logger, level: said.append(text),
    )
    folder = tiny_towers.write_siglip(tmp_path / 'siglip', words=['the', 'car'])
    preprocessor = build(tokenizer=str(folder))
    for _ in range(2):
        preprocessor.tokenize(['the zebra', '???', 'the car'])
    (text,) = said
    assert "no word of the sentence '???'" in text


@pytest.mark.parametrize('sentence', ['', '  \t'])
def test_an_empty_sentence_is_an_error(preprocessor, sentence):
    with pytest.raises(UserError, match='sentence 1 of the batch is empty'):
        preprocessor.tokenize(['a car', sentence])


# ------------------------------------------------------------------ the release's variant


def test_padding_to_the_longest_of_the_batch():
    full, longest = build(), build(padding='longest')
    ids, lengths = full.tokenize(SENTENCES)
    short, same = longest.tokenize(SENTENCES)
    assert short.shape == (6, 13) and same.tolist() == lengths.tolist()
    assert torch.equal(short, ids[:, :13])
    assert longest.tokenize(SENTENCES[:1])[0].shape == (1, 3)
    assert longest.tokenize(['the car ' * 40])[0].shape == (1, LENGTH)  # cut, as ever


def test_siglips_image_from_sams():
    """Bilinear without antialiasing: at half the size the mean of 2 x 2 pixels."""
    image = torch.randint(0, 256, (3, 20, 14), dtype=torch.uint8)
    where, how = build(siglip_from='sam_input', size_siglip=6).images([image])
    pixels = (
        how * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    )
    wanted = pixels.unflatten(3, (6, 2)).unflatten(2, (6, 2)).mean((3, 5))
    assert torch.allclose(where, (wanted - 0.5) / 0.5, atol=1e-5)
    direct, same = build(size_siglip=6).images([image])
    assert torch.equal(same, how) and (direct - where).abs().max() > 1e-2


def test_sams_image_in_grey_levels():
    """Resized by OpenCV in 8 bits: whole grey levels, at most one from the exact ones."""
    image = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    _, found = build(sam_resize='uint8').images([image])
    _, exact = build().images([image])
    mean, std = (torch.tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    levels = (found * std + mean) * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    wanted = cv2.resize(image.permute(1, 2, 0).numpy(), (12, 12))
    assert torch.equal(levels[0].round().permute(1, 2, 0).byte(), torch.from_numpy(wanted))
    large = torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8)  # grows: no antialiasing
    _, found = build(sam_resize='uint8').images([large])
    _, exact = build().images([large])
    assert 0 < (found - exact).abs().max() < 1 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize('sam_resize', ['float32', 'uint8'])
@pytest.mark.parametrize(('shape', 'size'), [((20, 10), (12, 6)), ((9, 15), (7, 12))])
def test_a_border_instead_of_squashing(shape, size, sam_resize):
    """7.2 rows are 7; the rest of the square is black; a square image gets no border."""
    preprocessor = build(fit='pad', sam_resize=sam_resize)
    _, found = preprocessor.images([torch.full((3, *shape), 255, dtype=torch.uint8)])
    mean, std = (torch.tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    grey = (found * std + mean)[0]
    height, width = size
    assert torch.allclose(grey[:, :height, :width], torch.ones(1), atol=1e-5)
    assert grey[:, height:].abs().sum() + grey[:, :, width:].abs().sum() < 1e-4
    assert preprocessor.content_size(shape, 12) == size
    assert preprocessor.crop_border(found, shape).shape[-2:] == size
    mask = torch.ones(shape, dtype=torch.bool)
    padded = preprocessor.add_border(mask)
    assert padded.shape == (max(shape), max(shape)) and padded.sum() == mask.sum()
    assert torch.equal(padded[: shape[0], : shape[1]], mask)
    square = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    for a, b in zip(preprocessor.images([square]), build(sam_resize=sam_resize).images([square])):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (dict(sam_resize='bytes'), "sam_resize is 'float32' or 'uint8', not 'bytes'"),
        (dict(fit='crop'), "fit is 'squash' or 'pad', not 'crop'"),
        (dict(padding='left'), "padding is 'full' or 'longest', not 'left'"),
        (dict(siglip_from='where'), "siglip_from is 'original' or 'sam_input', not 'where'"),
    ],
)
def test_unknown_choices(options, says):
    with pytest.raises(ValueError, match=says):
        build(**options)
