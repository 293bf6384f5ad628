"""Old names give the present ones, and the model that they stood for."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from rsrefseg2.engine import load_config
from rsrefseg2.engine.config_files import read_config
from rsrefseg2.engine.renames import KEYS, TYPES, VALUES, rename, rename_settings
from rsrefseg2.engine.trained_as import check_function, function_of, recorded_config
from rsrefseg2.errors import UserError
from rsrefseg2.registry import MODELS
from tests import tiny_towers
from tests.test_models.tiny_model import PAPER_LOSSES, batch, stirred
from tests.training import ROOT

WIDTH = dict(inner=16, heads=2, mlp_hidden=16, dense=dict())
NUMBERS = dict(n_t=2, decomposition_blocks=1)  # of a decomposition
# A prompter by its old options, and by its present ones.
PROMPTERS = {
    'cascaded': (
        dict(type='CascadedPrompter', cascade=True, interleaved=False, mask_words=True, **NUMBERS),
        dict(type='CascadedPrompter', decomposition=dict(mask_words=True), **NUMBERS),
    ),
    'single stage': (
        dict(type='CascadedPrompter', cascade=False, mask_words=False, **NUMBERS),
        dict(type='SingleStagePrompter'),
    ),
    'interleaved': (
        dict(
            type='rsrefseg2.CascadedPrompter',
            interleaved=True,
            mask_words=False,
            decomposition=dict(pe='zero'),
        ),
        dict(type='rsrefseg2.InterleavedPrompter', decomposition=dict(pe='zero', mask_words=False)),
    ),
}


def model_config(prompter: dict, *, old: bool) -> dict:
    """The release's variant of a tiny model, by old or by present names."""
    extra = 'also' if old else 'extra_layers'
    resolution = {'at' if old else 'loss_resolution': 'annotation'}
    model = dict(
        type='RSRefSeg2',
        init='random',
        siglip=dict(
            checkpoint=tiny_towers.siglip_config(),
            vision_lora=dict(r=2),
            text_lora={'r': 2, extra: 'head'},
        ),
        sam=dict(checkpoint=tiny_towers.sam2_config(), lora={'r': 2, extra: 'neck'}),
        prompter=dict(copy.deepcopy(prompter), **WIDTH),
        losses=dict(seg=PAPER_LOSSES['seg'] | resolution),
        data_preprocessor={'where_from': 'how'} if old else {'siglip_from': 'sam_input'},
    )
    model['masks_via_input' if old else 'upsample_via_sam_input'] = True
    model['siglip']['every_position' if old else 'keep_padding_tokens'] = True
    return model


def outcome(config: dict) -> dict[str, torch.Tensor]:
    """Weights drawn with one seed, losses and predicted masks."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = stirred(MODELS.build(config)).eval()
    given = batch(model)
    with torch.no_grad():
        losses = model(**given, mode='loss')
        samples = model(**given, mode='predict')
    masks = {f'mask {i}': sample.pred_mask for i, sample in enumerate(samples)}
    return model.state_dict() | losses | masks


@pytest.mark.parametrize('kind', PROMPTERS)
def test_an_old_model_is_the_present_one(kind):
    """Same names after the renaming; same weights, losses and masks."""
    old, new = (model_config(p, old=o) for p, o in zip(PROMPTERS[kind], (True, False), strict=True))
    config = dict(model=old)
    rename(config)
    assert config['model'] == new
    found, wanted = outcome(config['model']), outcome(new)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize('kind', PROMPTERS)
def test_an_old_config_file_and_a_recorded_text(kind, tmp_path):
    old, new = (model_config(p, old=o) for p, o in zip(PROMPTERS[kind], (True, False), strict=True))
    text = Config(dict(model=old)).pretty_text
    (tmp_path / 'old.py').write_text(text)
    assert read_config(str(tmp_path / 'old.py')).model == new
    assert recorded_config(text)['model'] == new


# As versions before the renaming recorded them, where they differ from `function_of`.
RECORDED = {
    'cascaded': {
        'prompter.type': 'CascadedPrompter',
        'prompter.cascade': True,
        'prompter.interleaved': False,
        'prompter.mask_words': True,
    },
    'single stage': {
        'prompter.type': 'CascadedPrompter',
        'prompter.cascade': False,
        'prompter.interleaved': False,
        'prompter.mask_words': False,
        'prompter.n_t': 2,
        'prompter.decomposition_blocks': 1,
        'prompter.decomposition.init': 'textpool',
        'prompter.decomposition.pe': 'learnable',
    },
    'interleaved': {
        'prompter.type': 'rsrefseg2.CascadedPrompter',
        'prompter.cascade': True,
        'prompter.interleaved': True,
        'prompter.mask_words': False,
    },
}
OLD_KEYS = {  # present -> old, of the rest of the model
    'upsample_via_sam_input': 'masks_via_input',
    'siglip.keep_padding_tokens': 'siglip.every_position',
    'siglip.text_lora.extra_layers': 'siglip.text_lora.also',
    'sam.lora.extra_layers': 'sam.lora.also',
    'data_preprocessor.siglip_from': 'data_preprocessor.where_from',
}


@pytest.mark.parametrize('kind', PROMPTERS)
def test_a_checkpoint_that_recorded_old_names_loads(kind):
    new = model_config(PROMPTERS[kind][1], old=False)
    function = function_of(new)
    recorded = {OLD_KEYS.get(key, key): value for key, value in function.items()}
    recorded.pop('prompter.decomposition.mask_words', None)
    recorded |= RECORDED[kind]
    recorded['data_preprocessor.where_from'] = 'how'
    assert rename_settings(recorded) == function
    checkpoint = dict(meta=dict(function=recorded))
    check_function(new, checkpoint, 'old.pth')
    for other in set(PROMPTERS) - {kind}:
        with pytest.raises(UserError, match='model.prompter.type'):
            check_function(model_config(PROMPTERS[other][1], old=False), checkpoint, 'old.pth')


def test_the_single_stage_of_the_release_has_no_class():
    """Its options stay, and are unknown ones."""
    config = dict(model=dict(prompter=dict(PROMPTERS['interleaved'][0], cascade=False)))
    rename(config)
    assert config['model']['prompter']['type'] == 'rsrefseg2.CascadedPrompter'
    assert {'cascade', 'interleaved'} <= set(config['model']['prompter'])


def test_every_name_of_the_tables_is_renamed():
    """Each old key, value and class where it stood; a present name is left as it is."""
    for place, names in KEYS.items():
        for old, new in names.items():
            config = node = {}
            for part in place.split('.'):
                node[part] = node = {}
            values = VALUES.get(f'{place}.{new}', {'same': 'same'})
            for before, after in values.items():
                node.clear()
                node[old] = before
                rename(config)
                assert node == {new: after}
                rename(config)
                assert node == {new: after}
    for old, new in TYPES.items():
        config = dict(custom_hooks=[dict(type=old), dict(type=f'rsrefseg2.{old}')])
        rename(config)
        assert [hook['type'] for hook in config['custom_hooks']] == [new, f'rsrefseg2.{new}']


@pytest.mark.parametrize(
    ('key', 'option'),
    [
        ('model.upsample_via_sam_input', {'model.masks_via_input': True}),
        ('model.data_preprocessor.siglip_from', {'model.data_preprocessor.where_from': 'how'}),
        ('model.prompter.type', {'model.prompter.interleaved': True}),
        ('test_evaluator.type', {'test_evaluator.type': 'SynthRSMetric'}),
    ],
)
def test_an_option_by_its_old_name(key, option):
    """`--cfg-options` of an old command line."""
    wanted = {
        'model.upsample_via_sam_input': True,
        'model.data_preprocessor.siglip_from': 'sam_input',
        'model.prompter.type': 'InterleavedPrompter',
        'test_evaluator.type': 'ObjectHitMetric',
    }[key]
    cfg = load_config(str(ROOT / 'configs/synthrs_tiny.py'), options=option)
    for name in key.split('.'):
        cfg = cfg[name]
    assert cfg == wanted


def test_the_shipped_demo_has_present_names():
    """The config that was written beside its weights computes as configs/demo_tiny.py does."""
    shipped = load_config(str(ROOT / 'demo/demo_tiny.py'))
    assert function_of(shipped.model) == function_of(
        load_config(str(ROOT / 'configs/demo_tiny.py')).model
    )
