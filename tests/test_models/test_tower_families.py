"""CLIP and NaFlex SigLIP2 beside SigLIP: what Eq. 2 takes of them; image sizes other than the
pretrained one; every family's checkpoints in one file, in shards and as pickles."""

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPModel, Siglip2Model, SiglipModel

from rsrefseg2.models.dual_modality_encoder import DualModalityEncoder
from rsrefseg2.models.towers.families import naflex_inputs
from rsrefseg2.models.towers.load import load_sam, load_siglip, load_tokenizer
from tests import tiny_towers
from tests.reference.layers import layer_norm, linear, part
from tests.test_models.test_towers import check_encoding
from tests.test_models.tiny_model import batch, build

SENTENCES = ['the red car', 'ship', 'a plane on the left of a ship']
N_WORDS = (3, 1, 8)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def stir(folder):
    """Every weight random, biases and norms too, so that none can hide."""
    generator = torch.Generator().manual_seed(1)
    tiny_towers.edit_weights(
        folder,
        add={
            name: value + 0.3 * torch.randn(value.shape, generator=generator)
            for name, value in tiny_towers.load_file(folder / 'model.safetensors').items()
        },
    )
    return folder


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return stir(tiny_towers.write_clip(tmp_path_factory.mktemp('clip')))


def encoder_of(checkpoint, **options):
    return DualModalityEncoder(checkpoint=str(checkpoint), **options).double().eval()


def encode(encoder, folder, sentences=SENTENCES):
    ids, lengths, _ = load_tokenizer(folder).encode(sentences, encoder.max_length)
    with torch.no_grad():
        return encoder.encode_text(ids, lengths), ids, lengths


# ---- CLIP -------------------------------------------------------------------------------------


def test_clips_patches_by_the_norm_and_the_projection_of_its_class_token(clip):
    model = CLIPModel.from_pretrained(str(clip)).double().eval()
    weights = dict(model.named_parameters())

    def project(states):
        return linear(
            layer_norm(states, part(weights, 'vision_model.post_layernorm'), 1e-5),
            {'weight': weights['visual_projection.weight'], 'bias': 0},
        )

    with torch.no_grad():
        states = model.vision_model(IMAGES, output_hidden_states=True).hidden_states[-1]
        own = model.get_image_features(pixel_values=IMAGES)
        own = getattr(own, 'pooler_output', own)
        # the transcription itself is CLIP's: on the class token it gives CLIP's image feature
        assert torch.allclose(project(states[:, 0]), own, rtol=0, atol=1e-12)
        encoder = encoder_of(clip, vision_lora=dict(r=2), text_lora=dict(r=2))
        v = encoder.encode_images(IMAGES)
        assert torch.allclose(v, project(states[:, 1:]), rtol=0, atol=1e-12)
    assert v.shape == (2, 16, 24) and encoder.d1 == 24 and encoder.grid_size == (4, 4)


def test_clips_words_and_sentence_are_projected(clip):
    model = CLIPModel.from_pretrained(str(clip)).double().eval()
    encoder = encoder_of(clip)
    text, ids, lengths = encode(encoder, clip)
    with torch.no_grad():
        own = model.get_text_features(input_ids=ids)
        assert torch.allclose(text.t_sent, getattr(own, 'pooler_output', own), rtol=0, atol=1e-12)
        states = model.text_model(input_ids=ids).last_hidden_state @ model.text_projection.weight.T
    assert lengths.tolist() == [n + 2 for n in N_WORDS]
    assert text.word_mask.sum(1).tolist() == list(N_WORDS)
    for row, (found, n) in enumerate(zip(text.t_word, N_WORDS, strict=True)):
        assert torch.allclose(found[:n], states[row, 1 : 1 + n], rtol=0, atol=1e-12)


def test_a_sentence_of_clip_does_not_depend_on_the_batch_or_on_its_padding(clip):
    encoder = encoder_of(clip)
    together, ids, lengths = encode(encoder, clip)
    for row, sentence in enumerate(SENTENCES):
        alone, *_ = encode(encoder, clip, [sentence])
        n = N_WORDS[row]
        assert torch.allclose(alone.t_sent[0], together.t_sent[row], rtol=0, atol=1e-12)
        assert torch.allclose(alone.t_word[0, :n], together.t_word[row, :n], rtol=0, atol=1e-12)
    other = ids.clone()
    for row, length in zip(other, lengths, strict=True):
        row[length:] = 0  # as OpenAI's own code pads
    with torch.no_grad():
        assert torch.equal(encoder.encode_text(other, lengths).t_sent, together.t_sent)


def test_clips_tokenizer(clip):
    tokenizer = load_tokenizer(clip)
    ids, lengths, n_cut = tokenizer.encode(['The red car', 'zx'], 8)
    assert ids[0, 0] == ids[1, 0] == tokenizer.bos_id and n_cut == 0
    assert ids[0, 4] == tokenizer.eos_id and lengths.tolist() == [5, 4]
    assert tokenizer.unk_id == -1, 'eos is no unknown word'
    cut, lengths, n_cut = tokenizer.encode(['the red car'], 4)
    assert n_cut == 1 and lengths.tolist() == [4]
    assert cut[0].tolist() == [*ids[0, :3].tolist(), tokenizer.eos_id]
    # SigLIP's has none
    check_encoding(load_tokenizer(tiny_towers.siglip_config(), init='random'), 'a red car .', 4)
    stand_in = load_tokenizer('openai/clip-vit-base-patch32', init='random')
    assert stand_in.encode(['car'], 77)[0][0, 0] == stand_in.bos_id == 49406
    assert (stand_in.eos_id, stand_in.pad_id) == (49407, 1)


def test_the_whole_model_on_clip():
    model = build(
        siglip=dict(checkpoint=tiny_towers.clip_config()),
        losses=dict(
            seg=dict(
                type='SegmentationLoss', ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)
            ),
            ortho=dict(type='OrthogonalLoss'),
            sample=dict(type='SampleContrastLoss'),
        ),
    )
    given = batch(model, [0, 1, 3])
    losses = model(**given, mode='loss')
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert model.prompter.dense.logit_bias.item() == 0
    assert model.prompter.dense.logit_scale.item() == pytest.approx(2.6592)  # CLIP's start
    trained = {name for name, p in model.encoder.named_parameters() if p.requires_grad}
    assert trained and all('lora_' in name for name in trained)
    assert all(
        p.grad is not None
        for name, p in model.encoder.named_parameters()
        if 'vision_model' in name and 'lora_B' in name
    )
    # its own pixels: a grey of 0.5 is not 0
    grey, _ = model.data_preprocessor.images([torch.full((3, 8, 8), 127.5)])
    assert torch.allclose(grey[0, :, 0, 0], torch.tensor([0.0690, 0.1614, 0.3328]), atol=1e-3)


# ---- NaFlex -----------------------------------------------------------------------------------


def test_naflex_at_a_square_is_the_fixed_resolution_tower(tmp_path):
    """The same weights in both forms: a patch is a row of pixels for one, a convolution for the
    other."""
    fixed = stir(tiny_towers.write_siglip(tmp_path / 'fixed'))
    weights = tiny_towers.load_file(fixed / 'model.safetensors')
    name = 'vision_model.embeddings.patch_embedding.weight'
    weights[name] = weights[name].permute(0, 2, 3, 1).flatten(1).contiguous()
    name = 'text_model.embeddings.token_embedding.weight'
    weights[name] = F.pad(weights[name], (0, 0, 0, 2))
    flexible = tiny_towers.write_naflex(tmp_path / 'flexible')
    tiny_towers.edit_weights(flexible, drop=tuple(weights), add=weights)
    one, other = encoder_of(fixed), encoder_of(flexible)
    with torch.no_grad():
        v = one.encode_images(IMAGES)
        assert torch.allclose(other.encode_images(IMAGES), v, rtol=0, atol=1e-12)
    assert (other.image_size, other.grid_size, other.d1) == (32, (4, 4), 32)
    assert torch.equal(encode(other, fixed)[0].t_sent, encode(one, fixed)[0].t_sent)
    assert (one.logit_scale, one.logit_bias) == (other.logit_scale, other.logit_bias)


def test_naflex_inputs_row_by_row():
    given = naflex_inputs(IMAGES[:, :, :24], 8)
    assert given['spatial_shapes'].tolist() == [[3, 4]] * 2
    assert given['pixel_attention_mask'].shape == (2, 12) and given['pixel_attention_mask'].all()
    for i in range(3):
        for j in range(4):
            cell = IMAGES[1, :, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            pixels = [cell[:, y, x] for y in range(8) for x in range(8)]
            assert torch.equal(given['pixel_values'][1, 4 * i + j], torch.cat(pixels))


# ---- sizes other than the pretrained one ------------------------------------------------------


@pytest.mark.parametrize(
    ('write', 'mode'),
    [
        (tiny_towers.write_siglip, 'bicubic'),
        (tiny_towers.write_clip, 'bicubic'),
        (tiny_towers.write_naflex, 'bilinear'),
    ],
)
def test_another_image_size_interpolates_the_positions(tmp_path, write, mode):
    """As a tower of that size whose position embeddings were resized beforehand."""
    folder = stir(write(tmp_path / 'a'))
    images = F.interpolate(IMAGES, (48, 48), mode='nearest')
    encoder = encoder_of(folder, image_size=48)
    assert encoder.image_size == 48 and encoder.grid_size == (6, 6)

    weights = tiny_towers.load_file(folder / 'model.safetensors')
    name = 'vision_model.embeddings.position_embedding.weight'
    own = weights[name].double()
    extra, grid = (own[:1], own[1:]) if write is tiny_towers.write_clip else (own[:0], own)
    resized = F.interpolate(
        grid.T.reshape(1, -1, 4, 4),
        (6, 6),
        mode=mode,
        align_corners=False,
        antialias=mode == 'bilinear',
    )
    big = write(tmp_path / 'b', image=48)
    weights[name] = torch.cat([extra, resized[0].flatten(1).T]).contiguous()
    tiny_towers.edit_weights(big, drop=tuple(weights), add=weights)
    with torch.no_grad():
        # float32 in the file
        assert torch.allclose(
            encoder.encode_images(images), encoder_of(big).encode_images(images), rtol=0, atol=1e-5
        )
        at_home = encoder_of(folder, image_size=32).encode_images(IMAGES)
        assert torch.equal(at_home, encoder_of(folder).encode_images(IMAGES))


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ValueError, match='image_size 4 is smaller than a patch of 8'):
        DualModalityEncoder(checkpoint=tiny_towers.siglip_config(), init='random', image_size=4)


# ---- checkpoints ------------------------------------------------------------------------------

LAYOUTS = {
    'one file': lambda folder: None,
    'shards': tiny_towers.cut,
    'pickle': tiny_towers.pickled,
}
WHERE = {
    f'{name} patch {patch}': (load_siglip, write, dict(image=2 * patch, patch=patch, **more))
    for patch in (14, 16)
    for name, write, more in (
        ('siglip', tiny_towers.write_siglip, dict(generation=1)),
        ('siglip2', tiny_towers.write_siglip, {}),
        ('clip', tiny_towers.write_clip, {}),
        ('naflex', tiny_towers.write_naflex, {}),
    )
}
HOW = {
    'sam2.1': (load_sam, tiny_towers.write_sam2, {}),
    'sam2.1 video': (load_sam, tiny_towers.write_sam2_video, {}),
    'sam 1': (load_sam, tiny_towers.write_sam, {}),
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('family', {**WHERE, **HOW})
def test_every_family_loads_from_every_layout(tmp_path, family, layout):
    load, write, sizes = {**WHERE, **HOW}[family]
    folder = write(tmp_path, **sizes)
    saved = tiny_towers.load_file(folder / 'model.safetensors')
    LAYOUTS[layout](folder)
    model = load(folder)
    loaded = model.state_dict()
    assert set(loaded) & set(saved) >= {name for name, _ in model.named_parameters()}
    for name in set(loaded) & set(saved):
        assert torch.equal(loaded[name], saved[name]), name
    if load is load_siglip:
        encoder = DualModalityEncoder(checkpoint=str(folder))
        assert encoder.grid_size == (2, 2)
        assert load_tokenizer(folder).vocab_size == model.config.text_config.vocab_size


def test_a_missing_shard_is_named(tmp_path):
    folder = tiny_towers.write_clip(tmp_path)
    tiny_towers.cut(folder)
    (folder / 'model-00002-of-00003.safetensors').unlink()
    with pytest.raises(ValueError, match='lacks model-00002-of-00003.safetensors'):
        load_siglip(folder)


def test_the_families_are_transformers_own():
    for config, model in (
        (tiny_towers.siglip_config(), SiglipModel),
        (tiny_towers.naflex_config(), Siglip2Model),
        (tiny_towers.clip_config(), CLIPModel),
    ):
        assert type(load_siglip(config, init='random')) is model
    with pytest.raises(ValueError, match="unknown key 'projection_dmi'"):
        load_siglip(dict(tiny_towers.clip_config(), projection_dmi=8), init='random')
