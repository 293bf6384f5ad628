"""Tables VI-XVI: each row builds, differs from its parent only in what its table varies and what
that forces, and does something."""

import functools
import inspect
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from rsrefseg2.apis import ablations
from rsrefseg2.engine import load_config
from rsrefseg2.engine.config_check import check_config
from rsrefseg2.errors import UserError
from rsrefseg2.models import CascadedPrompter
from rsrefseg2.models import rsrefseg2 as composer
from rsrefseg2.models.symbols import Targets
from rsrefseg2.models.towers import configs as tower_configs
from rsrefseg2.models.towers.catalogue import known_config
from rsrefseg2.profiling.complexity import build_on_meta
from rsrefseg2.registry import MODELS
from tests.paper_tables import PRINTED, SCORES
from tests.shipped import shipped_configs
from tests.test_models.tiny_model import batch, stirred

ROOT = Path(__file__).resolve().parents[1]
INDEX = ablations.read_index(ROOT)
# One case a config; the † rows are their tables' parents.
ROWS = {
    row.name: (table, row)
    for table in INDEX.tables
    for row in table.rows
    if row.config != table.parent
}
TINY = [name for name, (table, _) in ROWS.items() if table.key in ablations.TINY_TABLES]
FULL_SIZE = [name for name in ROWS if name not in TINY]


@pytest.fixture(scope='module', autouse=True)
def read_once():
    """Each config once, however many tests ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations, 'load_config', functools.cache(load_config))
        yield
    # thousands of modules, which every collection would look at from here on
    for kept in (once, full_size, parent, of_parent):
        kept.cache_clear()


def changes(name):
    return ablations.row_differences(*ROWS[name], ROOT)


# ---- the index --------------------------------------------------------------------------------


def test_every_table_and_every_config_is_in_the_index():
    assert [table.key for table in INDEX.tables] == [f'table{n:02}' for n in range(6, 17)]
    files = {str(path.relative_to(ROOT)) for path in shipped_configs('configs/ablations')}
    listed = {row.config for table in INDEX.tables for row in table.rows}
    parents = {table.parent for table in INDEX.tables}
    assert listed - parents == files - set(ablations.TINY.values())
    assert all((ROOT / parent).is_file() for parent in parents)
    stems = [Path(path).stem for path in listed]
    assert len(stems) == len(set(stems)), 'two configs would share a work dir'


def test_the_index_is_what_the_paper_prints():
    assert INDEX.scores == SCORES and sum(map(len, PRINTED.values())) == 103
    for table in INDEX.tables:
        found = [tuple(row.paper[score] for score in SCORES) for row in table.rows]
        assert found == PRINTED[table.key], table.key


def test_the_index_is_well_formed():
    for table in INDEX.tables:
        assert any(row.config == table.parent for row in table.rows), table.key
        for row in table.rows:
            assert len(row.values) == len(table.columns), (table.key, row)
            assert tuple(row.paper) == INDEX.scores, (table.key, row)


def test_equal_configs_have_equal_numbers():
    numbers = {}
    for table in INDEX.tables:
        for row in table.rows:
            assert numbers.setdefault(row.config, row.paper) == row.paper, row.config


def test_the_readme_is_the_index():
    path = ROOT / 'configs/ablations/README.md'
    assert path.read_text(encoding='utf-8') == ablations.readme(INDEX), (
        'python tools/ablate.py --list --markdown > configs/ablations/README.md'
    )


@pytest.mark.parametrize('path', ablations.STUDIES)
def test_the_variants_of_a_study(path):
    """Each is listed, states its command, and changes only what its table varies."""
    where = ablations.read_index(ROOT, path)
    files = {str(found.relative_to(ROOT)) for found in shipped_configs(str(Path(path).parent))}
    listed = {row.config for table in where.tables for row in table.rows}
    assert listed == files | {'configs/synthrs_tiny.py'}
    for table in where.tables:
        assert [row.config for row in table.rows].count(table.parent) == 1, table.key
        for row in table.rows:
            assert len(row.values) == len(table.columns), (table.key, row)
            assert f'# python tools/train.py {row.config}' in (ROOT / row.config).read_text()
            found = ablations.row_differences(table, row, ROOT)
            assert bool(found) == (row.config != table.parent), row.config
            for key in found:
                assert any(key == place or key.startswith(place + '.') for place in table.varies), (
                    row.config,
                    key,
                )


@pytest.mark.parametrize('index', [ablations.INDEX, *ablations.STUDIES])
def test_the_index_says_what_each_config_changes(index):
    for table in ablations.read_index(ROOT, index).tables:
        for row in table.rows:
            ablations.check_row(table, row, ROOT, index)


def test_a_table_by_any_of_its_names():
    for name in ('table06', 'table6', '6', '06'):
        assert INDEX.table(name).number == 'VI'
    with pytest.raises(UserError, match=r"no table 'table5'.*there are table06"):
        INDEX.table('table5')
    with pytest.raises(UserError, match="repository's root"):
        ablations.read_index(ROOT / 'tests')


# ---- the configs ------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ROWS)
def test_a_short_file_that_changes_what_its_table_varies(name):
    table, row = ROWS[name]
    lines = (ROOT / row.config).read_text(encoding='utf-8').splitlines()
    assert 3 <= len(lines) <= 10
    assert lines[0].startswith(f'# Table {table.number}: ')
    assert f'# python tools/train.py {row.config}' in lines
    assert ablations.load_config(str(ROOT / row.config)).work_dir == f'work_dirs/{name}'
    allowed = (*table.varies, *row.forces)
    found = changes(name)
    assert found
    for key in found:
        assert any(key == place or key.startswith(place + '.') for place in allowed), key
    for key in row.forces:
        assert key in found, f'{key} is listed as forced and does not change'


DEFAULTS = inspect.signature(CascadedPrompter).parameters
# What the first column's value sets.
PLACES = {
    'clip-t': 'model.siglip.text_lora',
    'clip-v': 'model.siglip.vision_lora',
    'sam-v': 'model.sam.lora',
    'table07 Decomp.': 'model.prompter.decomposition_blocks',
    'table07 Interac.': 'model.prompter.interaction_blocks',
    'table07 Prompt': 'model.prompter.prompt_blocks',
    'table08 Decomp.': 'model.prompter.n_t',
    'table08 Prompt': 'model.prompter.n_p',
    'table14': 'model.siglip.image_size',
}


@pytest.mark.parametrize('key', ['table06', 'table07', 'table08', 'table14'])
def test_the_numbers_of_a_row_are_its_configs(key):
    """Nothing but the number that the row prints, at the place that it names."""
    table = INDEX.table(key)
    for row in table.rows:
        config = ablations.load_config(str(ROOT / row.config))
        first = row.values[0]
        place = PLACES.get(key) or PLACES.get(first) or PLACES[f'{key} {first}']
        found = functools.reduce(lambda part, name: part.get(name), place.split('.'), config)
        if place.endswith('lora'):
            found = 0 if found is None else found.r
        if found is None and place.startswith('model.prompter.'):
            found = DEFAULTS[place.rpartition('.')[2]].default
        if place.endswith('image_size'):
            found = f'{found or 384}x{found or 384}'  # None: the checkpoint's own
        assert str(found) == row.values[-1], (row.name, place)
        others = [
            key
            for key in (changes(row.name) if row.name in ROWS else ())
            if key != place and not key.startswith(f'{place}.')
        ]
        assert not others, (row.name, others)


@functools.cache
def once(part, arguments):
    """One tower of each kind, for all configs: on meta nothing is ever changed in it."""
    return part(**json.loads(arguments))


def two_layers(family, name):
    """A known tower at its full width, but for the depth that would only cost time."""
    config = known_config(family, name)
    if family == 'siglip':
        for part in ('text_config', 'vision_config'):
            config[part]['num_hidden_layers'] = 2
    return config


@pytest.fixture(scope='module')
def shared_towers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower_configs, 'known_config', two_layers)
        for name in ('DualModalityEncoder', 'MaskGenerator'):
            part = getattr(composer, name)
            patch.setattr(
                composer,
                name,
                lambda part=part, **given: once(part, json.dumps(given, sort_keys=True)),
            )
        yield


def shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@functools.cache
def full_size(path):
    return shapes(build_on_meta(ablations.load_config(str(ROOT / path)).model))


@pytest.mark.parametrize('name', ROWS)
def test_it_builds_at_full_width(name, shared_towers):
    table, row = ROWS[name]
    found = full_size(row.config)
    if name in FULL_SIZE:
        assert found != full_size(table.parent), 'other towers, and no weight of another shape'


def test_the_ranks_of_table_xvi():
    for name in FULL_SIZE:
        model = ablations.load_config(str(ROOT / ROWS[name][1].config)).model
        rank = 32 if model.sam.checkpoint.endswith(('tiny', 'small')) else 16
        assert model.sam.lora.r == rank
        assert model.siglip.vision_lora.r == model.siglip.text_lora.r == 16
        assert model.losses.seg.dice is not None


# ---- each option does something ---------------------------------------------------------------


def build(model):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(model).eval()


@functools.cache
def parent():
    return stirred(build(ablations.load_config(str(ROOT / ablations.TINY['tiny'])).model))


def outcome(model):
    """Every number that training or prediction sees, of two sentences."""
    torch.manual_seed(0)
    given = batch(model, [0, 1])
    with torch.no_grad():
        outputs = model(given['inputs'])
        losses = model.loss(
            outputs, Targets([s.gt_mask for s in given['data_samples']], given['inputs'].image_ids)
        )
    return {'mask_logits': outputs.mask_logits, **losses}


@functools.cache
def of_parent():
    return outcome(parent())


def effect(model) -> str:
    """How a variant of the tiny † model is another one; '' if it is not."""
    if shapes(model) != shapes(parent()):
        return 'weights'
    model.load_state_dict(parent().state_dict())
    found, wanted = outcome(model), of_parent()
    if set(found) != set(wanted):
        return 'losses'
    return next(
        (
            name
            for name in found
            if not torch.allclose(found[name], wanted[name], rtol=1e-4, atol=1e-6)
        ),
        '',
    )


@pytest.mark.parametrize('name', TINY)
def test_the_tiny_variant_is_another_model(name):
    config = ablations.tiny_config(*ROWS[name], ROOT)
    check_config(config)
    model = build(config.model)
    assert effect(model)
    assert all(torch.isfinite(value).all() for value in outcome(model).values())


def test_an_option_that_does_nothing_is_seen():
    model = ablations.load_config(str(ROOT / ablations.TINY['tiny'])).to_dict()['model']
    assert effect(build(model)) == ''
    model['prompter'].update(visual_pe='learnable', decomposition=dict(init='textpool'))
    assert effect(build(model)) == ''
    model['prompter'].update(visual_pe='zero')
    assert effect(build(model)) == 'weights'


def test_tiny_scale_is_the_same_change():
    table = INDEX.table('table10')
    config = ablations.tiny_config(table, table.rows[0], ROOT)
    assert (
        config.model.prompter.dense is None and config.model.prompter.type == 'SingleStagePrompter'
    )
    assert config.model.losses.ortho is config.model.losses.sample is None
    assert config.model.losses.dense is None, 'L_dense needs a dense prompt'
    table = INDEX.table('table14')
    sizes = [
        ablations.tiny_config(table, row, ROOT).model.siglip.get('image_size') for row in table.rows
    ]
    assert sizes == [112, None, 224, 384]  # of 192, as 224, 448 and 768 of 384
    with pytest.raises(UserError, match="row t14_size_224: its values are those of tiny's towers"):
        ablations.tiny_config(table, table.rows[0], ROOT, 'tiny_plus')
    with pytest.raises(UserError, match='table16 compares full-size towers'):
        ablations.tiny_config(INDEX.table('table16'), INDEX.table('table16').rows[0], ROOT)


@pytest.mark.parametrize('key', ['table10', 'table15'])
def test_the_best_tiny_recipe_has_the_same_changes(key):
    """As `tiny`, but for what its parent has otherwise: towers, rates, augmentation, the average."""
    table = INDEX.table(key)
    parents = (
        ablations.load_config(str(ROOT / path)).to_dict() for path in ablations.TINY.values()
    )
    recipe = ablations.differences(*list(parents)[::-1])
    for row in table.rows:
        plain, plus = (ablations.tiny_config(table, row, ROOT, scale) for scale in ablations.TINY)
        check_config(plus)
        found = ablations.differences(plus.to_dict(), plain.to_dict())
        assert found == recipe, row.name


def test_no_row_names_a_tiny_value_of_a_key_that_it_does_not_change():
    for name, (_, row) in ROWS.items():
        assert set(row.tiny) <= set(changes(name))
        assert all(re.fullmatch(r'model\.[\w.]+', key) for key in row.tiny)
