"""Encode once, ask many: equal to full forwards; bad input is one clear line."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rsrefseg2.apis import Predictor
from rsrefseg2.apis.predictor import as_rgb
from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.directions import rewrite
from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.models.placements import placements_of
from rsrefseg2.structures import RefSegDataSample
from rsrefseg2.synthrs.generation.generate import make_scene

SENTENCES = ['the red car on the left', 'a ship', 'the plane on the upper right of the blue car']


@pytest.fixture(scope='module')
def predictor(tiny):
    return Predictor(tiny.config, tiny.checkpoint, 'cpu', batch_size=2)


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def test_equals_full_forwards(predictor, image):
    """Each sentence alone, through preprocessor and model, as in a test."""
    for answer in predictor.set_image(image).predict(SENTENCES):
        sample = RefSegDataSample(
            metainfo=dict(
                sample_id='0', img_path='x.png', text=answer.text, category=None, ori_shape=(37, 53)
            )
        )
        item = dict(inputs=torch.from_numpy(image.transpose(2, 0, 1).copy()), data_samples=sample)
        with torch.no_grad():
            batch = predictor.model.data_preprocessor(unique_images_collate([item]))
            outputs = predictor.model(**batch)
            expected = predictor.model.masks(outputs.mask_logits, [(37, 53)])[0].numpy()
            sample = predictor.model.test_step(unique_images_collate([item]))[0]
        largest = np.abs(expected).max()
        assert np.abs(answer.logits - expected).max() <= 1e-5 * largest
        clear = np.abs(expected) > 1e-5 * largest
        assert (answer.mask == sample.pred_mask.numpy())[clear].all()
        assert np.allclose(answer.dense_prompt, sample.dense_prompt.numpy(), rtol=1e-5, atol=1e-5)


REFUSED = 'the second ship from the left'


@pytest.mark.parametrize(('shift', 'agreement'), [(0.0, 0.0), (0.5, 0.0), (0.5, 8.0)])
@pytest.mark.parametrize('group', ['flips', 'turns', 'all'])
def test_the_mean_over_symmetries_is_that_of_the_test(
    predictor, image, group, shift, agreement, monkeypatch
):
    plain = predictor.set_image(image).predict([*SENTENCES, REFUSED])
    monkeypatch.setattr(predictor.model, 'test_symmetries', group)
    monkeypatch.setattr(predictor.model, 'test_shift', shift)
    monkeypatch.setattr(predictor.model, 'test_agreement', agreement)
    averaged = predictor.set_image(image).predict([*SENTENCES, REFUSED])
    clear = [np.abs(a.logits) > 1e-4 * np.abs(a.logits).max() for a in averaged]
    for answer, sure in zip(averaged[:-1], clear, strict=False):
        meta = dict(sample_id='0', img_path='x.png', text=answer.text, category=None)
        sample = RefSegDataSample(metainfo=dict(meta, ori_shape=(37, 53)))
        item = dict(inputs=torch.from_numpy(image.transpose(2, 0, 1).copy()), data_samples=sample)
        tested = predictor.model.test_step(unique_images_collate([item]))[0]
        assert (answer.mask == tested.pred_mask.numpy())[sure].all()
    for before, after in zip(plain[:-1], averaged[:-1], strict=True):
        assert np.abs(before.logits - after.logits).max() > 0.01 * np.abs(before.logits).max()
        assert np.array_equal(before.dense_prompt, after.dense_prompt)
    # one pass: it is refused; at SAM's resolution where the others are averaged there
    monkeypatch.setattr(predictor.model, 'test_symmetries', None)
    monkeypatch.setattr(predictor.model, 'upsample_via_sam_input', bool(shift))
    *_, once = predictor.set_image(image).predict([*SENTENCES, REFUSED])
    assert np.array_equal(once.logits, averaged[-1].logits)


def test_what_is_known_of_the_place_is_turned_with_the_picture(predictor, image, monkeypatch):
    """Each turned picture asked by itself, with its own prior, and turned back by hand."""
    prior = np.linspace(-9, 9, 16 * 16, dtype=np.float32).reshape(16, 16)
    right, left = 'the ship on the right', 'the ship on the left'
    mirrored = np.ascontiguousarray(image[:, ::-1])
    upside_down = np.ascontiguousarray(image[::-1])
    passes = [
        predictor.segment([text], predictor.encode(picture), turn(prior))[0][0]
        for picture, text, turn in (
            (image, right, lambda m: m),
            (mirrored, left, lambda m: m[:, ::-1].copy()),
            (upside_down, right, lambda m: m[::-1].copy()),
            (mirrored[::-1].copy(), left, lambda m: m[::-1, ::-1].copy()),
        )
    ]
    back = [passes[0], passes[1][:, ::-1], passes[2][::-1], passes[3][::-1, ::-1]]
    monkeypatch.setattr(predictor.model, 'test_symmetries', 'flips')
    ((found, _),) = predictor.segment([right], predictor.encode(image), prior)
    assert np.allclose(found, np.mean(back, axis=0), atol=1e-4 * np.abs(found).max())


def test_a_moved_picture_is_told_of_the_place_where_it_lies(predictor, image, monkeypatch):
    prior = np.linspace(-9, 9, 16 * 16, dtype=np.float32).reshape(16, 16)
    text, shape, model = 'the ship on the right', image.shape[:2], predictor.model
    passes = []
    for placement in placements_of('flips', 0.5, model.encoder.grid_size):
        seen = predictor.encode(np.ascontiguousarray(placement.picture(image, y=0, x=1)))
        said = rewrite(text, placement.symmetry)
        ((logits, _),) = predictor.segment([said], seen, placement.prior(prior, shape))
        passes.append(placement.back(torch.from_numpy(logits), shape, model.input_size))
    monkeypatch.setattr(model, 'test_symmetries', 'flips')
    monkeypatch.setattr(model, 'test_shift', 0.5)
    ((found, _),) = predictor.segment([text], predictor.encode(image), prior)
    assert found.shape == predictor.cells(shape) == model.input_size
    assert np.allclose(found, torch.stack(passes).mean(0).numpy(), atol=1e-4 * np.abs(found).max())


def test_an_answer_is_arrays_at_the_images_size(predictor, image):
    answers = predictor.set_image(image).predict(SENTENCES)
    assert [answer.text for answer in answers] == SENTENCES
    for answer in answers:
        assert answer.mask.shape == answer.logits.shape == (37, 53)
        assert answer.mask.dtype == bool and answer.logits.dtype == np.float32
        assert (answer.mask == (answer.logits > 0)).all()
        assert answer.dense_prompt.shape == (16, 16)
    assert not np.array_equal(answers[0].logits, answers[1].logits)


def test_the_image_is_encoded_once(predictor, image, monkeypatch):
    calls = []
    encode = predictor.model.encode_images
    monkeypatch.setattr(predictor.model, 'encode_images', lambda *a: calls.append(1) or encode(*a))
    predictor.set_image(image)
    (one,) = predictor.predict(SENTENCES[0])
    many = predictor.predict(SENTENCES * 3)
    assert len(calls) == 1 and len(many) == 9
    assert np.allclose(one.logits, many[0].logits, atol=1e-5 * np.abs(one.logits).max())


def test_a_file_equals_its_array(predictor, image, tmp_path):
    Image.fromarray(image).save(tmp_path / 'a.png')
    expected = predictor.set_image(image).predict('a ship')[0].logits
    for path in (tmp_path / 'a.png', str(tmp_path / 'a.png')):
        assert (predictor.set_image(path).predict('a ship')[0].logits == expected).all()


def test_each_thread_asks_about_its_own_image(predictor, image):
    """A second thread sets another image between the first one's two calls."""
    other = np.ascontiguousarray(image[::-1, :40])
    expected = [
        predictor.predict('a ship', predictor.encode(picture))[0] for picture in (image, other)
    ]
    shared = Predictor.__new__(Predictor)
    shared.__dict__.update(predictor.__dict__, _own=threading.local(), _setters=0, _only=None)
    threads = [ThreadPoolExecutor(1) for _ in range(3)]
    try:
        threads[0].submit(shared.set_image, image).result()
        assert (
            threads[2].submit(shared.predict, 'a ship').result()[0].logits == expected[0].logits
        ).all()  # one thread has set, another asks
        threads[1].submit(shared.set_image, other).result()
        answers = [thread.submit(shared.predict, 'a ship').result()[0] for thread in threads[:2]]
        assert all(
            (answer.logits == by_itself.logits).all()
            for answer, by_itself in zip(answers, expected, strict=True)
        )
        with pytest.raises(RuntimeError, match='several threads'):
            threads[2].submit(shared.predict, 'a ship').result()
    finally:
        for thread in threads:
            thread.shutdown()


def test_a_photograph_lies_as_viewers_show_it(predictor, image, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # viewers turn it by 90 degrees
    Image.fromarray(image).save(tmp_path / 'turned.png', exif=exif)
    (answer,) = predictor.set_image(tmp_path / 'turned.png').predict('a ship')
    (expected,) = predictor.set_image(np.rot90(image, -1)).predict('a ship')
    assert answer.mask.shape == (53, 37) and (answer.logits == expected.logits).all()


def test_no_mask_is_made_of_nan(predictor, image, monkeypatch):
    segment = predictor.model.segment

    def spoiled(*arguments):
        outputs = segment(*arguments)
        outputs.mask_logits[1, 3, 3] = torch.nan
        return outputs

    monkeypatch.setattr(predictor.model, 'segment', spoiled)
    with pytest.raises(UserError, match='NaN for 1 of 2 sentences'):
        predictor.set_image(image).predict(SENTENCES[:2])


def test_without_a_dense_prompt(tiny_without_dense, image):
    predictor = Predictor(tiny_without_dense.config, tiny_without_dense.checkpoint, 'cpu')
    assert predictor.set_image(image).predict('a ship')[0].dense_prompt is None


def test_a_long_sentence_is_cut_and_warned_of_once(predictor, image, monkeypatch):
    warned = []
    monkeypatch.setattr(
        'rsrefseg2.models.data_preprocessor.print_log', lambda text, *_, **__: warned.append(text)
    )
    predictor.set_image(image)
    for _ in range(2):
        (answer,) = predictor.predict('the car ' * 40)
    assert answer.mask.shape == (37, 53)
    assert len(warned) == 1 and 'cut' in warned[0]


@pytest.mark.parametrize(
    'sentences, message',
    [
        ('', 'sentence 1 of 1 is empty'),
        (['a car', ' \t'], 'sentence 2 of 2 is empty'),
        ([], 'no sentence'),
        (['a car', 3], 'sentence 2 of 2 is no text but a int'),
        ('ship ' * 3000, '15000 characters'),
        ('a car \udcff', 'not UTF-8'),
    ],
)
def test_sentences_that_cannot_be_asked(predictor, image, sentences, message):
    with pytest.raises(UserError, match=message):
        predictor.set_image(image).predict(sentences)


@pytest.mark.parametrize(
    'wrong',
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3, 1), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        Image.new('CMYK', (4, 4)),
        [[1]],
    ],
)
def test_wrong_arrays(predictor, wrong):
    with pytest.raises(UserError, match='image'):
        predictor.set_image(wrong)


def test_pictures_in_memory(image):
    """Grey, with transparency, of more bits, Pillow's own, turned."""
    grey = image[..., 0]
    assert np.array_equal(as_rgb(grey), np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(as_rgb(grey[..., None]), as_rgb(grey))
    alpha = np.dstack([image, grey])
    assert np.array_equal(as_rgb(alpha), image) and np.array_equal(as_rgb(image), image)
    deep = image.astype(np.uint16) * 100
    low, high = np.percentile(deep, (2, 98), axis=(0, 1))
    wanted = 255 * np.clip((deep - low) / (high - low), 0, 1)
    assert np.abs(as_rgb(deep) - wanted).max() <= 0.51
    assert not as_rgb(np.full((3, 3), 7, np.uint16)).any()
    for picture, found in (
        (Image.fromarray(image), image),
        (Image.fromarray(alpha), image),
        (Image.fromarray(grey), as_rgb(grey)),
        (Image.fromarray(deep[..., 0]), as_rgb(deep[..., 0])),
    ):
        assert np.array_equal(as_rgb(picture), found)
    turned = Image.fromarray(image)
    turned.getexif()[0x0112] = 6  # viewers turn it a quarter to the right
    assert np.array_equal(as_rgb(turned), np.rot90(image, -1))


def test_unreadable_images(predictor, tmp_path):
    (tmp_path / 'page.png').write_text('<html>')
    for name in ('page.png', 'missing.png'):
        with pytest.raises(UserError, match=name):
            predictor.set_image(tmp_path / name)


def test_a_torn_checkpoint_is_seen_before_a_tower_is_built(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        'rsrefseg2.models.rsrefseg2.DualModalityEncoder',
        lambda **k: pytest.fail('a tower was built'),
    )
    torn = tmp_path / 'torn.pth'
    torn.write_bytes(Path(tiny.checkpoint).read_bytes()[:5000])
    with pytest.raises(UserError, match=r'torn\.pth cannot be read.*\([^()]*\): take') as caught:
        Predictor(tiny.config, torn, 'cpu')
    assert 'If yo' not in str(caught.value)  # torch's advice is left out, not cut


def test_order_of_calls(tiny):
    with pytest.raises(RuntimeError, match='set_image'):
        Predictor(tiny.config, tiny.checkpoint, 'cpu').predict('a car')


def test_files_and_devices_that_are_not_there(tiny, tiny_without_dense, tmp_path):
    for config, checkpoint, device, message in (
        (tmp_path / 'no.py', tiny.checkpoint, 'cpu', 'config .*no.py does not exist'),
        (tiny.config, tmp_path / 'no.pth', 'cpu', 'checkpoint .*no.pth does not exist'),
        (tiny.config, tiny.checkpoint, 'abacus', 'device abacus cannot be used'),
        (tiny.config, tiny_without_dense.checkpoint, 'cpu', 'missing .*prompter.dense'),
    ):
        with pytest.raises(UserError, match=message):
            Predictor(config, checkpoint, device)


def test_the_shipped_model_is_found_from_any_folder(tmp_path, monkeypatch):
    """README's five lines of Python, run elsewhere than in the checkout."""
    monkeypatch.chdir(tmp_path)
    predictor = Predictor('demo/demo_tiny.py', 'demo/demo_tiny-30318926.pth', device='cpu')
    scene, sentences = make_scene(seed=0, split='test', index=1, per_level=1)
    predictor.set_image(scene.image)
    (answer,) = predictor.predict([sentences[0].text])
    assert answer.mask.any()
    with pytest.raises(UserError, match='nothing.pth'):
        Predictor('demo/demo_tiny.py', 'demo/nothing.pth', device='cpu')


def test_words_that_no_training_sentence_had(tiny, tmp_path):
    """As the checkpoint says; one that does not say leaves it to the tokenizer."""
    content = torch.load(tiny.checkpoint, weights_only=False)
    meta = content.setdefault('meta', {})
    meta['words'] = ['a', 'car', 'red']
    torch.save(content, tmp_path / 'named.pth')
    predictor = Predictor(tiny.config, tmp_path / 'named.pth', 'cpu')
    assert predictor.unknown_words('A RED zebra, a zebra; car') == ('zebra',)
    del meta['words']
    torch.save(content, tmp_path / 'plain.pth')
    predictor = Predictor(tiny.config, tmp_path / 'plain.pth', 'cpu')
    assert predictor.unknown_words('a red zebra') == ()  # its tokenizer has a hash for every word


def test_the_demo_names_words_that_it_has_no_token_for():
    from rsrefseg2.cli.predict_command import demo_model

    predictor = Predictor(*demo_model(), 'cpu')
    assert predictor.unknown_words('the red Zebra near a ship') == ('zebra', 'near')


def test_a_sentence_is_encoded_once_for_all_pictures(predictor, image):
    """And anew where a weight of the text tower has changed."""
    text_model, seen = predictor.model.encoder.text_model, []
    handle = text_model.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(len(kwargs['input_ids'])), with_kwargs=True
    )
    try:
        first = predictor.predict(['a new sentence', 'a ship'], predictor.encode(image))
        seen.clear()
        again = predictor.predict(['a ship', 'a new sentence'], predictor.encode(image))
        assert not seen
        largest = np.abs(first[0].logits).max()
        for one, other in zip(first, reversed(again), strict=True):
            assert np.abs(one.logits - other.logits).max() < 1e-4 * largest
        table = text_model.get_input_embeddings().weight
        with torch.no_grad():
            table.copy_(table.flip(0))
        try:
            (changed,) = predictor.predict(['a new sentence'], predictor.encode(image))
        finally:
            with torch.no_grad():
                table.copy_(table.flip(0))
        assert seen == [1] and np.abs(changed.logits - first[0].logits).max() > 1e-3 * largest
    finally:
        handle.remove()


def test_the_towers_are_converted_for_a_prediction(tiny, predictor, image):
    config = load_config(str(tiny.config), options={'model.prediction_dtype': 'bfloat16'})
    half = Predictor(config, tiny.checkpoint, 'cpu')
    assert {p.dtype for tower in half.model.towers() for p in tower.parameters()} == {
        torch.bfloat16
    }
    one, other = (each.set_image(image).predict('a ship')[0].logits for each in (half, predictor))
    assert 0 < np.abs(one - other).max() < 0.2 * np.abs(other).max()
