"""A config is read through before any long work: keys, classes and values, with near matches."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner

from .. import registry as ours
from ..errors import UserError, suggest
from .config_files import variables_of
from .config_values import BUILD_KEYS, DECLARED, check_best, check_values, lineage_of, parameters_of

# The runner's own, mmengine's for the file, and ours; `from_cfg` does not pass `compile` on.
TOP_KEYS = set(inspect.signature(FlexibleRunner.__init__).parameters) - {
    'self',
    'cfg',
    'compile',
} | {'custom_imports', 'memory_budget'}
SPLITS = ('train', 'val', 'test')
OURS = 'TrainableOptimWrapperConstructor'
LOADER = (
    'torch.utils.data:DataLoader',
    '',
    'sampler batch_sampler dataset collate_fn worker_init_fn disable_subprocess_warning',
)
# Dicts that name no class of their own, by their place: what they are passed to, which of its
# parameters our code fills in itself, and which keys are taken out before.
PLACES: dict[str, tuple[str, str, str]] = {
    'model.siglip': ('rsrefseg2.models.dual_modality_encoder:DualModalityEncoder', 'init', ''),
    'model.sam': ('rsrefseg2.models.mask_generator:MaskGenerator', 'init', ''),
    'model.swin': ('rsrefseg2.models.baselines.swin_encoder:SwinEncoder', 'init', ''),
    'model.bert': ('rsrefseg2.models.baselines.bert_encoder:BertEncoder', 'init', ''),
    'model.fusion': (
        'rsrefseg2.models.baselines.pixel_word_attention:PixelWordAttention',
        'width text_width',
        '',
    ),
    'model.decoder': ('rsrefseg2.models.baselines.top_down_decoder:TopDownDecoder', 'widths', ''),
    'model.enhancement': (
        'rsrefseg2.models.baselines.language_guided_enhancement:LanguageGuidedEnhancement',
        'widths text_width',
        '',
    ),
    'model.intra_scale': (
        'rsrefseg2.models.baselines.scale_interaction:IntraScaleInteraction',
        'width',
        '',
    ),
    'model.cross_scale': (
        'rsrefseg2.models.baselines.scale_interaction:CrossScaleInteraction',
        'widths',
        '',
    ),
    **dict.fromkeys(
        ('model.siglip.vision_lora', 'model.siglip.text_lora', 'model.sam.lora'),
        ('rsrefseg2.models.towers.lora:inject_lora', 'tower family', ''),
    ),
    'model.sam.stability_rule': (
        'rsrefseg2.models.mask_generator:use_stability_rule',
        'decoder',
        '',
    ),
    'model.prompter': ('', 'towers', ''),
    'model.prompter.decomposition': (
        'rsrefseg2.models.prompter.semantic_decomposition:SemanticDecomposition',
        'd1 n_t blocks inner heads mlp_hidden',
        '',
    ),
    'model.prompter.interaction': (
        'rsrefseg2.models.prompter.text_visual_interaction:TextVisualInteraction',
        'd1 blocks inner heads mlp_hidden',
        '',
    ),
    'model.prompter.sparse': (
        'rsrefseg2.models.prompter.sparse_prompt:SparsePrompt',
        'd1 d2 n_p blocks inner heads mlp_hidden',
        '',
    ),
    'model.prompter.dense': (
        'rsrefseg2.models.prompter.dense_prompt:DensePrompt',
        'd1 d2 size logit_scale logit_bias',
        '',
    ),
    'model.data_preprocessor': (
        'rsrefseg2.models:RefSegDataPreprocessor',
        'tokenizer init max_length size_siglip size_sam mean_siglip std_siglip',
        '',
    ),
    **dict.fromkeys((f'{split}_dataloader' for split in SPLITS), LOADER),
    'val_cfg': ('mmengine.runner:ValLoop', 'runner dataloader evaluator', ''),
    'test_cfg': ('mmengine.runner:TestLoop', 'runner dataloader evaluator', ''),
    'optim_wrapper': ('mmengine.optim:OptimWrapper', '', 'constructor paramwise_cfg'),
    'optim_wrapper.clip_grad': ('torch.nn.utils:clip_grad_norm_', 'parameters', 'type clip_value'),
    'optim_wrapper.paramwise_cfg': ('rsrefseg2.engine.optim:group_parameters', 'model', ''),
    'randomness': ('mmengine._strategy:BaseStrategy._set_randomness', 'self', ''),
    'env_cfg': ('mmengine._strategy:BaseStrategy._setup_env', 'self launcher randomness', ''),
    'env_cfg.dist_cfg': ('mmengine.dist:init_dist', 'launcher', ''),
    'env_cfg.mp_cfg': ('mmengine.utils.dl_utils:set_multi_processing', 'distributed', ''),
    'auto_scale_lr': ('builtins:dict', '', 'enable base_batch_size'),
}
# Given by the runner to what it builds: loops, samplers, the visualizer.
FILLED = (
    'runner',
    'dataloader',
    'evaluator',
    'dataset',
    'sampler',
    'batch_size',
    'drop_last',
    'name',
    'save_dir',
)
# Where a class must be named, and the names that a None switches off there.
TYPED = re.compile(
    r'model(\.prompter|\.losses\.\w+)?|strategy|visualizer|default_hooks\.\w+'
    r'|custom_hooks\[\d+\]|param_scheduler(\[\d+\])?|optim_wrapper\.optimizer'
    r'|(val|test)_evaluator|train_cfg'
    r'|(train|val|test)_dataloader\.(dataset|sampler|batch_sampler)'
)
SEVERAL = ('param_scheduler', 'val_evaluator', 'test_evaluator')  # a dict, or a list of them
NAMES = {
    'model.losses': (
        'seg',
        'ortho',
        'sample',
        'dense',
        'spatial',
        'response',
        'attention',
        'iou',
        'presence',
    ),
    'default_hooks': (
        'runtime_info',
        'timer',
        'sampler_seed',
        'logger',
        'param_scheduler',
        'checkpoint',
    ),
}


def check_top_keys(cfg: Config, options: Iterable[str], path: str) -> None:
    """Refuse top-level keys that nothing reads, of the files and of `--cfg-options`; then drop the
    files' own variables (`loader`, `data_root`), which have served.

    Raises:
        UserError: which keys, of which file or option, and near matches.
    """
    variables = variables_of(path, TOP_KEYS)
    for option in options:
        key = option.split('.')[0]
        if key in variables:
            raise UserError(
                f'{path}: {option}: {key!r} is a variable of the config file, already '
                'used when options are read: set the keys that it went to, such as '
                'test_dataloader.dataset.data_root'
            )
        if key not in TOP_KEYS:
            raise UserError(f'{path}: unknown top-level key {key!r}{suggest(key, TOP_KEYS)}')
    for key in list(cfg):
        if key in variables:
            cfg.pop(key)
        elif key not in TOP_KEYS:
            raise UserError(f'{path}: unknown top-level key {key!r}{suggest(key, TOP_KEYS)}')


def check_config(cfg: Config) -> None:
    """Raise on the first key, class or value that what it goes to does not take.

    Raises:
        UserError: which one, where in the config, what was expected, and near matches.
    """
    optim_wrapper = cfg.get('optim_wrapper') or {}
    ours = isinstance(optim_wrapper, dict) and optim_wrapper.get('constructor') == OURS
    check_values(dict(cfg.items()), FlexibleRunner, '', cfg.filename)
    for key, value in cfg.items():
        _walk(value, key, cfg.filename, our_groups=ours)
    check_best(cfg, _find, cfg.filename)


def _walk(value: object, where: str, filename: str, our_groups: bool) -> None:
    """Check every dict below `value`; `where` is its dotted place in the config."""
    if where == 'optim_wrapper.paramwise_cfg' and not our_groups:
        return
    if isinstance(value, dict):
        require_all = _check_dict(value, where, filename)
        for key, child in value.items():
            _walk(child, f'{where}.{key}', filename, our_groups)
        require_all()  # last: what is wrong with a child says more
    elif isinstance(value, (list, tuple)) and (where in SEVERAL or not _is_dict_place(where)):
        for i, child in enumerate(value):
            _walk(child, f'{where}[{i}]', filename, our_groups)
    elif value is not None and _is_dict_place(where):
        raise UserError(f'{filename}: {where} is {value!r:.80}, expected keys and values')


def _is_dict_place(where: str) -> bool:
    return where in PLACES or TYPED.fullmatch(where) is not None


def _check_dict(value: dict, where: str, filename: str) -> Callable[[], None]:
    """One dict that names a class, or stands where it is passed to a known one; -> the check of
    its required keys."""
    for key in value if where in NAMES else ():
        near = suggest(key, NAMES[where])
        if key in NAMES[where] or isinstance(value[key], dict) and 'type' not in value[key]:
            continue  # of a dict without a class more is said below
        if value[key] is None or near:
            what = '=None switches nothing off' if value[key] is None else ' is no known name'
            raise UserError(f'{filename}: {where}.{key}{what}{near}')
    place, fills, takes = PLACES.get(where, ('', '', ''))
    built = None
    if isinstance(value.get('type'), str) and 'type' not in takes.split():
        built = _find(value['type'])
        if built is None:
            known = {name for registry in _registries() for name in registry.module_dict}
            raise UserError(
                f'{filename}: {where}.type: unknown class {value["type"]!r}'
                f'{suggest(value["type"], known)}'
            )
        if not filename.endswith('.py') and built not in _registered():
            raise UserError(
                f'{filename}: {where}.type: {value["type"]!r} is no registered class, '
                'and a YAML or JSON config runs no other: name a registered one, or '
                'write a .py config'
            )
    elif 'type' not in value and TYPED.fullmatch(where):
        parent, _, name = where.rpartition('.')
        raise UserError(
            f'{filename}: {where} names no class{suggest(name, NAMES.get(parent, ()))}'
            ': add type=...'
        )
    elif place and ('type' not in value or 'type' in takes.split()):
        built = _load(place)
    elif where in DECLARED:
        check_values(value, dict, where, filename)
    if built is not None:
        _check_keys(
            value, built, where, filename, fills=set(fills.split()), takes=set(takes.split())
        )
        check_values(value, built, where, filename)
        return lambda: _check_required({*value, *fills.split(), *FILLED}, built, where, filename)
    return lambda: None


def _check_keys(
    value: dict, built: Callable, where: str, filename: str, *, fills: set[str], takes: set[str]
) -> None:
    """Every key is a parameter."""
    known, unknown = set(takes), set(value) - takes - BUILD_KEYS
    for cls in lineage_of(built):
        accepted = parameters_of(cls)
        if accepted is None:
            return
        hints, passes_on = accepted
        names = set(hints) - fills
        known, unknown = known | names, unknown - names
        if not passes_on:
            break
    else:
        if not inspect.isclass(built):
            return
    if unknown:
        key = sorted(unknown)[0]
        raise UserError(
            f'{filename}: {where}{_name(built)} has no option {key!r}{suggest(key, known)}'
        )


def _check_required(given: set[str], built: Callable, where: str, filename: str) -> None:
    """Every parameter without a default is given."""
    missing = [key for key in _required(built) if key not in given]
    # a function that is named, not built, gets its arguments later
    if missing and (inspect.isclass(built) or where in PLACES):
        raise UserError(f'{filename}: {where}{_name(built)} needs {", ".join(missing)}: add it')


def _name(built: Callable) -> str:
    return f': {built.__name__}' if inspect.isclass(built) and built is not dict else ''


def _required(built: Callable) -> Iterator[str]:
    """The parameters of one of our own functions and classes that have no default."""
    if built.__module__.startswith('rsrefseg2.'):
        for parameter in inspect.signature(built).parameters.values():
            if parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                yield parameter.name


def _load(place: str) -> Callable:
    """'module:name.name' -> the object."""
    module, _, names = place.partition(':')
    found: Any = importlib.import_module(module)
    for name in names.split('.'):
        found = getattr(found, name)
    return found


def _registries() -> Iterator[Registry]:
    """Ours first, so that their locations are imported, then mmengine's."""
    for module in (ours, root):
        yield from (value for value in vars(module).values() if isinstance(value, Registry))


def _registered() -> list[object]:
    """Everything in our registries, mmengine's, and those of other packages below them."""
    found, pending = [], list(_registries())
    while pending:
        registry = pending.pop()
        found += registry.module_dict.values()
        pending += registry.children.values()
    return found


def _find(name: str) -> Any:
    """The class of a config's `type`, in whichever registry has it."""
    for registry in _registries():  # `get` searches parents and packages, which takes long
        registry.import_from_location()
        if name in registry.module_dict:
            return registry.module_dict[name]
    for registry in _registries():
        found = registry.get(name)
        if found is not None:
            return found
    return None
