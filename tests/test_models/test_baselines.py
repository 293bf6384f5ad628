"""The trained baselines as models: they load, answer, learn, and refuse; and their configs."""

import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertModel, SwinBackbone

from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.models import LAVT, AttnPrompter
from rsrefseg2.models.symbols import Targets
from rsrefseg2.profiling.complexity import build_on_meta, summarize
from rsrefseg2.registry import MODELS
from tests import tiny_baselines
from tests.shipped import ROOT, shipped_configs
from tests.test_models import tiny_model
from tests.tiny_baselines import VARIANTS, bert_config, lavt, swin_config
from tests.tiny_towers import edit_weights, write_siglip

CONFIGS = shipped_configs('configs/baselines')
BENCHMARKS = ('refsegrs', 'rrsisd', 'risbench')
METHODS = ('lavt', 'lgce', 'rmsin', 'rsrefseg1')


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('baselines')
    return dict(
        swin=str(tiny_baselines.write_swin(root / 'swin')),
        bert=str(tiny_baselines.write_bert(root / 'bert')),
    )


def from_folders(folders, **options):
    return lavt(
        swin=dict(checkpoint=folders['swin']), bert=dict(checkpoint=folders['bert']), **options
    )


# ---- answers


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_sentence_is_answered_as_it_is_alone(variant):
    model = lavt(**VARIANTS[variant]).eval()
    with torch.no_grad():
        together = model(**tiny_model.batch(model))
        for i in range(len(tiny_model.SENTENCES)):
            alone = model(**tiny_model.batch(model, [i]))
            torch.testing.assert_close(
                together.mask_logits[i], alone.mask_logits[0], rtol=1e-4, atol=1e-5
            )
    assert together.mask_logits.shape == (6, *model.mask_size)
    other = together.mask_logits[0] - together.mask_logits[2]  # of one image
    assert other.abs().max() > 1e-3


def test_an_image_is_read_once_for_all_of_its_sentences():
    model, seen = lavt().eval(), []
    model.swin.swin.encoder.layers[0].blocks[0].register_forward_hook(
        lambda module, given, out: seen.append(len(given[0]))
    )
    batch = tiny_model.batch(model)
    model(**batch)
    assert seen == [4] == [len(batch['inputs'].images_siglip)]


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_trained_weight_gets_a_gradient(variant):
    model = lavt(**VARIANTS[variant])
    losses = model(**tiny_model.batch(model), mode='loss')
    assert set(losses) == {'loss_ce'}
    losses['loss_ce'].backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_a_variant_adds_its_parts_alone():
    names = {
        variant: {name.split('.')[0] for name, _ in lavt(**options).named_parameters()}
        for variant, options in VARIANTS.items()
    }
    assert names['lgce'] - names['lavt'] == {'enhancement'}
    assert names['rmsin'] - names['lavt'] == {'intra_scale', 'cross_scale'}
    assert names['lavt'] == {'swin', 'bert', 'fusions', 'gates', 'norms', 'decoder'}


# ---- towers


def test_with_closed_gates_the_image_tower_is_transformers_swin(folders):
    model = from_folders(folders).eval()
    for gate in model.gates:
        gate[2].weight.data.zero_()  # tanh(0)
    seen = []
    for fusion in model.fusions:
        fusion.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    batch = tiny_model.batch(model, [0, 2])
    with torch.no_grad():
        model(**batch)
        swin = SwinBackbone.from_pretrained(
            folders['swin'], out_features=[f'stage{i}' for i in (1, 2, 3, 4)]
        ).eval()
        for norm in swin.hidden_states_norms.values():
            norm.forward = lambda x: x
        maps = swin(batch['inputs'].images_siglip).feature_maps
    for v, expected in zip(seen, maps, strict=True):
        torch.testing.assert_close(v[1], expected[0].flatten(1).T, rtol=1e-4, atol=1e-5)


def test_words_are_those_of_transformers_bert(folders):
    model = from_folders(folders).eval()
    sentences = ['a ship', 'The red car on the left, of the blue plane.']
    ids, lengths = model.data_preprocessor.tokenize(sentences)
    tokenizer = AutoTokenizer.from_pretrained(folders['bert'])
    bert = BertModel.from_pretrained(folders['bert']).eval()
    with torch.no_grad():
        words = model.bert(ids, lengths)
        for row, sentence in enumerate(sentences):
            own = tokenizer([sentence], return_tensors='pt')
            n = own['input_ids'].shape[1]
            assert ids[row, :n].tolist() == own['input_ids'][0].tolist() and lengths[row] == n
            expected = bert(**own).last_hidden_state[0]
            torch.testing.assert_close(words.features[row, :n], expected, rtol=1e-4, atol=1e-5)
            assert words.mask[row].sum() == n
    assert model.data_preprocessor.unknown_words('the green ship') == ('green',)


def test_a_dict_is_from_scratch_beside_a_folder_with_weights(folders):
    """Its own weights for one tower, none for the other."""
    first = lavt(seed=0, swin=dict(checkpoint=folders['swin']))
    second = lavt(seed=1, swin=dict(checkpoint=folders['swin']))
    assert all(map(torch.equal, first.swin.parameters(), second.swin.parameters()))
    weights = 'bert.embeddings.word_embeddings.weight'
    assert not torch.equal(first.bert.state_dict()[weights], second.bert.state_dict()[weights])


def test_another_tokenizer_for_a_bert_from_scratch(tmp_path):
    folder = str(write_siglip(tmp_path / 'siglip'))
    model = lavt(bert=dict(tokenizer=folder))
    ids, lengths = model.data_preprocessor.tokenize(['the red ship'])
    assert lengths.tolist() == [4] and ids[0, 3] == 1  # its eos, and no mark before
    with pytest.raises(UserError, match='18 tokens, model.bert only 17: raise its vocab_size'):
        lavt(bert=dict(tokenizer=folder, checkpoint=bert_config(17)))


def test_layers_of_bert_are_frozen(folders):
    model = from_folders(folders, **{})
    assert all(p.requires_grad for p in model.parameters())
    model = lavt(bert=dict(checkpoint=folders['bert'], trained_layers=1))
    frozen = {n for n, p in model.bert.bert.named_parameters() if not p.requires_grad}
    assert frozen and all(n.startswith(('embeddings.', 'encoder.layer.1.')) for n in frozen)


def test_stochastic_depth_grows_over_the_blocks():
    blocks = [
        block
        for stage in lavt(swin=dict(drop_path=0.4)).swin.swin.encoder.layers
        for block in stage.blocks
    ]
    rates = [getattr(block.drop_path, 'drop_prob', 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_tower_without_its_weights_is_refused(tmp_path):
    swin = tiny_baselines.write_swin(tmp_path / 'swin')
    name = next(n for n in load_file(swin / 'model.safetensors') if 'blocks.0' in n and 'norm' in n)
    edit_weights(swin, drop=(name,))
    with pytest.raises(UserError, match='1 missing: .*norm'):
        lavt(swin=dict(checkpoint=str(swin)))
    with pytest.raises(UserError, match=r'type .swin., wanted a BERT model'):
        lavt(bert=dict(checkpoint=str(swin)))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(swin=dict(image_size=32)), 'model.swin.image_size 32 is below 64 pixels'),
        (
            dict(swin=dict(checkpoint={**swin_config(), 'depths': [1, 1], 'num_heads': [1, 2]})),
            'model.swin has 2 stages, not 4',
        ),
        (dict(swin=dict(checkpoint={**swin_config(), 'dephts': [1]})), "unknown key 'dephts'"),
        (dict(bert=dict(max_length=30)), 'max_length 30 is above the 24 positions'),
        (dict(bert=dict(trained_layers=3)), 'trained_layers 3: it has 2 layers'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        lavt(**options)


def test_a_tokenizer_beside_pretrained_weights_is_refused(folders):
    with pytest.raises(UserError, match='other numbers than the pretrained'):
        lavt(bert=dict(checkpoint=folders['bert'], tokenizer='synthrs/towers/siglip'))


# ---- the loss


def test_the_loss_is_the_papers_cross_entropy_of_two_classes():
    """Weighted 0.9 and 1.1 in the authors' code, whose mean divides by the weights' sum."""
    torch.manual_seed(0)
    scores = torch.randn(2, 2, 5, 5)
    masks = torch.rand(2, 5, 5) > 0.8
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        loss = MODELS.build(
            load_config(str(CONFIGS[0].with_name('rrsisd_lavt.py'))).model.losses.seg
        )

    class Outputs:
        mask_logits, input_size = scores[:, 1] - scores[:, 0], (5, 5)

    found = loss(Outputs, Targets(list(masks), torch.arange(2)))['loss_ce']
    weights = torch.tensor([0.9, 1.1])
    expected = F.cross_entropy(scores, masks.long(), weight=weights)
    share = weights[masks.long()].sum() / (0.9 * masks.numel())
    torch.testing.assert_close(found, expected * share)


# ---- configs


def test_there_is_a_config_of_each():
    names = {path.stem for path in CONFIGS}
    assert names == {f'{b}_{m}' for b in BENCHMARKS for m in METHODS} | {
        f'synthrs_{m}_tiny' for m in METHODS
    }


@pytest.mark.parametrize('path', CONFIGS, ids=[path.stem for path in CONFIGS])
def test_a_config_loads_and_builds(path):
    cfg = load_config(str(path))
    model = build_on_meta(cfg.model.to_dict())
    method = path.stem.split('_')[1]
    if method == 'rsrefseg1':
        assert isinstance(model.prompter, AttnPrompter)
    else:
        assert isinstance(model, LAVT)
        parts = {p for p in ('enhancement', 'intra_scale', 'cross_scale') if getattr(model, p)}
        assert (
            parts
            == dict(lavt=set(), lgce={'enhancement'}, rmsin={'intra_scale', 'cross_scale'})[method]
        )
    assert str(path.relative_to(ROOT)) in path.read_text()  # the command
    if path.stem.endswith('_tiny'):
        quickstart = load_config(str(ROOT / 'configs/synthrs_tiny.py'))
        for key in ('train_cfg', 'train_dataloader', 'param_scheduler', 'test_dataloader'):
            assert cfg[key] == quickstart[key], key


def test_the_recipe_is_the_papers():
    cfg = load_config(str(ROOT / 'configs/baselines/rrsisd_lavt.py'))
    assert cfg.model.swin.image_size == 480 and cfg.train_cfg.max_epochs == 40
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=5e-5, weight_decay=0.01, fused=True)
    assert cfg.param_scheduler[0].type == 'PolyLR' and cfg.param_scheduler[0].power == 0.9
    assert cfg.auto_scale_lr.base_batch_size == 32 == 4 * cfg.train_dataloader.batch_size
    rmsin = load_config(str(ROOT / 'configs/baselines/rrsisd_rmsin.py'))
    assert rmsin.optim_wrapper.optimizer.lr == 3e-5


# ---- counted


@pytest.mark.parametrize('variant', VARIANTS)
def test_parameters_and_flop_are_counted(variant):
    options = VARIANTS[variant]
    model = lavt(**options)
    config = dict(
        type='LAVT',
        swin=dict(checkpoint=swin_config()),
        bert=dict(checkpoint=bert_config(), max_length=16),
        **options,
    )
    counts = summarize(build_on_meta(config))
    assert counts['parameters']['total'] == sum(p.numel() for p in model.parameters())
    assert counts['parameters']['other'] == 0 and counts['parameters']['trainable'] > 0
    assert counts['parameters']['decoder'] == sum(p.numel() for p in model.decoder.parameters())
    flops = counts['flops']
    assert flops['total'] == sum(value for part, value in flops.items() if part != 'total')
    assert (flops['interaction'] > 0) == (variant != 'lavt')
    if variant == 'lavt':  # rho's convolutions at 4, 8 and 16 positions a side, and the scores'
        widths = [64 + 32, 32 + 16, 32 + 8]
        rho = sum(18 * side**2 * 32 * (w + 32) for side, w in zip((4, 8, 16), widths))
        assert flops['decoder'] == rho + 2 * 16**2 * 32 * 2
        # QKV apart: the words' keys and values of 16 tokens, the pixels' five maps, the products
        fusion = 0
        for stage, (width, n) in enumerate(zip((8, 16, 32, 64), (256, 64, 16, 4))):
            fusion += 2 * (2 * 16 * 16 * width + 4 * n * width**2 + 2 * n * 16 * width)
            fusion += 4 * n * width**2 * (stage < 3)  # the gate's two maps
        assert flops['fusion'] == fusion


def test_the_full_size_is_the_published_one():
    """DiCoR's Table IV: 227.7 M and 198.8 G multiply-accumulates. BERT's pooled output (0.6 M) and
    the fourth gate (2.1 M) are not built here: nothing reads them."""
    cfg = load_config(str(ROOT / 'configs/baselines/rrsisd_lavt.py'))
    counts = summarize(build_on_meta(cfg.model.to_dict()))
    left_out = 768 * 769 + 2 * 1024**2
    assert counts['parameters']['total'] + left_out == pytest.approx(227.7e6, rel=0.005)
    assert counts['flops']['total'] / 2 == pytest.approx(198.8e9, rel=0.005)


def test_what_asks_for_the_parts_of_the_method_refuses_a_baseline(tmp_path):
    from rsrefseg2.profiling.bench import build_model

    cfg = load_config(str(ROOT / 'configs/baselines/synthrs_lavt_tiny.py'))
    with pytest.raises(UserError, match='LAVT is no RSRefSeg2, of whose parts a bench asks'):
        build_model(cfg, 'plain', torch.device('cpu'))


def test_a_hook_for_the_cascade_refuses_another_prompter(monkeypatch):
    from types import SimpleNamespace

    from rsrefseg2.engine.init_prompter_hook import InitPrompterFromTowersHook

    strategy = SimpleNamespace(plain_model=lavt())
    runner = SimpleNamespace(iter=0, _load_from=None, strategy=strategy)
    with pytest.raises(UserError, match=re.escape('which this model has not: set it to None')):
        InitPrompterFromTowersHook().before_train(runner)


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('absent', [(1,), range(3)], ids=['one', 'all'])
def test_losses_with_a_target_leave_the_others_out(variant, absent):
    """`with_target`: the loss of a batch is that of its sentences with a target alone."""
    losses = dict(tiny_baselines.LOSSES['seg'], dice=dict(type='mmdet.DiceLoss', naive_dice=True))
    model = lavt(**VARIANTS[variant], with_target=['seg']).eval()
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model.add_losses(dict(seg=losses))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *model.input_size, generator=generator)
    ids = torch.randint(1, 64, (3, 7), generator=generator)
    lengths = torch.tensor([7, 5, 6])
    masks = [torch.rand(40, 50, generator=generator) > 0.6 for _ in range(3)]
    for number in absent:
        masks[number] = torch.zeros_like(masks[number])
    no_target = torch.tensor([number in absent for number in range(3)])
    targets = Targets(masks, torch.tensor([0, 0, 1]), None, no_target)
    outputs = model.segment(
        model.encode_images(images, images), torch.tensor([0, 0, 1]), ids, lengths
    )
    found = model.loss(outputs, targets)
    if all(no_target):
        assert found['loss_ce'] == found['loss_dice'] == 0
        sum(found.values()).backward()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
        return
    kept = [number for number in range(3) if number not in absent]
    alone = model.segment(
        model.encode_images(images, images), torch.tensor([0, 0, 1])[kept], ids[kept], lengths[kept]
    )
    model.with_target = ()
    expected = model.loss(
        alone, Targets([masks[number] for number in kept], torch.tensor([0, 1]), None, None)
    )
    every = model.loss(outputs, targets)
    for name in ('loss_ce', 'loss_dice'):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
        assert abs(every[name] - found[name]) > 1e-3  # it matters


def test_with_target_names_losses():
    with pytest.raises(UserError, match='with_target names dense: model.losses has no such loss'):
        lavt(with_target=['dense'])
