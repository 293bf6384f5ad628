"""Every config loads, is checked, builds its model; the paper's recipe is what the paper says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from torch import nn

from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.models import CascadedPrompter, RSRefSeg2
from rsrefseg2.models.towers.hub import find_local
from rsrefseg2.profiling.complexity import build_on_meta
from rsrefseg2.registry import MODELS
from tests.shipped import ROOT, is_named, shipped_configs

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
EVERY = [
    path
    for path in shipped_configs()
    if not path.parent.name.startswith('table')
    and path.parent.name not in ('zero_shot', 'baselines')
]  # those: test_ablations.py, test_zero_shot.py, test_baselines.py
PAPER = ('refsegrs', 'rrsisd', 'risbench')
TOWERS = {  # of Tables II to V
    'siglip': 'google/siglip2-so400m-patch16-512',
    'sam': 'facebook/sam2.1-hiera-large',
}


def names(paths):
    return [str(path.relative_to(CONFIGS).with_suffix('')) for path in paths]


BUILT = {}  # the benchmarks' configs have one model: it is built once


@pytest.fixture(scope='module', autouse=True)
def built():
    yield
    BUILT.clear()


def build_once(model):
    if repr(model) not in BUILT:
        BUILT[repr(model)] = build_on_meta(model)
    return BUILT[repr(model)]


def is_folder(checkpoint):
    """Of this repository's own towers, and not a hub name."""
    return isinstance(checkpoint, str) and checkpoint.startswith('synthrs/')


def test_every_config_is_named_in_a_page():
    """Or it would not be tested. What git does not track is the user's."""
    if shutil.which('git') is None or not (ROOT / '.git').exists():
        pytest.skip('no git repository')
    done = subprocess.run(['git', 'ls-files', 'configs'], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:  # of somebody else, say
        pytest.skip(done.stderr)
    tracked = [ROOT / line for line in done.stdout.splitlines() if line.endswith('.py')]
    assert not [
        path
        for path in tracked
        if '_base_' not in path.parts and path.exists() and not is_named(path)
    ]


@pytest.mark.parametrize('path', EVERY, ids=names(EVERY))
def test_loads_and_builds(path):
    model = load_config(str(path)).model  # refuses unknown keys and classes
    if model.siglip.checkpoint.startswith('work_dirs/'):  # made by the command that path names
        assert 'tools/pretrain_tiny_towers.py siglip' in path.with_name('base.py').read_text()
        model.siglip.checkpoint = 'synthrs/towers/siglip'
    folders = [
        model[part].checkpoint for part in ('siglip', 'sam') if is_folder(model[part].checkpoint)
    ]
    missing = [folder for folder in folders if find_local(folder) is None]
    assert not missing, 'a shipped tower is gone'
    if folders:
        with DefaultScope.overwrite_default_scope('rsrefseg2'):
            built = MODELS.build(model)  # as it stands, with its weights
    else:
        built = build_once(model)
    assert isinstance(built, RSRefSeg2)
    assert set(built.losses) == {name for name, loss in model.losses.items() if loss is not None}
    assert (built.prompter.dense is None) == (model.prompter.dense is None)


@pytest.mark.parametrize('name', PAPER)
def test_the_papers_model(name):
    """Sec. IV-C.1; numbers that the paper leaves open are the release's."""
    model = load_config(str(CONFIGS / f'{name}_siglip2_sam21l.py')).model
    assert model.init == 'pretrained'
    assert {part: model[part].checkpoint for part in TOWERS} == TOWERS
    assert model.siglip.vision_lora == model.siglip.text_lora == model.sam.lora == dict(r=16)
    assert model.prompter == dict(
        type='CascadedPrompter',
        n_p=9,
        interaction_blocks=2,
        prompt_blocks=2,
        inner=512,
        heads=8,
        mlp_hidden=512,
        visual_position='query_key',
        dense={},
    )
    assert model.losses == dict(
        seg=dict(
            type='SegmentationLoss',
            ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
            dice=dict(type='mmdet.DiceLoss', naive_dice=True, loss_weight=1.0),
        ),
        ortho=dict(type='OrthogonalLoss', loss_weight=0.5),
        sample=dict(type='SampleContrastLoss', loss_weight=0.5),
        dense=None,
        spatial=None,
    )

    # what the config leaves to the classes' defaults
    built = build_once(model)
    assert (
        built.losses['seg'].loss_resolution == 'input' and built.losses['sample'].variant == 'paper'
    )
    prompter = built.prompter
    assert type(prompter) is CascadedPrompter and prompter.decomposition.mask_words
    assert prompter.decomposition.n_t == 3 and len(prompter.decomposition.blocks) == 2
    assert isinstance(prompter.dense.conv[2], nn.ReLU) and not prompter.dense.align_corners
    lora = [module for module in built.modules() if hasattr(module, 'lora_A')]
    assert lora
    for module in lora:
        assert (module.r, module.scaling) == (dict(default=16), dict(default=1.0))
        assert isinstance(module.lora_dropout['default'], nn.Identity)


@pytest.mark.parametrize('name', PAPER)
def test_the_papers_recipe(name):
    """Sec. IV-C.2; warm-up length, floor, decay and clipping are the release's."""
    cfg = load_config(str(CONFIGS / f'{name}_siglip2_sam21l.py'))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=3.0)
    assert cfg.train_cfg.max_epochs == 300
    in_epochs = dict(by_epoch=True, convert_to_iter_based=True)
    assert cfg.param_scheduler == [
        dict(type='LinearLR', start_factor=0.01, begin=0, end=5, **in_epochs),
        dict(
            type='CosineAnnealingLR', eta_min_ratio=0.01, begin=5, end=300, T_max=295, **in_epochs
        ),
    ]
    assert cfg.train_dataloader.batch_size == 8  # on each of 8 ranks
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=64)

    assert cfg.strategy.type == 'ZeRO2Strategy'
    assert cfg.strategy.bf16.enabled and cfg.strategy.zero_optimization.stage == 2
    # a batch of the paper takes any sentence
    assert cfg.train_dataloader.batch_sampler == dict(type='ShuffledBatchSampler')
    assert cfg.train_dataloader.dataset.split == 'train' and cfg.train_dataloader.sampler.shuffle
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.batch_sampler.type == 'ImageOrderBatchSampler'
    assert cfg.val_dataloader.dataset.split == 'val'
    assert cfg.test_dataloader.dataset.split == 'test'


def test_the_ablations_row():
    full = load_config(str(CONFIGS / 'rrsisd_siglip2_sam21l.py'))
    row = load_config(str(CONFIGS / 'rrsisd_ablation.py'))
    assert row.model.siglip.checkpoint == 'google/siglip2-so400m-patch14-384'
    assert row.model.sam == dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32))
    assert row.model.siglip.vision_lora == row.model.siglip.text_lora == dict(r=16)
    assert row.model.losses.seg.dice is None
    row.model.siglip, row.model.sam = full.model.siglip, full.model.sam
    row.model.losses.seg.dice = full.model.losses.seg.dice
    for key in full:  # and nothing else differs
        assert key == 'work_dir' or row[key] == full[key], key


@pytest.mark.parametrize('name', PAPER)
def test_the_releases_recipe(name):
    """What differs from the paper's config, and nothing else."""
    cfg = load_config(str(CONFIGS / f'release/{name}.py'))
    paper = load_config(str(CONFIGS / f'{name}_siglip2_sam21l.py'))
    assert cfg.model.pop('data_preprocessor') == dict(
        lower_case=False, padding='longest', siglip_from='sam_input', sam_resize='uint8', fit='pad'
    )
    assert cfg.model.sam.pop('stability_rule') == dict(delta=0.05, threshold=0.98)
    assert cfg.model.pop('upsample_via_sam_input') and cfg.model.siglip.pop('keep_padding_tokens')
    assert cfg.model.sam.pop('train_prompt_encoder')
    assert cfg.model.siglip.text_lora.pop('extra_layers') == 'head'
    assert cfg.model.sam.lora.pop('extra_layers') == 'neck'
    assert cfg.model.prompter.type == 'InterleavedPrompter'
    cfg.model.prompter.type = 'CascadedPrompter'
    assert cfg.model.prompter.dense == dict(activation='gelu', align_corners=True)
    cfg.model.prompter.dense = {}
    seg = cfg.model.losses.seg
    assert (
        seg.pop('loss_resolution') == 'annotation'
        and cfg.model.losses.sample.pop('variant') == 'release'
    )
    assert (seg.ce.loss_weight, seg.dice.loss_weight, seg.dice.naive_dice) == (5.0, 5.0, False)
    seg.ce.loss_weight, seg.dice.loss_weight, seg.dice.naive_dice = 1.0, 1.0, True
    assert cfg.model == paper.model

    epochs, begin, t_max = (600, 60, 1080) if name == 'refsegrs' else (300, 30, 390)
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.start_factor, warm_up.begin, warm_up.end) == (0.01, 0, 5)
    assert (cosine.type, cosine.begin, cosine.end, cosine.T_max, cosine.eta_min_ratio) == (
        'CosineAnnealingLR',
        begin,
        epochs,
        t_max,
        0.01,
    )
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (epochs, 10)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (2e-4 if name == 'refsegrs' else 1e-4, 0.05)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=3.0)

    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.split == 'test' and loader.batch_size == 8
        assert loader.batch_sampler is None and not loader.sampler.shuffle
        assert loader.dataset.type == paper.test_dataloader.dataset.type
    assert cfg.val_evaluator == dict(type='RefSegMetric', protocol='release')
    assert cfg.test_evaluator.protocol == 'release'
    assert paper.val_dataloader.dataset.split == 'val'  # and only here on test


@pytest.mark.parametrize(
    ('name', 'rows'),
    [
        ('rrsisd', [(79.45, 69.17, 80.23), (79.66, 69.06, 80.03)]),
        ('refsegrs', [(81.24, 77.39, 88.22), (81.21, 77.36, 88.11)]),
        ('risbench', [(74.77, 72.57, 79.08)]),
    ],
)
def test_the_published_scores_beside_which_the_release_is_tested(name, rows):
    beside = load_config(str(CONFIGS / f'release/{name}.py')).test_evaluator.beside
    assert [(row['cIoU'], row['gIoU'], row['Pr@0.5']) for row in beside.values()] == rows


def test_a_strategy_is_one_line_of_base(tmp_path):
    path = CONFIGS / 'rrsisd_siglip2_sam21l.py'
    text = re.sub(r"'_base_/", f"'{CONFIGS}/_base_/", path.read_text())
    assert text.count('zero2_bf16') == 1
    full = load_config(str(path))
    found = {}
    for strategy in ('ddp', 'fsdp2', 'single', 'zero2_bf16'):
        other = tmp_path / f'{strategy}.py'
        other.write_text(text.replace('zero2_bf16', strategy))
        cfg = load_config(str(other))
        assert all(cfg[key] == full[key] for key in full if key not in ('strategy', 'work_dir'))
        found[strategy] = cfg.strategy.type
    assert {
        'single': 'SingleDeviceStrategy',
        'ddp': 'DDPStrategy',
        'zero2_bf16': 'ZeRO2Strategy',
    }.items() <= found.items()


def strings(value, where=''):
    """(dotted place, text) of every string below `value`."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from strings(child, f'{where}.{key}')
    elif isinstance(value, (list, tuple)):
        for i, child in enumerate(value):
            yield from strings(child, f'{where}[{i}]')
    elif isinstance(value, str):
        yield where, value


@pytest.mark.parametrize('path', EVERY, ids=names(EVERY))
def test_no_absolute_path(path, monkeypatch):
    monkeypatch.delenv('RSREFSEG2_DATA', raising=False)
    found = {
        where: text
        for where, text in strings(load_config(str(path)).to_dict())
        if re.match(r'/|~|\w:[\\/]|\w+://', text)
    }
    assert not found


def test_a_data_root_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv('RSREFSEG2_DATA', 'somewhere/else')
    cfg = load_config(str(CONFIGS / 'rrsisd_siglip2_sam21l.py'))
    assert cfg.train_dataloader.dataset.data_root == 'somewhere/else/rrsisd'


FULL = str(CONFIGS / 'rrsisd_siglip2_sam21l.py')


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'model.prompter.n_tt': 4}, ['model.prompter', "no option 'n_tt'", 'did you mean n_t']),
        ({'model.siglip.visoin_lora': 1}, ["no option 'visoin_lora'", 'vision_lora']),
        ({'model.sam.lorra': None}, ["no option 'lorra'", 'did you mean lora']),
        ({'model.prompter.dense.align_corner': True}, ["'align_corner'", 'align_corners']),
        ({'model.losses.ortho.weight': 1.0}, ["no option 'weight'", 'loss_weight']),
        ({'model.losses.seg.dice.type': 'mmdet.DiceLos'}, ["unknown class 'mmdet.DiceLos'"]),
        (
            {'model.losses.sample.type': 'SampleContrastLos'},
            ["unknown class 'SampleContrastLos'", 'did you mean SampleContrastLoss'],
        ),
        ({'train_dataloader.dataset.type': 'RRSIS'}, ["unknown class 'RRSIS'", 'RRSISD']),
        ({'train_dataloader.dataset.splitt': 'val'}, ["no option 'splitt'", 'did you mean split']),
        (
            {'optim_wrappr.optimizer.lr': 1.0},
            ["unknown top-level key 'optim_wrappr'", 'optim_wrapper'],
        ),
        (
            {'train_dataloder.batch_size': 1},
            ["unknown top-level key 'train_dataloder'", 'train_dataloader'],
        ),
        ({'modle.x': 1}, ["unknown top-level key 'modle'", 'did you mean model']),
        ({'sed': 3}, ["unknown top-level key 'sed'"]),
        ({'loader.batch_size': 4}, ["'loader' is a variable of the config file"]),
        ({'model.losses.sampl': None}, ['model.losses.sampl=None', 'did you mean sample']),
        ({'default_hooks.checkpont': None}, ['default_hooks.checkpont=None', 'checkpoint']),
        ({'default_hooks.checkpont.interval': 3}, ['names no class', 'did you mean checkpoint']),
        ({'default_hooks.checkpoint.intervall': 3}, ["'intervall'", 'did you mean interval']),
        ({'auto_scale_lr.base_batch': 3}, ["no option 'base_batch'", 'base_batch_size']),
        ({'optim_wrapper.paramwise_cfg.custom_keys': {}}, ["no option 'custom_keys'"]),
        ({'optim_wrapper.paramwise_cfg.decay_1dd': True}, ["no option 'decay_1dd'", 'decay_1d']),
        ({'optim_wrapper.clip_gradd': 1}, ["no option 'clip_gradd'", 'did you mean clip_grad']),
        ({'train_dataloader.batchsize': 4}, ["no option 'batchsize'", 'did you mean batch_size']),
        ({'train_cfg.max_epoch': 4}, ["no option 'max_epoch'", 'did you mean max_epochs']),
        ({'val_cfg.intervall': 4}, ['val_cfg', "no option 'intervall'"]),
        ({'randomness.sead': 4}, ['randomness', "no option 'sead'", 'did you mean seed']),
        ({'env_cfg.cudnn': True}, ['env_cfg', "no option 'cudnn'", 'cudnn_benchmark']),
        ({'model.siglip.vision_lora.rr': 4}, ['model.siglip.vision_lora', "no option 'rr'"]),
        ({'model.siglip.vision_lora': 16}, ['model.siglip.vision_lora is 16']),
        ({'model.data_preprocessor.lowercase': True}, ["no option 'lowercase'", 'lower_case']),
        ({'model.prompter.d1': 4}, ["no option 'd1'"]),
        (
            {'model.init': 'randm'},
            ["is 'randm', expected one of 'pretrained', 'random'", 'did you mean random'],
        ),
        (
            {'model.prompter.visual_position': 'qk'},
            ["is 'qk', expected one of 'query_key', 'attention', 'add'"],
        ),
    ],
)
def test_an_unknown_key_or_class_is_named_with_near_matches(options, says):
    with pytest.raises(UserError) as caught:
        load_config(FULL, options=options)
    message = str(caught.value)
    assert '\n' not in message and 'rrsisd_siglip2_sam21l.py' in message
    for part in says:
        assert part in message, message


def test_a_config_that_is_not_there_or_does_not_parse(tmp_path):
    with pytest.raises(UserError, match='no/such.py does not exist'):
        load_config('no/such.py')
    for text, says in (
        ('model = dict(', r'broken\.py'),
        ("_base_ = 'missing.py'", r'missing\.py'),
        ('y = 2\nx = 1 / 0', r'broken\.py: ZeroDivisionError.*line 2'),
        (f'from rsrefseg2 import errors\n_base_ = {FULL!r}', r'broken\.py: ConfigParsingError'),
    ):
        (tmp_path / 'broken.py').write_text(text)
        with pytest.raises(UserError, match=says):
            load_config(str(tmp_path / 'broken.py'))


def test_a_loss_without_a_class_is_not_taken_for_the_dense_prompt(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='RSRefSeg2', losses=dict(dense=dict(loss_weight=3)))")
    with pytest.raises(UserError, match=r'model\.losses\.dense names no class'):
        load_config(str(path))


def test_what_is_switched_off_or_chosen_rightly_passes():
    cfg = load_config(
        FULL,
        options={
            'model.losses.sample': None,
            'model.data_preprocessor.lower_case': False,
            'default_hooks.timer': None,
            'optim_wrapper.type': 'AmpOptimWrapper',
            'optim_wrapper.accumulative_counts': 2,
            'train_dataloader.pin_memory': True,
        },
    )
    assert cfg.model.losses.sample is None and cfg.train_dataloader.pin_memory


def test_a_files_variables_serve_the_file_alone(tmp_path):
    """They are gone from the config; one that its own file does not use would change nothing."""
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = {FULL!r}\nroot = 'mine'\ntest_dataloader = dict(dataset=dict(data_root=root))"
    )
    cfg = load_config(str(path))
    assert cfg.test_dataloader.dataset.data_root == 'mine'
    assert not {'root', 'dataset', 'loader', 'in_order', 'pipeline'} & set(cfg)
    dumped = tmp_path / 'dumped.py'  # as the runner writes it to the work dir
    cfg.dump(dumped)
    assert load_config(str(dumped)).test_dataloader.dataset.data_root == 'mine'
    path.write_text(f"_base_ = {FULL!r}\ndataset = dict(data_root='mine')")
    with pytest.raises(UserError, match=r"mine\.py: unknown .* 'dataset'.*neither a key"):
        load_config(str(path))
    path.write_text(
        f'_base_ = {FULL!r}\ntest_dataloader = dict(batch_size={{{{_base_.loader.batch_size}}}})'
    )
    assert load_config(str(path)).test_dataloader.batch_size == 8
