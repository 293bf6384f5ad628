"""Every value of a config is held to what its parameter is declared to take, before the build."""

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import Registry

from rsrefseg2 import bounds
from rsrefseg2 import registry as registry_module
from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.engine import load_config
from rsrefseg2.engine.config_check import PLACES, _load, check_config
from rsrefseg2.engine.config_hints import admits, describe
from rsrefseg2.engine.config_values import _resolve
from rsrefseg2.errors import UserError
from rsrefseg2.models import dual_modality_encoder
from tests import tiny_towers
from tests.shipped import ROOT

TINY = str(ROOT / 'configs/synthrs_tiny.py')
NUMBERS = [
    bounds.PositiveInt,
    bounds.NonNegativeInt,
    bounds.PositiveFloat,
    bounds.NonNegativeFloat,
    bounds.Fraction,
    bounds.BelowOne,
]
# Of another type, by the type of what stands there; a number may be a whole one by chance.
WRONG = {
    bool: ('abc', 3),
    int: ('abc', True, -7),
    float: ('abc', True, float('nan')),
    str: (3, ['x']),
    list: ('abc', 3),
    type(None): (1.5,),
}
RIGHT = {('opencv_num_threads', -7), ('log_level', 3), ('resume', 'abc')}  # mean something there


def leaves(value, where=''):
    """(dict or list, key, dotted place) of every value that is no dict, below a config."""
    items = enumerate(value) if isinstance(value, list) else list(value.items())
    for key, child in items:
        place = f'{where}[{key}]' if isinstance(value, list) else f'{where}.{key}'.lstrip('.')
        if isinstance(child, dict) or (
            isinstance(child, list) and child and all(isinstance(item, dict) for item in child)
        ):
            yield from leaves(child, place)
        elif key not in ('type', 'constructor', 'convert_to_iter_based'):
            yield value, key, place


@pytest.mark.parametrize('name', ['synthrs_tiny', 'release/rrsisd'])
def test_every_value_of_another_type_or_range_is_named(name):
    cfg = load_config(str(ROOT / f'configs/{name}.py'))
    places = list(leaves(cfg._cfg_dict))
    assert len(places) > 60
    for holder, key, place in places:
        value = holder[key]
        for wrong in WRONG[list if isinstance(value, tuple) else type(value)]:
            if not isinstance(wrong, list) and (key, wrong) in RIGHT:
                continue
            holder[key] = wrong
            with pytest.raises(UserError) as caught:
                check_config(cfg)
            assert str(caught.value).startswith(f'{cfg.filename}: {place} is {wrong!r}, expected ')
        holder[key] = value
    check_config(cfg)


@pytest.mark.parametrize(
    ('place', 'key'),
    [('model.siglip.vision_lora', 'r'), ('model.sam', 'checkpoint'), ('model', 'siglip')],
)
def test_a_required_key_that_is_missing_is_named(place, key):
    cfg = load_config(TINY)
    holder = cfg
    for name in place.split('.'):
        holder = holder[name]
    del holder[key]
    with pytest.raises(UserError) as caught:
        check_config(cfg)
    message = str(caught.value)
    assert message.startswith(f'{TINY}: {place}') and message.endswith(f'needs {key}: add it')


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NUMBERS),
    st.one_of(
        st.integers(-3, 3),
        st.floats(),
        st.booleans(),
        st.none(),
        st.text(max_size=2),
        st.lists(st.integers(), max_size=2),
    ),
)
def test_a_number_is_judged_as_msgspec_does(kind, value):
    if isinstance(value, float) and value.is_integer() and kind.__origin__ is int:
        assert not admits(value, kind)  # msgspec would make 2.0 a 2; a config's stays as it is
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        assert not admits(value, kind)
    else:
        assert admits(value, kind)


@pytest.mark.parametrize(
    ('hint', 'good', 'bad', 'says'),
    [
        (Literal['a', 1] | None, ['a', 1, None], ['b', True, 1.0], "one of 'a', 1 or None"),
        (str | dict, ['x', {}], [3, None, []], 'a text or keys and values'),
        (
            tuple[int, int],
            [(1, 2), [1, 2]],
            [[1], [1, 2, 3], 1, [1, 'a']],
            '2 values, each a whole number',
        ),
        (Sequence[float], [[], (1, 0.5)], ['12', [True], {}], 'a list, each item a number'),
        (
            Annotated[list[int], msgspec.Meta(min_length=1)],
            [[1]],
            [[]],
            'a list of 1 or more, each item a whole number',
        ),
        (
            dict[str, float],
            [{}, {'a': 1}],
            [{'a': 'b'}, {1: 2}, []],
            'keys and values, each value a number',
        ),
        (Callable | dict, [len, {}], ['len', 3], 'a function or keys and values'),
        (
            logging.Logger,
            [{'type': 'x'}, logging.getLogger()],
            [{}, 'x', None],
            'a Logger as dict(type=...)',
        ),
    ],
)
def test_an_annotation_takes_and_says(hint, good, bad, says):
    assert all(admits(value, hint) for value in good)
    assert not any(admits(value, hint) for value in bad)
    assert describe(hint) == says


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (
            {'train_dataloader.batch_size': 'abc'},
            "synthrs_tiny.py: train_dataloader.batch_size is 'abc', expected a whole number of at least "
            '1',
        ),
        (
            {'model.prompter.heads': 5},
            'model.prompter: attention width inner=96 is not a multiple of heads=5',
        ),
        ({'model.siglip.trainable': True}, 'model.siglip: trainable=True'),
        ({'model.frozen_dtype': 'bfloat16'}, "model: frozen_dtype='bfloat16'"),
        ({'train_cfg.max_epochs': 3}, 'train_cfg: one of max_epochs and max_iters'),
        ({'param_scheduler.1.end': 40}, 'param_scheduler[1]: end=40 does not lie behind begin=50'),
        ({'default_hooks.checkpoint.save_best': 'gIoUU'}, 'did you mean gIoU'),
        ({'default_hooks.loger.type': 'LoggerHook'}, 'default_hooks.loger is no known name'),
        (
            {'train_dataloader.dataset.pipeline': []},
            'dataset.pipeline is [], expected a list of 1 or',
        ),
        ({'optim_wrapper.optimizer.betas': [0.9]}, 'expected 2 values, each a number'),
        (
            {'model.losses.response': dict(type='ResponseLoss', center=1.0)},
            "model.losses.response: ResponseLoss has no option 'center' (did you mean centre?)",
        ),
        (
            {
                'model.losses.response': dict(
                    type='ResponseLoss', centre=None, background=None, negatives=None
                )
            },
            'model.losses.response: ResponseLoss needs centre, background or negatives',
        ),
        (
            {'model.prompter.interaction': dict(image_attention=False, image_scores=True)},
            'interaction.image_scores needs interaction.image_attention',
        ),
        ({'model.siglip': [1]}, 'model.siglip is [1], expected keys and values'),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(options, says):
    with pytest.raises(UserError) as caught:
        load_config(TINY, options=options)
    assert says in str(caught.value)


def test_the_annotations_of_our_constructors_can_be_read():
    load_config(TINY)  # imports what registers
    classes = [
        cls
        for registry in vars(registry_module).values()
        if isinstance(registry, Registry)
        for cls in registry.module_dict.values()
    ]
    places = [_load(place) for place, _, _ in PLACES.values() if place.startswith('rsrefseg2.')]
    for built in {*classes, *places}:
        function = built.__init__ if inspect.isclass(built) else built
        if not getattr(function, '__module__', '').startswith('rsrefseg2.'):
            continue
        for parameter in inspect.signature(function).parameters.values():
            if parameter.annotation not in (parameter.empty, 'Any'):
                assert _resolve(parameter, function) is not Any, (built, parameter)


def test_what_is_right_in_another_way_passes():
    load_config(
        TINY,
        options={
            'optim_wrapper.clip_grad.max_norm': float('inf'),
            'optim_wrapper.optimizer.lr': 0,
            'default_hooks.checkpoint.save_best': 'relation_hit',
            'val_evaluator.type': 'ObjectHitMetric',
            'custom_hooks': [dict(type='EMAHook')],
            'train_dataloader.dataset.indices': [0, 3],
            'train_dataloader.dataset.other_objects': True,
            'model.losses.response': None,
            'model.losses.attention': dict(type='AttentionLoss', stacks=['second_order']),
            'model.prompter.interaction': dict(image_scores=True),
            'default_hooks.checkpoint.by_epoch': False,
            'randomness.seed': None,
            'log_level': 'DEBUG',
        },
    )


def test_an_image_of_half_a_patch_is_mentioned(monkeypatch):
    said = []
    monkeypatch.setattr(dual_modality_encoder, 'print_log', lambda text, *_: said.append(text))
    for size in (35, 32):
        dual_modality_encoder.DualModalityEncoder(
            checkpoint=tiny_towers.siglip_config(), init='random', image_size=size
        )
    (line,) = said
    assert 'model.siglip.image_size 35 is no multiple of the patch of 8 pixels' in line
    assert 'the last 3 pixels' in line and '32 and 40 are' in line


def test_a_sample_without_inputs_is_an_error_of_the_pipeline():
    with pytest.raises(UserError, match='PackRefSegInputs'):
        unique_images_collate([{'img_path': 'a.png'}])


@pytest.mark.parametrize(('name', 'refused'), [('c.yaml', True), ('c.json', True), ('c.py', False)])
def test_a_config_that_is_data_runs_no_class_of_its_choice(name, refused):
    """A dotted name leads to any object; a .py config could call it anyway."""
    cfg = Config(dict(visualizer=dict(type='subprocess.Popen', args=['touch', 'ran'])))
    object.__setattr__(cfg, '_filename', name)
    if refused:
        with pytest.raises(UserError, match=f'{name}: visualizer.type: .* no registered class'):
            check_config(cfg)
    else:
        check_config(cfg)
