"""The release's checkpoints without its weights: a file in its layout from random weights, the same
forward by plain functions on its own names (tests/reference/release.py), and the way back."""

import copy
import json
import os
import re
import zipfile

import pytest
import torch

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.diagnostics.oracle import oracle_scores
from rsrefseg2.engine import load_config, load_model
from rsrefseg2.errors import UserError
from rsrefseg2.publishing import from_release, to_release
from rsrefseg2.publishing.official_checkpoint import Skipped, _check, read_release
from rsrefseg2.publishing.official_layout import place_model, to_official, to_ours, why_unused
from tests import official
from tests.reference.release import release_forward, release_images, release_mask, release_recipe
from tests.test_models.release_names import transformers_state
from tests.test_models.tiny_model import items

from .release_cases import write_official, write_release_config

SYMBOLS = ('t1', 't2', 't1_act', 'v1_act', 't2_act', 'v2_act', 'p_sparse')
SIDE = 48  # of the images: as in the benchmarks, smaller than SAM's


@pytest.fixture(scope='module')
def state():
    return official.official_state()


@pytest.fixture(scope='module')
def converted(state, tmp_path_factory):
    """(config, the release's file, ours, the report)."""
    folder = tmp_path_factory.mktemp('release')
    cfg = load_config(str(write_release_config(folder / 'rrsisd.py')))
    theirs, ours = write_official(folder / 'official.pth', state), folder / 'ours.pth'
    report = from_release(str(theirs), str(ours), cfg=cfg, dataset='rrsisd')
    return cfg, theirs, ours, report


@pytest.fixture(scope='module')
def model(converted):
    """Not to be changed."""
    return load_model(converted[0], converted[2], 'cpu')


# ------------------------------------------------------------------ the proof, end to end


def items_of(which=range(4), shape=(SIDE, SIDE)):
    """Images of one size, as the release stacks its annotations; two sentences share one."""
    found = items(which)
    for i, item in enumerate(found):
        seed = torch.Generator().manual_seed(10 + min(i, 2))
        item['inputs'] = torch.randint(0, 256, (3, *shape), generator=seed, dtype=torch.uint8)
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[3 + 5 * i : 30 + 2 * i, 4 : 25 + 5 * i] = True
        item['data_samples'].gt_mask = mask
        item['data_samples'].set_metainfo(dict(ori_shape=shape))
    return found


def both_ways(model, state, which=range(4), shape=(SIDE, SIDE)):
    """Our model's outputs and losses, and those of the plain functions."""
    samples = items_of(which, shape)
    data = model.data_preprocessor(unique_images_collate(samples))
    with torch.no_grad():
        found = model(data['inputs'])
        losses = model(**data, mode='loss')
        double = {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
        images = release_images([item['inputs'] for item in samples], 32, 64)
        wanted = release_forward(double, *images, data['inputs'].input_ids, sizes=official.SIZES)
        masks = torch.zeros(len(samples), max(shape), max(shape), dtype=torch.bool)
        masks[:, : shape[0], : shape[1]] = torch.stack(
            [item['data_samples'].gt_mask for item in samples]
        )
        wanted_losses = release_recipe(double, wanted, masks)
    return data, found, losses, wanted, wanted_losses


def relative(found, wanted):
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(
    ('dtype', 'tolerance', 'shape'),
    [
        (torch.float32, 1e-5, (SIDE, SIDE)),
        (torch.float64, 1e-6, (SIDE, SIDE)),
        (torch.float64, 1e-6, (SIDE, 41)),  # a border at the right
        (torch.float64, 1e-6, (35, SIDE)),  # and at the bottom
    ],
)
def test_the_converted_model_is_the_release(model, state, dtype, tolerance, shape):
    """In float64 what is left is the images, which are float32 in our preprocessor."""
    model = copy.deepcopy(model).to(dtype)
    data, found, losses, wanted, wanted_losses = both_ways(model, state, shape=shape)
    assert data['inputs'].input_ids.shape[1] == data['inputs'].lengths.max()  # the longest, eos too
    index = data['inputs'].image_index
    pairs = {name: (getattr(found.prompts, name), wanted[name]) for name in SYMBOLS} | {
        'v': (found.images.v[index], wanted['v']),
        't_word': (found.text.t_word, wanted['t_word']),
        't_sent': (found.text.t_sent, wanted['t_sent']),
        'image_embeddings': (found.images.image_embeddings[index], wanted['image_embeddings']),
        'p_dense': (found.prompts.p_dense, wanted['p_dense'][:, 0]),
        'mask_logits': (found.mask_logits, wanted['mask_logits']),
    }
    for name, (a, b) in pairs.items():
        assert relative(a, b) < tolerance, (name, relative(a, b))
    assert losses.keys() == wanted_losses.keys()
    for name in losses:
        assert float(losses[name]) == pytest.approx(float(wanted_losses[name]), rel=2e-5), name
    # the sentences and images matter, so that equality says something
    assert relative(found.mask_logits[[0]], found.mask_logits[[1]]) > 1e-2
    for i, sample in enumerate(model.predict(found, data['data_samples'])):
        mask = release_mask(wanted['mask_logits'][[i]], 64, shape)[0] > 0
        assert 0 < mask.float().mean() < 1
        assert (sample.pred_mask != mask).float().mean() < 1e-3  # a logit of nearly 0


def test_the_oracle_draws_inside_the_border(model):
    """The target, put into its padded square, as dense prompt: cropped it is the target again."""
    samples = items_of([0, 1], (SIDE, 36))
    data = model.data_preprocessor(unique_images_collate(samples))
    drawn = []

    def draw(images, features, p_sparse, p_dense):
        drawn.append(p_dense)
        return p_dense

    with torch.no_grad():
        outputs = model(data['inputs'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.mask_generator, 'forward', draw)
        rows = oracle_scores(model, [(outputs, data['data_samples'])])
    best = max(row['gIoU'] for row in rows)
    assert len(drawn) == len(rows) and best > 75, best  # a grid of 16 cells


HEAD = 'backbone.model.sam_mask_decoder.output_hypernetworks_mlps.0.layers.2.'
PROMISE = 'backbone.model.sam_mask_decoder.iou_prediction_head.layers.2.'


def with_stable_masks(state):
    """Mask token 0 with ten times the logits: two of the four masks are then stable, two not."""
    return state | {HEAD + name: 10 * state[HEAD + name] for name in ('weight', 'bias')}


def convert_into(model, state):
    model = copy.deepcopy(model)
    model.load_state_dict(to_ours(state, place_model(model.state_dict(), (4, 4))))
    return model


def test_the_stability_rule_of_the_release(model, state):
    """In validation and test, not in training; with the IoU head's and all masks' weights."""
    state = with_stable_masks(state)
    model = convert_into(model, state)
    _, found, _, wanted, _ = both_ways(model, state)
    assert wanted['tokens'] == [0, 2, 2, 0]
    assert relative(found.mask_logits, wanted['mask_logits']) < 1e-5
    model.mask_generator.train()  # all else would switch BatchNorm, too
    _, trained, *_ = both_ways(model, state)
    stable = torch.tensor([True, False, False, True])
    same = (trained.mask_logits - found.mask_logits).flatten(1).abs().amax(1) < 1e-5
    assert torch.equal(same, stable)


def test_the_rule_reads_the_promised_iou(model, state):
    """Promises of tokens 1 and 2 exchanged: the unstable masks come from token 1."""
    state = with_stable_masks(state)
    for name in ('weight', 'bias'):
        state[PROMISE + name] = state[PROMISE + name][[0, 2, 1, 3]]
    _, found, _, wanted, _ = both_ways(convert_into(model, state), state)
    assert wanted['tokens'] == [0, 1, 1, 0]
    assert relative(found.mask_logits, wanted['mask_logits']) < 1e-5


def test_a_prediction_depends_on_its_batch(model, state):
    """The release's habit, reproduced: the padding is read."""
    _, together, *_ = both_ways(model, state, [0, 1])
    _, alone, _, wanted, _ = both_ways(model, state, [0])
    assert relative(alone.mask_logits, wanted['mask_logits']) < 1e-5
    assert relative(alone.mask_logits, together.mask_logits[[0]]) > 1e-3


@pytest.mark.parametrize(
    ('a', 'b'),
    [
        ('prompter.text_query_pe_embedding1', 'prompter.text_query_pe_embedding2'),
        ('prompter.prompt_embedding', 'prompter.prompt_pe_embedding'),
        (
            'prompter.prompt_queries2_img_attn_layers.0.norm_prompt_2.weight',
            'prompter.prompt_queries2_img_attn_layers.0.norm_prompt_4.weight',
        ),
        (
            'prompter.two_queries_text_attn_layers.1.mlp_query1_2.layers.0.weight',
            'prompter.two_queries_text_attn_layers.1.mlp_query1_3.layers.0.weight',
        ),
        (
            'backbone.model.sam_mask_decoder.transformer.layers.0.norm2.weight',
            'backbone.model.sam_mask_decoder.transformer.layers.0.norm3.weight',
        ),
        (
            'backbone.model.image_encoder.base_model.model.trunk.blocks.0.norm1.weight',
            'backbone.model.image_encoder.base_model.model.trunk.blocks.0.norm2.weight',
        ),
        (
            'backbone.model.image_encoder.base_model.model.neck.convs.1.conv.lora_B.default.weight',
            'backbone.model.image_encoder.base_model.model.neck.convs.2.conv.lora_B.default.weight',
        ),
        (
            'clip_text_encoder.base_model.model.model.head.lora_B.default.weight',
            'clip_text_encoder.base_model.model.model.encoder.layers.0.self_attn.q_proj.lora_B.default'
            '.weight',
        ),
        (
            'clip_text_encoder.base_model.model.logit_scale',
            'clip_text_encoder.base_model.model.logit_bias',
        ),
    ],
)
def test_a_weight_in_a_wrong_place_is_seen(model, state, a, b):
    """The comparison above: with two of the release's weights exchanged the masks are others."""
    data = model.data_preprocessor(unique_images_collate(items_of([0, 1])))['inputs']
    placing = place_model(model.state_dict(), model.prompter.grid_size)
    swapped = to_ours(state | {a: state[b], b: state[a]}, placing)
    with torch.no_grad():
        wrong = torch.func.functional_call(model, swapped, (data,))
        assert relative(wrong.mask_logits, model(data).mask_logits) > 1e-4


# ------------------------------------------------------------------ round trip


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert torch.equal(a[name], b[name]), name


def test_there_and_back_is_the_identity(converted, state, tmp_path):
    """Every key, bit for bit; those without a use here too."""
    back = tmp_path / 'back.pth'
    report = to_release(str(converted[2]), str(back), cfg=converted[0], dataset='rrsisd')
    assert_identical(torch.load(back, weights_only=True)['state_dict'], state)
    assert report.notes == []


def test_every_weight_keeps_its_precision(model, state):
    """A file that ZeRO-2 in BF16 left may hold halves."""
    half = {
        k: v.bfloat16() if v.is_floating_point() else v
        for k, v in state.items()
        if why_unused(k) is None
    }
    placing = place_model(model.state_dict(), model.prompter.grid_size)
    ours = to_ours(half, placing)
    assert ours['prompter.visual_pe'].dtype == torch.bfloat16
    assert_identical(to_official(ours, placing), half)


def test_sams_names_equal_another_mapping(converted, state):
    """Those too that no prediction reads, as the heads of other masks."""
    plain = {}
    for name, value in state.items():
        if name.startswith('backbone.model.') and 'lora_' not in name:
            name = name.removeprefix('backbone.model.').replace('base_model.model.', '')
            plain[name.replace('.base_layer', '')] = value
    wanted = transformers_state(plain)
    ours = {
        k.removeprefix('mask_generator.sam.').replace('.base_layer', ''): v
        for k, v in torch.load(converted[2])['state_dict'].items()
        if k.startswith('mask_generator.') and 'lora_' not in k
    }
    assert_identical(ours, wanted)


def test_the_report_names_every_key_once(converted, state):
    *_, report = converted
    theirs = [name for names in report.placed.values() for name in names] + list(report.unused)
    shared = 'backbone.model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'
    assert sorted(theirs) == sorted([*state, shared])  # one serves image and prompts
    text = '\n'.join(report.lines())
    assert '741 keys of the release are 738 of ours' in text
    assert 'backbone.model.image_encoder -> mask_generator.sam.vision_encoder: 106 keys' in text
    assert '20 keys have no use here' in text
    assert re.search(
        r"17 \(clip_vision_encoder\S+head\.probe, \.\.\.\): the image tower's pooling", text
    )
    assert json.loads(json.dumps(report.to_dict()))['unused'] == report.unused


# ------------------------------------------------------------------ what is refused


def fails(cfg, path, tmp_path, dataset='rrsisd', convert=from_release, **options):
    out = tmp_path / 'out.pth'
    with pytest.raises(UserError) as caught:
        convert(str(path), str(out), cfg=cfg, dataset=dataset, **options)
    assert not out.exists()
    return str(caught.value).replace(str(path), 'F').replace(cfg.filename, 'CFG')


def test_a_key_without_a_place_a_missing_one_and_another_shape(converted, state, tmp_path):
    pooling = 'clip_vision_encoder.base_model.model.model.head'
    changed = dict(
        state, **{'prompter.extra.weight': torch.zeros(1), f'{pooling}.more': torch.zeros(1)}
    )
    pe = changed.pop('prompter.text_query_pe_embedding2')
    changed['prompter.text_query_pe_embedding1'] = pe[:2]
    path = write_official(tmp_path / 'a.pth', changed)
    assert fails(converted[0], path, tmp_path) == (
        'F is not a checkpoint of CFG: keys 2 without a place (prompter.extra.weight, '
        'clip_vision_encoder.base_model.model.model.head.more); 1 missing '
        '(prompter.text_query_pe_embedding2); 1 of another shape '
        '(prompter.text_query_pe_embedding1: (2, 32) in the file, (3, 32) by the config): nothing '
        'is written; if it is of another variant, give its config with --config'
    )


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (dict(more=torch.ones(2)), '1 without a place (more)'),
        ({'decode_head.logit_scale2': None}, '1 missing (decode_head.logit_scale2)'),
        (
            {'decode_head.logit_scale2': torch.ones(1)},
            '1 of another shape (decode_head.logit_scale2: (1,) in the file, () by the config)',
        ),
    ],
)
def test_one_fault_is_enough(converted, state, model, change, says):
    cfg = converted[0]
    changed = {k: v for k, v in (state | change).items() if v is not None}
    placing = place_model(model.state_dict(), model.prompter.grid_size)
    unused = [name for name in state if name not in placing.shapes]
    _check(state, placing, unused, 'F', cfg)
    with pytest.raises(UserError) as caught:
        _check(changed, placing, unused, 'F', cfg)
    assert f': keys {says}: nothing is written' in str(caught.value)


def test_another_data_set(converted, tmp_path):
    cfg, theirs, ours, _ = converted
    assert fails(cfg, theirs, tmp_path, dataset='risbench') == (
        'F was trained on rrsisd, as its own "meta" says, not on risbench: give --dataset rrsisd'
    )
    assert fails(cfg, ours, tmp_path, dataset='risbench', convert=to_release) == (
        'F was trained on rrsisd, not on risbench: give --dataset rrsisd'
    )


def test_a_file_that_says_nothing_of_its_data(converted, state, tmp_path):
    """As it is published: weights alone."""
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=state), path)
    report = from_release(str(path), str(tmp_path / 'b.pth'), cfg=converted[0], dataset='rrsisd')
    assert report.notes == ['the file does not say which data set it was trained on']


def test_ours_given_for_theirs_and_theirs_for_ours(converted, tmp_path):
    cfg, theirs, ours, _ = converted
    assert fails(cfg, ours, tmp_path).endswith('it is one of this project, give --back')
    plain = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=torch.load(theirs, weights_only=False)['state_dict']), plain)
    assert 'F is not of this model: 738 missing' in fails(
        cfg, plain, tmp_path, convert=to_release
    ).replace('checkpoint ', '')


def test_a_model_that_is_not_the_releases(state, tmp_path):
    path = write_official(tmp_path / 'a.pth', state)
    cfg = load_config(
        str(write_release_config(tmp_path / 'c.py')),
        options={'model.losses.spatial': dict(type='SpatialLoss', kind='ce', _delete_=True)},
    )
    assert fails(cfg, path, tmp_path) == (
        'CFG is not a model of the release, which has no losses.spatial.logit_scale, '
        'losses.spatial.logit_bias: use one of configs/release'
    )


def test_two_weights_that_share_a_place_must_agree(converted, tmp_path):
    cfg, _, ours, _ = converted
    checkpoint = torch.load(ours)
    key = 'mask_generator.sam.shared_image_embedding.positional_embedding'
    checkpoint['state_dict'][key] = checkpoint['state_dict'][key] + 1
    path = tmp_path / 'a.pth'
    torch.save(checkpoint, path)
    assert 'is not the same as the other weight' in fails(cfg, path, tmp_path, convert=to_release)


# ------------------------------------------------------------------ no code of the file is run


class Evil:
    def __reduce__(self):
        return os.mkdir, ('evil_was_here',)


def test_code_in_a_file_is_not_run(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, harmful in enumerate((Evil(), re.compile('x'), Skipped())):
        path = write_official(tmp_path / f'{i}.pth', {'a': torch.ones(2)}, extra=harmful)
        try:
            checkpoint, skipped = read_release(str(path))
        except UserError as error:  # torch refuses some modules whatever they are allowed as
            assert 'would execute code' in str(error) and i == 0
        else:
            assert isinstance(checkpoint['extra'], Skipped)
            assert any('HistoryBuffer' in name for name in skipped)
    assert not (tmp_path / 'evil_was_here').exists()


def test_mmengines_record_is_skipped_and_its_class_untouched(tmp_path):
    from mmengine.logging import HistoryBuffer

    methods = dict(HistoryBuffer._statistics_methods)
    path = write_official(tmp_path / 'a.pth', {'a': torch.ones(2)})
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(path, weights_only=True)  # there is something to skip
    checkpoint, skipped = read_release(str(path))
    assert torch.equal(checkpoint['state_dict']['a'], torch.ones(2))
    assert checkpoint['meta']['epoch'] == 110
    assert isinstance(checkpoint['message_hub']['log_scalars']['train/loss'], Skipped)
    assert 'numpy.ndarray' in skipped and HistoryBuffer._statistics_methods == methods


def test_a_file_of_numpy_1(tmp_path):
    """torch 2.4 was used with numpy 1, whose modules have other names."""
    path, old = write_official(tmp_path / 'a.pth', {'a': torch.ones(2)}), tmp_path / 'old.pth'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, 'w') as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith('data.pkl'):
                assert b'numpy._core.multiarray' in content
                content = content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
            target.writestr(entry, content)
    checkpoint, skipped = read_release(str(old))
    assert torch.equal(checkpoint['state_dict']['a'], torch.ones(2))
    assert 'numpy.core.multiarray._reconstruct' in skipped


@pytest.mark.parametrize(
    ('content', 'says'), [(None, 'does not exist'), (b'torn', 'torn or no checkpoint')]
)
def test_a_file_that_cannot_be_read(tmp_path, content, says):
    path = tmp_path / 'a.pth'
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_release(str(path))


def test_what_is_no_tensor_is_no_weight(tmp_path):
    path = write_official(tmp_path / 'a.pth', {'a': torch.ones(2), 'b': 3})
    with pytest.raises(UserError, match="a.pth: state_dict: 'b' is no tensor"):
        read_release(str(path))
