"""The public release's numbers: one tiny case of its prompter and losses, one of SAM2.

The files lie beside the repository, in shared/fixtures; without them these tests are skipped.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from rsrefseg2.models.losses import OrthogonalLoss, SampleContrastLoss
from rsrefseg2.models.mask_generator import MaskGenerator
from rsrefseg2.models.prompter import CascadedPrompter, InterleavedPrompter
from rsrefseg2.models.symbols import (
    EncodedImages,
    EncodedText,
    Prompts,
    RefSegOutputs,
    Targets,
    TowerSpec,
)
from rsrefseg2.publishing.official_layout import place_model, to_official, to_ours
from tests import official
from tests.reference import release, sam2
from tests.test_models.prompter_cases import load_reference
from tests.test_models.release_names import transformers_state

FIXTURES = Path(__file__).resolve().parents[3] / 'shared' / 'fixtures'
GRID, PROMPT = (6, 6), (24, 24)
TOWERS = TowerSpec(
    d1=32, d2=16, grid_size=GRID, prompt_size=PROMPT, logit_scale=0.0, logit_bias=0.0
)
SYMBOLS = {
    't1': 'text_queries1',
    't2': 'text_queries2',
    'v1_act': 'visual_first_order',
    'v2_act': 'visual_second_order',
    'p_sparse': 'sparse_prompts',
    'p_dense': 'dense_prompts',
}


def load(name):
    """(state, in, out) of a fixture, as dicts of tensors."""
    path = FIXTURES / name
    if not path.is_file():
        pytest.skip(f'{name} is not at {path}')
    parts = {'state': {}, 'in': {}, 'out': {}}
    with np.load(path) as file:
        for key in file.files:
            part, name = key.split('/', 1)
            parts[part][name] = torch.from_numpy(np.asarray(file[key]))
    return parts['state'], parts['in'], parts['out']


def assert_close(found, expected, tolerance):
    difference = (found - expected).abs().max().item()
    assert found.shape == expected.shape and difference < tolerance, difference


# --- the prompter and its losses -----------------------------------------------------------------


def test_reference_equals_the_release():
    """The transcriptions themselves: what the other tests are measured with."""
    state, given, out = load('release_prompter.npz')
    found = release.release_prompter(
        state,
        given['visual'],
        given['t_word'],
        given['t_sent'],
        given['logit_scale'],
        given['logit_bias'],
        size=GRID,
        out_size=PROMPT,
    )
    for ours, theirs in SYMBOLS.items():
        assert_close(found[ours], out[theirs], 1e-9)
    ortho, contrast = release.release_losses(
        out['text_queries1'],
        out['text_queries2'],
        given['visual'],
        given['mask'],
        given['nce_logit_scale'],
        given['nce_logit_bias'],
        size=GRID,
    )
    assert_close(ortho, out['loss_ortho'], 1e-9)
    assert_close(contrast, out['loss_sample_nce'], 1e-9)


def release_variant(state, given, kind=InterleavedPrompter, **options):
    options = (
        dict(
            decomposition=dict(mask_words=False),
            visual_position='query_key',
            dense=dict(activation='gelu', align_corners=True),
        )
        | options
    )
    prompter = (
        kind(towers=TOWERS, n_t=3, n_p=9, inner=32, heads=8, mlp_hidden=24, **options)
        .double()
        .eval()
    )
    load_reference(
        prompter, release.reference_weights(state, given['logit_scale'], given['logit_bias'])
    )
    return prompter


def run_release_variant(**options):
    state, given, out = load('release_prompter.npz')
    mask = torch.ones(given['t_word'].shape[:2], dtype=torch.bool)
    mask[1, 4:] = False  # the release reads the padding too
    with torch.no_grad():
        found = release_variant(state, given, **options)(
            given['visual'], EncodedText(given['t_word'], mask, given['t_sent'])
        )
    return found._asdict(), out | {'dense_prompts': out['dense_prompts'][:, 0]}


def test_prompter_equals_the_release():
    found, out = run_release_variant()
    for ours, theirs in SYMBOLS.items():
        assert_close(found[ours], out[theirs], 1e-9)


@pytest.mark.parametrize(
    'option, symbol',
    [
        (dict(decomposition={}), 't1'),
        (dict(kind=CascadedPrompter), 'p_sparse'),
        (dict(visual_position='add'), 'v1_act'),
        (dict(dense=dict(activation='relu', align_corners=True)), 'p_dense'),
        (dict(dense=dict(activation='gelu', align_corners=False)), 'p_dense'),
    ],
    ids=str,
)
def test_every_option_of_the_release_matters(option, symbol):
    """The paper's choice instead of the release's is seen at once."""
    found, out = run_release_variant(**option)
    assert (found[symbol] - out[SYMBOLS[symbol]]).abs().max() > 1e-4


def test_losses_equal_the_release():
    _, given, out = load('release_prompter.npz')
    t1, t2 = out['text_queries1'], out['text_queries2']
    index = torch.arange(len(t1))
    outputs = RefSegOutputs(
        EncodedImages(given['visual'], None, None),
        index,
        None,
        Prompts(t1, t2, None, None, None, None, None, None),
        None,
        None,
        GRID,
    )
    targets = Targets(list(given['mask']), index)
    contrast = SampleContrastLoss(variant='release').double()
    with torch.no_grad():
        contrast.logit_scale.fill_(given['nce_logit_scale'].log())
    assert_close(OrthogonalLoss()(outputs, targets)['loss_ortho'], out['loss_ortho'], 1e-9)
    assert_close(contrast(outputs, targets)['loss_sample'], out['loss_sample_nce'], 1e-9)


# --- SAM2 ----------------------------------------------------------------------------------------

SAM2 = dict(
    model_type='sam2',
    vision_config=dict(
        backbone_config=dict(
            hidden_size=16,
            num_attention_heads=1,
            image_size=[64, 64],
            blocks_per_stage=[1, 2, 3, 2],
            embed_dim_per_stage=[16, 32, 64, 128],
            num_attention_heads_per_stage=[1, 2, 4, 8],
            window_size_per_stage=[8, 4, 4, 2],
            global_attention_blocks=[4, 5],
            window_positional_embedding_background_size=[4, 4],
        ),
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    ),
    prompt_encoder_config=dict(
        hidden_size=32, image_size=64, patch_size=16, mask_input_channels=16
    ),
    mask_decoder_config=dict(
        hidden_size=32, num_attention_heads=4, mlp_dim=64, iou_head_hidden_dim=32
    ),
)


@pytest.mark.parametrize('training', [False, True])
def test_mask_generator_equals_sam2(training):
    """Image features and mask token 0; in training too, where the token must be the same."""
    state, given, out = load('release_sam2.npz')
    generator = MaskGenerator(checkpoint=SAM2, init='random').train(training)
    generator.sam.load_state_dict(transformers_state(state))  # strict: no name left over
    with torch.no_grad():
        embeddings, high_resolution = generator.encode_images(given['image'])
        logits = generator(
            embeddings, high_resolution, given['sparse'], given['dense_logits'][:, 0]
        )
    assert_close(embeddings, out['image_embeddings'], 1e-5)
    assert_close(high_resolution[0], out['high_res_0'], 1e-5)
    assert_close(high_resolution[1], out['high_res_1'], 1e-5)
    assert_close(logits, out['mask_logits'][:, 0], 1e-5)


def test_memory_embedding_and_high_resolution_matter():
    """Without the one or the other the masks are other masks: the case above can fail."""
    state, given, out = load('release_sam2.npz')
    generator = MaskGenerator(checkpoint=SAM2, init='random').eval()
    generator.sam.load_state_dict(transformers_state(state))
    with torch.no_grad():
        embeddings, high = generator.encode_images(given['image'])
        for wrong in (
            (embeddings - generator.sam.no_memory_embedding.reshape(1, -1, 1, 1), high),
            (embeddings, [0 * x for x in high]),
        ):
            logits = generator(*wrong, given['sparse'], given['dense_logits'][:, 0])
            assert (logits - out['mask_logits'][:, 0]).abs().max() > 1e-4


def test_reference_equals_sam2():
    """The transcription with which whole checkpoints are compared (tests/test_apis)."""
    state, given, out = load('release_sam2.npz')
    embeddings, high_resolution = sam2.encode_image(
        given['image'],
        state,
        dict(stages=(1, 2, 3, 2), heads=1, windows=(8, 4, 4, 2), global_blocks=(4, 5)),
    )
    logits = sam2.decode(
        embeddings, high_resolution, given['sparse'], given['dense_logits'], state, 4
    )
    assert_close(embeddings, out['image_embeddings'], 1e-5)
    assert_close(high_resolution[0], out['high_res_0'], 1e-5)
    assert_close(high_resolution[1], out['high_res_1'], 1e-5)
    assert_close(logits, out['mask_logits'][:, 0], 1e-6)


# --- through the converter -----------------------------------------------------------------------


def convert(module, prefix, state):
    """The module with the release's weights, placed by the converter; every one is used, and the
    way back gives the same."""
    placing = place_model({prefix + k: v for k, v in module.state_dict().items()}, GRID)
    assert not placing.homeless and set(placing.shapes) == set(state)
    assert placing.shapes == {k: tuple(v.shape) for k, v in state.items()}
    ours = to_ours(state, placing)
    module.load_state_dict({k.removeprefix(prefix): v for k, v in ours.items()})
    back = to_official(ours, placing)
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_the_prompter_through_the_converter():
    state, given, out = load('release_prompter.npz')
    prompter = (
        InterleavedPrompter(
            towers=TOWERS,
            n_t=3,
            n_p=9,
            inner=32,
            heads=8,
            mlp_hidden=24,
            dense=dict(activation='gelu', align_corners=True),
        )
        .double()
        .eval()
    )
    siglip = 'clip_text_encoder.base_model.model'
    convert(
        prompter,
        'prompter.',
        {f'prompter.{k}': v for k, v in state.items()}
        | {f'{siglip}.{name}': given[name].reshape(1) for name in ('logit_scale', 'logit_bias')},
    )
    mask = torch.ones(given['t_word'].shape[:2], dtype=torch.bool)
    with torch.no_grad():
        found = prompter(given['visual'], EncodedText(given['t_word'], mask, given['t_sent']))
    for ours, theirs in SYMBOLS.items():
        wanted = out[theirs][:, 0] if ours == 'p_dense' else out[theirs]
        assert_close(getattr(found, ours), wanted, 1e-9)


def test_sam2_through_the_converter():
    state, given, out = load('release_sam2.npz')
    generator = MaskGenerator(checkpoint=SAM2, init='random').eval()
    wrapped = {
        'backbone.model.' + k.replace('image_encoder.', 'image_encoder.base_model.model.'): v
        for k, v in state.items()
    }
    convert(generator, 'mask_generator.', wrapped)
    with torch.no_grad():
        embeddings, high_resolution = generator.encode_images(given['image'])
        logits = generator(
            embeddings, high_resolution, given['sparse'], given['dense_logits'][:, 0]
        )
    assert_close(embeddings, out['image_embeddings'], 1e-5)
    assert_close(logits, out['mask_logits'][:, 0], 1e-5)


def test_the_names_of_the_made_up_checkpoint_are_the_fixtures():
    """tests/official.py writes them down by rule; at the fixtures' sizes they are the same."""

    def shapes(state):
        return {name: tuple(value.shape) for name, value in state.items()}

    assert shapes(load('release_prompter.npz')[0]) == official.prompter_shapes(
        d1=32, d2=16, inner=32, hidden=24, grid=6
    )
    encoder = official.image_encoder_shapes(width=16, stages=(1, 2, 3, 2), d2=32, window=8)
    assert shapes(load('release_sam2.npz')[0]) == {
        **{f'image_encoder.{name}': shape for name, shape in encoder.items()},
        **official.prompts_and_decoder_shapes(d2=32, mask_channels=16, iou_hidden=32),
    }
