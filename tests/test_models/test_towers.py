"""Towers: known architectures, the hub's folder format, tokenizers, what a user gets wrong."""

import json
import os
import shutil
import socket
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2.errors import UserError
from rsrefseg2.models.towers import hub
from rsrefseg2.models.towers.catalogue import SAM, SIGLIP
from rsrefseg2.models.towers.configs import count_weights, make_config, random_config
from rsrefseg2.models.towers.load import load_sam, load_siglip, load_tokenizer
from rsrefseg2.models.towers.tokenizers import StandInTokenizer, write_word_tokenizer
from tests import tiny_towers

FULL = 'google/siglip2-so400m-patch16-512'


def millions(module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def user_error(call, *args, **kwargs) -> str:
    """The message of the UserError that `call` raises; it must be one line."""
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    assert '\n' not in str(caught.value)
    return str(caught.value)


# ---- known architectures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'vision', 'text'),
    [
        (FULL, 413.5, 707.8),
        ('google/siglip2-giant-opt-patch16-384', 1135.3, 708.2),  # 1163.7 with its pooling head
        ('google/siglip-base-patch16-224', 85.8, 110.3),  # the hub's 203.2 with the head's 7.1
        ('google/siglip2-base-patch16-naflex', 85.8, 282.3),
        ('openai/clip-vit-base-patch32', 87.5, 63.2),  # the hub's 151.3 with two projections
        ('openai/clip-vit-large-patch14-336', 303.5, 123.1),  # the hub's 427.9
    ],
)
def test_sizes_of_siglip(name, vision, text):
    with torch.device('meta'):
        model = load_siglip(name, init='random')
    assert millions(model.vision_model) == pytest.approx(vision, abs=0.05)
    assert millions(model.text_model) == pytest.approx(text, abs=0.05)


@pytest.mark.parametrize(
    ('name', 'encoder', 'whole'),
    [
        ('facebook/sam2.1-hiera-tiny', 27.2, 31.4),
        ('facebook/sam2.1-hiera-small', 34.3, 38.5),
        ('facebook/sam2.1-hiera-base-plus', 69.1, 73.3),
        ('facebook/sam2.1-hiera-large', 212.7, 216.9),
        ('facebook/sam-vit-base', 89.7, 93.7),
        ('facebook/sam-vit-huge', 637.0, 641.1),
    ],
)
def test_sizes_of_sam(name, encoder, whole):
    with torch.device('meta'):
        model = load_sam(name, init='random')
    assert millions(model.vision_encoder) == pytest.approx(encoder, abs=0.05)
    assert millions(model) == pytest.approx(whole, abs=0.05)


def test_the_table_agrees_with_the_names():
    fixed = [name for name in SIGLIP if name.startswith('google/') and 'naflex' not in name]
    for name in fixed:
        config = random_config('siglip', name)
        patch, size = name.split('patch')[1].split('-')[:2]
        assert config.vision_config.patch_size == int(patch), name
        assert config.vision_config.image_size == int(size), name
        # t_sent has v's width, and the stand-in's reserved ids are inside the vocabulary
        assert config.text_config.projection_size == config.vision_config.hidden_size, name
        assert config.text_config.vocab_size in (32000, 250000, 256000)
    for name in (name for name in SAM if 'sam2' in name):
        vision = random_config('sam', name).vision_config
        backbone = vision.backbone_config
        assert vision.backbone_channel_list == backbone.embed_dim_per_stage[::-1], name
        assert max(backbone.global_attention_blocks) < sum(backbone.blocks_per_stage), name


def test_giant_has_towers_of_two_widths():
    with torch.device('meta'):
        config = load_siglip('google/siglip2-giant-opt-patch16-384', init='random').config
    assert (config.text_config.hidden_size, config.vision_config.hidden_size) == (1152, 1536)


# ---- random weights --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('load', 'config'),
    [
        (load_siglip, tiny_towers.siglip_config()),
        (load_sam, tiny_towers.sam2_config()),
        (load_sam, tiny_towers.sam_config()),
    ],
)
def test_random_weights_follow_torchs_seed(load, config):
    models = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        models.append(load(config, init='random').state_dict())
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    assert any(not torch.equal(models[0][key], models[2][key]) for key in models[0])
    assert all(torch.isfinite(value).all() for value in models[0].values())


def test_no_pooling_head_and_mask_0_always():
    siglip = load_siglip(tiny_towers.siglip_config(), init='random')
    assert not hasattr(siglip.vision_model, 'head')
    sam = load_sam(tiny_towers.sam2_config(), init='random')
    assert sam.mask_decoder.dynamic_multimask_via_stability is False


def test_positions_of_image_and_prompts_share_one_basis():
    sam = load_sam(tiny_towers.sam2_config(), init='random')
    assert torch.equal(
        sam.prompt_encoder.shared_embedding.positional_embedding,
        sam.shared_image_embedding.positional_embedding,
    )


def test_random_weights_from_a_folders_config(tmp_path):
    folder = tiny_towers.write_siglip(tmp_path)
    (folder / 'model.safetensors').unlink()
    assert load_siglip(folder, init='random').config.text_config.vocab_size == 18


# ---- pretrained weights ----------------------------------------------------------------------


@pytest.mark.parametrize('generation', [1, 2])
def test_siglip_loads_from_a_folder(tmp_path, generation):
    folder = tiny_towers.write_siglip(tmp_path, generation=generation)
    model = load_siglip(str(folder))
    saved = tiny_towers.load_file(folder / 'model.safetensors')
    assert any(key.startswith('vision_model.head.') for key in saved)  # as the hub has it
    for key, value in model.state_dict().items():
        assert torch.equal(value, saved[key]), key


@pytest.mark.parametrize(
    'write', [tiny_towers.write_sam2, tiny_towers.write_sam2_video, tiny_towers.write_sam]
)
def test_sam_loads_from_a_folder(tmp_path, write):
    folder = write(tmp_path)
    model = load_sam(folder)
    saved = tiny_towers.load_file(folder / 'model.safetensors')
    for key, value in model.named_parameters():
        if key in saved:
            assert torch.equal(value, saved[key]), key
    assert not any('memory_attention' in key for key in model.state_dict())
    if write is not tiny_towers.write_sam:
        assert model.mask_decoder.dynamic_multimask_via_stability is False


def test_the_hubs_video_model_gives_the_image_model(tmp_path):
    image = load_sam(tiny_towers.write_sam2(tmp_path / 'image', seed=1))
    video = tiny_towers.write_sam2_video(tmp_path / 'video')
    saved = tiny_towers.load_file(video / 'model.safetensors')
    same = {key: value for key, value in image.state_dict().items() if key in saved}
    tiny_towers.edit_weights(video, drop=tuple(same), add=same)
    model = load_sam(video)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        a, b = (
            m(
                pixel_values=pixels,
                input_points=torch.tensor([[[[9.0, 20.0]]]]),
                multimask_output=False,
            ).pred_masks
            for m in (image, model)
        )
    assert torch.equal(a, b)


def test_float32_whatever_the_folder_says(tmp_path):
    folder = tiny_towers.write_siglip(tmp_path)
    half = {
        key: value.bfloat16() if value.is_floating_point() else value
        for key, value in tiny_towers.load_file(folder / 'model.safetensors').items()
    }
    tiny_towers.edit_weights(folder, drop=tuple(half), add=half)
    tiny_towers.edit_config(folder, dtype='bfloat16')
    for init in ('pretrained', 'random'):
        model = load_siglip(folder, init=init)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_folder_inside_the_package_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, 'PACKAGE', tmp_path)
    tiny_towers.write_siglip(tmp_path / 'towers' / 'siglip')
    load_siglip('towers/siglip')
    assert load_tokenizer('towers/siglip', init='random').vocab_size == 18


# ---- what a user can get wrong ---------------------------------------------------------------


@pytest.fixture
def no_hub(tmp_path, monkeypatch):
    """An empty cache, an empty working directory, and a hub that accepts and never answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    monkeypatch.setattr(hub, 'PROBE_SECONDS', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as server:
        endpoint = f'http://127.0.0.1:{server.getsockname()[1]}'
        monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', endpoint)
        monkeypatch.setattr(
            'huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE',
            endpoint + '/{repo_id}/resolve/{revision}/{filename}',
        )
        yield SimpleNamespace(endpoint=endpoint, server=server)


def files_asked(server):
    """The files that were asked of a server which never answered."""
    server.setblocking(False)
    while True:
        try:
            request = server.accept()[0].recv(4096).decode()
        except BlockingIOError:
            return
        if request.startswith('HEAD'):  # the client also has a question of its own
            yield request.split()[1]


@pytest.mark.parametrize(
    ('load', 'name'),
    [(load_siglip, FULL), (load_sam, 'facebook/sam2.1-hiera-large'), (load_tokenizer, FULL)],
)
def test_unreachable_hub_is_one_line_and_asked_once(load, name, no_hub, tmp_path):
    """The hub's own client would ask again for minutes."""
    message = user_error(load, name)
    assert list(files_asked(no_hub.server)) == [f'/{name}/resolve/main/config.json']
    for part in (
        f'`hf download {name}`',
        str(tmp_path / name),
        str(tmp_path / 'cache'),
        no_hub.endpoint,
        'does not answer',
        'HF_HUB_OFFLINE',
        'HF_HOME',
        'HF_ENDPOINT',
    ):
        assert part in message


def test_offline_mode_says_so(no_hub, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert 'HF_HUB_OFFLINE forbids the network' in user_error(load_siglip, FULL)


def test_a_cached_checkpoint_needs_no_network(no_hub, tmp_path):
    cache = tmp_path / 'cache' / 'models--owner--tiny'
    folder = tiny_towers.write_siglip(cache / 'snapshots' / 'abc')
    (cache / 'refs').mkdir()
    (cache / 'refs' / 'main').write_text('abc')
    load_siglip('owner/tiny')
    assert load_tokenizer('owner/tiny').vocab_size == 18
    (folder / 'model.safetensors').unlink()  # an interrupted download
    assert 'owner/tiny' in user_error(load_siglip, 'owner/tiny')


@pytest.mark.parametrize(
    ('load', 'name', 'near'),
    [
        (load_siglip, 'google/siglip2-so400m-patch16-51', FULL),
        (load_sam, 'facebook/sam2.1-hiera-larg', 'facebook/sam2.1-hiera-large'),
        (load_tokenizer, 'google/siglip2-so400m-patch16-5112', FULL),
    ],
)
def test_unknown_hub_name_lists_near_matches(load, name, near):
    message = user_error(load, name, init='random')
    assert repr(name) in message and f'did you mean {near}' in message


def test_one_family_for_the_other(tmp_path):
    sam, siglip = tiny_towers.write_sam2(tmp_path / 'a'), tiny_towers.write_siglip(tmp_path / 'b')
    assert "'sam2', wanted a SigLIP" in user_error(load_siglip, sam)
    assert "'siglip', wanted a SAM2" in user_error(load_sam, siglip)
    assert 'is a SAM2 or SAM model' in user_error(
        load_siglip, 'facebook/sam-vit-base', init='random'
    )
    assert 'wanted a SigLIP' in user_error(load_tokenizer, sam, init='random')


def test_missing_unexpected_and_mismatched_weights_are_counted_and_named(tmp_path):
    folder = tiny_towers.write_siglip(tmp_path)
    tiny_towers.edit_weights(
        folder,
        drop=('text_model.head.weight', 'text_model.head.bias'),
        add={'text_model.stray': torch.zeros(1), 'logit_scale': torch.zeros(7)},
    )
    message = user_error(load_siglip, folder)
    assert '2 missing: text_model.head.bias, text_model.head.weight' in message
    assert '1 unexpected: text_model.stray' in message
    assert '1 of another shape: logit_scale: (7,) in the file, (1,) by the config' in message


@pytest.mark.parametrize(
    ('name', 'content', 'says'),
    [
        ('config.json', '{"model_type": ', 'config.json: no JSON'),
        ('config.json', '[]', 'config.json: expected object, got array'),
        ('model.safetensors', 'not a weight file', 'weights in'),
    ],
)
def test_broken_files(tmp_path, name, content, says):
    folder = tiny_towers.write_siglip(tmp_path)
    (folder / name).write_text(content)
    message = user_error(load_siglip, folder)
    assert says in message and str(folder) in message


def test_incomplete_folders(tmp_path):
    assert 'has no config.json' in user_error(load_siglip, tmp_path)
    folder = tiny_towers.write_siglip(tmp_path / 'a')
    (folder / 'tokenizer.json').unlink()
    (folder / 'model.safetensors').unlink()
    assert 'lacks model.safetensors' in user_error(load_siglip, folder)
    assert 'lacks tokenizer.json' in user_error(load_tokenizer, folder)
    assert 'not a folder' in user_error(load_siglip, 'no/such/folder')


# (a part of the config or none, key, value) -> what the line names
BAD_FIELDS = [
    (None, 'model_type', ['siglip'], 'model_type: expected str'),
    (None, 'text_config', 5, 'text_config: expected object'),
    (None, 'text_config', None, 'its files hold'),  # the default, of 110 million weights
    ('text_config', 'num_hidden_layers', 10**9, 'text_config.num_hidden_layers'),
    ('text_config', 'num_hidden_layers', 10**30, 'text_config.num_hidden_layers'),
    ('vision_config', 'hidden_size', 2**16, 'its files hold'),
    ('vision_config', 'patch_size', 0, 'vision_config.patch_size'),
    ('vision_config', 'hidden_act', 'nope', 'no model can be built'),
]


@pytest.mark.parametrize(('part', 'key', 'value', 'says'), BAD_FIELDS)
def test_fields_of_a_config_are_checked_before_memory_is_asked(
    towers, tmp_path, part, key, value, says
):
    config = json.loads((towers.siglip / 'config.json').read_text())
    (config[part] if part else config)[key] = value
    folder = copy_of(towers.siglip, tmp_path)
    (folder / 'config.json').write_text(json.dumps(config))
    message = user_error(load_siglip, folder)
    assert says in message and str(folder) in message


def copy_of(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / 'tower')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        (part, key)
        for part in ('text_config', 'vision_config')
        for key in (
            'hidden_size',
            'num_hidden_layers',
            'num_attention_heads',
            'image_size',
            'patch_size',
            'hidden_act',
            'layer_norm_eps',
            'vocab_size',
            'model_type',
        )
    ]
    + [(None, key) for key in ('model_type', 'text_config', 'vision_config', 'projection_dim')]
)


@settings(max_examples=12, deadline=None)
@given(field=FIELDS, value=JSON)
def test_any_value_in_a_config_is_read_or_one_line(field, value):
    part, key = field
    config = tiny_towers.siglip_config()
    (config[part] if part else config)[key] = value
    try:
        made = make_config('siglip', config, 'x/config.json')
        count_weights('siglip', made, 'x/config.json')
    except UserError as error:
        assert 'x/config.json' in str(error) and '\n' not in str(error)


@pytest.mark.parametrize(
    ('index', 'says'),
    [
        ('{', 'no JSON'),
        ('[' * 100_000, 'nested too deep'),
        ('[]', 'expected object'),
        ('{}', 'weight_map'),
        ('{"metadata": {}, "weight_map": {"a": 5}}', 'expected str'),
        (
            '{"metadata": {}, "weight_map": {"a": "../other/model.safetensors"}}',
            'out of its folder',
        ),
        ('{"metadata": {}, "weight_map": {"a": "/other/model.safetensors"}}', 'out of its folder'),
    ],
)
def test_an_index_is_held_to_its_schema_and_folder(towers, tmp_path, index, says):
    folder = copy_of(towers.siglip, tmp_path)
    (folder / 'model.safetensors').unlink()
    (folder / 'model.safetensors.index.json').write_text(index)
    message = user_error(load_siglip, folder)
    assert says in message and 'model.safetensors.index.json' in message


@pytest.mark.parametrize(
    'name',
    ['tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json', 'notes.txt'],
)
def test_a_fifo_in_a_tower_is_not_opened(towers, tmp_path, name):
    folder = copy_of(towers.siglip, tmp_path)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for load in (load_siglip, load_tokenizer):
        message = user_error(load, folder)
        assert name in message and 'FIFO' in message


@pytest.mark.parametrize('size', [0, 8, 1000, -1000])
def test_weights_that_end_early(towers, tmp_path, size):
    folder = copy_of(towers.siglip, tmp_path)
    whole = (folder / 'model.safetensors').read_bytes()
    (folder / 'model.safetensors').write_bytes(whole[:size])
    assert 'cannot be read' in user_error(load_siglip, folder)


def test_weights_with_nan_and_token_ids_beyond_the_tower(towers, tmp_path):
    folder = copy_of(towers.siglip, tmp_path)
    tiny_towers.edit_weights(folder, add={'logit_bias': torch.full((1,), torch.nan)})
    assert 'NaN or infinite, logit_bias' in user_error(load_siglip, folder)
    content = json.loads((folder / 'tokenizer.json').read_text())
    content['model']['vocab']['car'] = 10**6
    (folder / 'tokenizer.json').write_text(json.dumps(content))
    assert '1000001 tokens' in user_error(load_tokenizer, folder)


@pytest.mark.parametrize(
    ('config', 'says'),
    [
        ({'text_confg': {}}, "unknown key 'text_confg' (did you mean text_config?)"),
        ({'text_config': {'hiden_size': 8}}, "text_config: unknown key 'hiden_size'"),
        ({'text_config': {'hidden_size': 'wide'}}, 'text_config.hidden_size: expected int'),
        ({'text_config': {'hidden_size': 64, 'num_attention_heads': 7}}, 'divisible by num_heads'),
        ({'text_config': {'hidden_act': 'wide'}}, "KeyError: 'wide'"),
    ],
)
def test_wrong_dicts(config, says):
    assert says in user_error(load_siglip, config, init='random')


def test_wrong_key_in_sam2s_backbone():
    config = tiny_towers.sam2_config()
    config['vision_config']['backbone_config']['hiden_size'] = 8
    assert "backbone_config: unknown key 'hiden_size'" in user_error(
        load_sam, config, init='random'
    )


def test_a_dict_has_no_weights():
    for load in (load_siglip, load_tokenizer):
        assert "init='random'" in user_error(load, tiny_towers.siglip_config())
    with pytest.raises(ValueError, match="'imagenet'"):
        load_sam(tiny_towers.sam2_config(), init='imagenet')


# ---- tokenizers ------------------------------------------------------------------------------


def check_encoding(tokenizer, sentence: str, n_tokens: int) -> None:
    """Right padding, eos last, lengths with eos; cutting keeps eos and is counted."""
    ids, lengths, n_cut = tokenizer.encode([sentence, sentence + ' ' + sentence], 16)
    assert ids.shape == (2, 16) and ids.dtype == lengths.dtype == torch.int64
    assert lengths.tolist() == [n_tokens + 1, 2 * n_tokens + 1] and n_cut == 0
    for row, length in zip(ids, lengths, strict=True):
        assert row[length - 1] == tokenizer.eos_id
        assert (row[length:] == tokenizer.pad_id).all()
        assert (row[: length - 1] != tokenizer.eos_id).all()
    assert torch.equal(tokenizer.encode([sentence], 16)[0][0], ids[0])  # alone as in a batch
    cut, lengths, n_cut = tokenizer.encode([sentence, sentence], n_tokens)
    assert n_cut == 2 and lengths.tolist() == [n_tokens] * 2
    assert torch.equal(cut[0, :-1], ids[0, : n_tokens - 1]) and cut[0, -1] == tokenizer.eos_id


@pytest.mark.parametrize('generation', [1, 2])
def test_word_tokenizer(tmp_path, generation):
    folder = tiny_towers.write_siglip(tmp_path, generation=generation)
    tokenizer = load_tokenizer(folder)
    check_encoding(tokenizer, 'The red car.', 4)
    assert (tokenizer.pad_id == tokenizer.eos_id) == (generation == 1)
    ids = tokenizer.encode(['the zebra, the RED car'], 16)[0][0].tolist()
    assert ids[:7] == [3, 2, 16, 3, 5, 7, 1]  # 2 is <unk>
    assert load_tokenizer(folder, init='random').vocab_size == tokenizer.vocab_size


def test_words_must_be_words(tmp_path):
    for word in ('Red', 'two words', ''):
        with pytest.raises(ValueError, match='single lower-case'):
            write_word_tokenizer(tmp_path, [word])


def test_siglip_1_tokenizer(tmp_path):
    """A sentencepiece model: padding is eos, so only the tokenizer's count tells the length."""
    sentencepiece = pytest.importorskip('sentencepiece')
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(['the red car', 'a blue ship on the left'] * 20),
        model_prefix=str(tmp_path / 'spiece'),
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    (tmp_path / 'config.json').write_text(json.dumps(tiny_towers.siglip_config()))
    (tmp_path / 'tokenizer_config.json').write_text(
        json.dumps(
            {
                'tokenizer_class': 'SiglipTokenizer',
                'eos_token': '</s>',
                'pad_token': '</s>',
                'unk_token': '<unk>',
            }
        )
    )
    tokenizer = load_tokenizer(tmp_path)
    kept = load_tokenizer(tmp_path, keep_case=True)
    assert tokenizer.sentence_ids('Red') == tokenizer.sentence_ids('red')
    assert kept.sentence_ids('Red') != kept.sentence_ids('red') == tokenizer.sentence_ids('red')
    assert tokenizer.pad_id == tokenizer.eos_id == 1
    n_tokens = len(tokenizer.sentence_ids('red'))
    ids, lengths, _ = tokenizer.encode(['red', 'the red car'], 16)
    assert lengths[0] == n_tokens + 1 and (ids[0, n_tokens:] == 1).all()


def test_siglip_2_tokenizer_pads_on_the_right(tmp_path):
    """transformers' class pads on the left by default."""
    from transformers import Siglip2Tokenizer

    vocabulary = {'<pad>': 0, '<eos>': 1, '<bos>': 2, '<unk>': 3, '<mask>': 4}
    for letter in '▁abcdefghijklmnopqrstuvwxyz.':
        vocabulary[letter] = len(vocabulary)
    Siglip2Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(str(tmp_path))
    (tmp_path / 'config.json').write_text(json.dumps(tiny_towers.siglip_config()))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.tokenizer.padding_side == 'left'
    ids, lengths, _ = tokenizer.encode(['Red car.'], 16)
    assert lengths.tolist() == [9] and ids[0, 8] == 1 and (ids[0, 9:] == 0).all()


def write_letters(folder, kind):
    """A tokenizer of letters, small and capital, of one of transformers' classes."""
    from transformers import GemmaTokenizer, Siglip2Tokenizer

    letters = [*'▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.']
    names = ['<pad>', '<eos>', '<bos>', '<unk>', '<mask>', *letters]
    make = {'Siglip2Tokenizer': Siglip2Tokenizer, 'GemmaTokenizer': GemmaTokenizer}[kind]
    make(vocab={name: i for i, name in enumerate(names)}, merges=[]).save_pretrained(str(folder))
    config = tiny_towers.siglip_config()
    config['text_config']['vocab_size'] = len(names) + 4
    (folder / 'config.json').write_text(json.dumps(config))


@pytest.mark.parametrize(
    ('kind', 'lowers'), [('Siglip2Tokenizer', True), ('GemmaTokenizer', False)]
)
def test_the_case_is_kept_whatever_the_class(tmp_path, kind, lowers):
    """`keep_case` switches off what transformers' SigLIP 2 class does by itself, and no more."""
    write_letters(tmp_path, kind)
    own, kept = load_tokenizer(tmp_path), load_tokenizer(tmp_path, keep_case=True)
    assert (own.sentence_ids('Red Car.') == own.sentence_ids('red car.')) is lowers
    assert kept.sentence_ids('Red Car.') != kept.sentence_ids('red car.')
    assert kept.sentence_ids('red car.') == own.sentence_ids('red car.')


def test_the_case_is_kept_by_the_word_tokenizer_and_the_stand_in(tmp_path):
    folder = tiny_towers.write_siglip(tmp_path, words=['red', 'car'])
    own, kept = load_tokenizer(folder), load_tokenizer(folder, keep_case=True)
    assert own.sentence_ids('Red car') == own.sentence_ids('red car') == [3, 4]
    assert kept.sentence_ids('Red car') == [2, 4] and kept.sentence_ids('red car') == [3, 4]
    for keep_case in (False, True):
        stand_in = load_tokenizer(FULL, init='random', keep_case=keep_case)
        same = stand_in.sentence_ids('Red car') == stand_in.sentence_ids('red car')
        assert same is not keep_case


def test_tokenizer_larger_than_its_tower(tmp_path):
    folder = tiny_towers.write_siglip(tmp_path)
    write_word_tokenizer(folder, ['a', *(f'w{i}' for i in range(40))])
    assert '44 tokens, its text tower only 18' in user_error(load_tokenizer, folder)


def test_stand_in_has_the_real_vocabulary():
    tokenizer = load_tokenizer(FULL, init='random')
    assert isinstance(tokenizer, StandInTokenizer)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (256000, 0, 1)
    check_encoding(tokenizer, 'The red car.', 4)
    ids = tokenizer.encode(['The red car.'], 16)[0][0]
    assert ids[:5].tolist() == [254878, 47095, 192697, 4470, 1]  # the same on every machine
    one = load_tokenizer('google/siglip-so400m-patch14-384', init='random')
    assert (one.vocab_size, one.pad_id, one.eos_id) == (32000, 1, 1)


def test_stand_in_stays_inside_the_vocabulary_and_off_the_reserved_ids():
    tokenizer = StandInTokenizer(vocab_size=12, pad_id=5, eos_id=6)
    words = ' '.join(f'word{i}' for i in range(300))
    ids, lengths, n_cut = tokenizer.encode([words], 400)
    assert lengths[0] == 301 and n_cut == 0
    assert set(ids[0, :300].tolist()) <= {4, 7, 8, 9, 10, 11}


def test_no_stand_in_for_pretrained_towers(tmp_path, no_hub):
    assert 'hf download' in user_error(load_tokenizer, FULL)
    folder = tiny_towers.write_siglip(tmp_path / 'siglip')
    (folder / 'tokenizer.json').unlink()
    assert 'lacks' in user_error(load_tokenizer, folder)


def test_empty_sentence():
    tokenizer = load_tokenizer(tiny_towers.siglip_config(), init='random')
    assert 'is empty' in user_error(tokenizer.encode, ['a car', '  '], 16)
