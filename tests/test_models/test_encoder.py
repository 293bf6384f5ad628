"""Eq. 2 against its literal transcription on transformers' own SigLIP, for towers of equal and of
unequal width; and seeded faults that the comparison must notice."""

import pytest
import torch
from transformers import SiglipModel

from rsrefseg2.models.dual_modality_encoder import DualModalityEncoder
from rsrefseg2.models.towers.load import load_tokenizer
from tests import tiny_towers
from tests.reference import encoder as ref
from tests.test_models import seeded_faults as faulty

TOLERANCE, FAULT_TOLERANCE = 1e-12, 1e-4
EPS = 1e-6  # of SigLIP's layer norms
SENTENCES = ['the red car', 'ship', 'a plane on the left of a ship']
EOS, PAD = 1, 0
IDS = [[3, 5, 7, EOS], [8, EOS], [4, 9, 10, 3, 11, 13, 4, 8, EOS]]  # of SENTENCES
N_WORDS = (3, 1, 8)
WIDTHS = {'equal': 32, 'unequal': 48}  # vision; text has 32


@pytest.fixture(scope='module', params=WIDTHS)
def folder(request, tmp_path_factory):
    """A checkpoint whose every weight is random, biases and norms too, so that none can hide."""
    path = tiny_towers.write_siglip(
        tmp_path_factory.mktemp(request.param), vision_width=WIDTHS[request.param]
    )
    tensors = tiny_towers.load_file(path / 'model.safetensors')
    generator = torch.Generator().manual_seed(1)
    stirred = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in tensors.items()
    }
    tiny_towers.edit_weights(path, add=stirred)
    return path


def expected(folder, images):
    """v, t_word (B times) and t_sent from transformers' whole model, by the transcription."""
    model = SiglipModel.from_pretrained(str(folder)).double().eval()
    positions = model.config.text_config.max_position_embeddings
    ids = torch.tensor([row + [PAD] * (positions - len(row)) for row in IDS])
    found = model(input_ids=ids, pixel_values=images, output_hidden_states=True)
    v = ref.encode_images(
        found.vision_model_output.hidden_states[-1],
        dict(model.vision_model.named_parameters()),
        EPS,
    )
    return v, *ref.encode_text(
        found.text_model_output.hidden_states[-1],
        dict(model.text_model.named_parameters()),
        EPS,
        N_WORDS,
        model.config.vision_config.hidden_size,
    )


def padded(t_word):
    """B times (n, d1) -> (B, 16, d1), 0 where there is no word: comparable for any counts."""
    out = torch.zeros(len(t_word), 16, t_word[0].shape[1], dtype=torch.float64)
    for row, words in zip(out, t_word, strict=True):
        row[: len(words)] = words
    return out


def assert_equal(name, found, wanted, tolerance):
    """Up to `tolerance` times the largest number."""
    assert found.shape == wanted.shape, f'{name} differs by its shape, {tuple(found.shape)}'
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    assert difference < tolerance, f'{name} differs by {difference:.1e}'


def check_eq2(folder, tolerance=TOLERANCE):
    encoder = DualModalityEncoder(
        checkpoint=str(folder), vision_lora=dict(r=2), text_lora=dict(r=2)
    ).double()
    images = torch.randn(
        2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    ids, lengths, _ = load_tokenizer(folder).encode(SENTENCES, encoder.max_length)
    with torch.no_grad():
        v, text = encoder.encode_images(images), encoder.encode_text(ids, lengths)
        wanted_v, wanted_words, wanted_sent = expected(folder, images)
    assert_equal('v', v, wanted_v, tolerance)
    assert_equal('t_sent', text.t_sent, wanted_sent, tolerance)
    own = [words[mask] for words, mask in zip(text.t_word, text.word_mask, strict=True)]
    assert_equal('t_word', padded(own), padded(wanted_words), tolerance)
    assert text.t_word.shape[1] == max(N_WORDS)


def test_eq2(folder):
    check_eq2(folder)


FAULTS = {  # what is wrong -> name of the replaced method, replacement
    'v: without the norm after the last layer': ('encode_images', faulty.without_post_layernorm),
    't_word: eos kept': ('encode_text', faulty.encode_text(eos=True)),
    't_word: eos kept, the last word lost': ('encode_text', faulty.encode_text(first=1)),
    't_sent: without the head': ('encode_text', faulty.encode_text(sent_head=False)),
    't_sent: at the eos': ('encode_text', faulty.encode_text(sent_at_eos=True)),
    'an attention mask for the text tower': ('encode_text', faulty.encode_text(masked=True)),
    't_word: the head where it must not be, or not where it must': (
        'encode_text',
        faulty.encode_text(other_head=True),
    ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_fault_is_noticed(fault, folder, monkeypatch):
    monkeypatch.setattr(DualModalityEncoder, *FAULTS[fault])
    with pytest.raises(
        AssertionError, match=f'^{fault.split(":")[0]} differs by' if ':' in fault else 'differs by'
    ):
        check_eq2(folder, FAULT_TOLERANCE)


def test_every_position_is_read_in_the_releases_variant(folder):
    """eos and padding are words too; t_sent is the same."""
    ids, lengths, _ = load_tokenizer(folder).encode(SENTENCES, 9)
    plain, release = (
        DualModalityEncoder(checkpoint=str(folder), keep_padding_tokens=every)
        for every in (False, True)
    )
    with torch.no_grad():
        own, every = plain.encode_text(ids, lengths), release.encode_text(ids, lengths)
    assert every.t_word.shape[1] == 9 and every.word_mask.all()
    assert torch.equal(every.t_word[:, :8], own.t_word) and own.t_word.shape[1] == 8
    assert torch.equal(every.t_sent, own.t_sent)
