"""A config is read through before any long work: unknown keys and classes, with near matches."""
from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator

from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner

from .. import registry as ours
from ..errors import UserError, suggest
from .config_files import variables_of

# The runner's own, and mmengine's for the file; `from_cfg` does not pass `compile` on.
TOP_KEYS = (set(inspect.signature(FlexibleRunner.__init__).parameters)
            - {'self', 'cfg', 'compile'} | {'custom_imports'})
# Taken out by mmengine before the class is built.
BUILD_KEYS = {'type', '_scope_', '_delete_', 'priority', 'convert_to_iter_based'}
SPLITS = ('train', 'val', 'test')
OURS = 'TrainableOptimWrapperConstructor'
LOADER = ('torch.utils.data:DataLoader', '', 'sampler batch_sampler dataset collate_fn '
          'worker_init_fn disable_subprocess_warning')
# Dicts that name no class of their own, by their place: what they are passed to, which of its
# parameters our code fills in itself, and which keys are taken out before.
PLACES: dict[str, tuple[str, str, str]] = {
    'model.siglip': ('rsrefseg2.models.dual_modality_encoder:DualModalityEncoder', 'init', ''),
    'model.sam': ('rsrefseg2.models.mask_generator:MaskGenerator', 'init', ''),
    **dict.fromkeys(('model.siglip.vision_lora', 'model.siglip.text_lora', 'model.sam.lora'),
                    ('rsrefseg2.models.lora:inject_lora', 'tower family', '')),
    'model.prompter': ('', 'd1 d2 grid_size prompt_size logit_scale logit_bias', ''),
    'model.prompter.decomposition': (
        'rsrefseg2.models.prompter.semantic_decomposition:SemanticDecomposition',
        'd1 n_t blocks inner heads mlp_hidden mask_words', ''),
    'model.prompter.interaction': (
        'rsrefseg2.models.prompter.text_visual_interaction:TextVisualInteraction',
        'd1 blocks inner heads mlp_hidden', ''),
    'model.prompter.sparse': ('rsrefseg2.models.prompter.sparse_prompt:SparsePrompt',
                              'd1 d2 n_p blocks inner heads mlp_hidden', ''),
    'model.prompter.dense': ('rsrefseg2.models.prompter.dense_prompt:DensePrompt',
                             'd1 d2 size logit_scale logit_bias', ''),
    'model.data_preprocessor': ('rsrefseg2.models:RefSegDataPreprocessor',
                                'tokenizer init max_length size_where size_how mean_where '
                                'std_where', ''),
    **dict.fromkeys((f'{split}_dataloader' for split in SPLITS), LOADER),
    'val_cfg': ('mmengine.runner:ValLoop', 'runner dataloader evaluator', ''),
    'test_cfg': ('mmengine.runner:TestLoop', 'runner dataloader evaluator', ''),
    'optim_wrapper': ('mmengine.optim:OptimWrapper', '', 'constructor paramwise_cfg'),
    'optim_wrapper.clip_grad': ('torch.nn.utils:clip_grad_norm_', 'parameters', 'type clip_value'),
    'optim_wrapper.paramwise_cfg': ('rsrefseg2.engine.optim:group_parameters', 'model', ''),
    'randomness': ('mmengine._strategy:BaseStrategy._set_randomness', 'self', ''),
    'env_cfg': ('mmengine._strategy:BaseStrategy._setup_env', 'self launcher randomness', ''),
    'env_cfg.mp_cfg': ('mmengine.utils.dl_utils:set_multi_processing', 'distributed', ''),
    'auto_scale_lr': ('builtins:dict', '', 'enable base_batch_size'),
}
# Where a class must be named, and the names that a None switches off there.
TYPED = re.compile(r'model(\.prompter|\.losses\.\w+)?|strategy|visualizer|default_hooks\.\w+'
                   r'|custom_hooks\[\d+\]|param_scheduler(\[\d+\])?|optim_wrapper\.optimizer'
                   r'|(val|test)_evaluator|train_cfg'
                   r'|(train|val|test)_dataloader\.(dataset|sampler|batch_sampler)')
NAMES = {'model.losses': ('seg', 'ortho', 'sample', 'dense', 'spatial'),
         'default_hooks': ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler',
                           'checkpoint')}


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
            raise UserError(f'{path}: {option}: {key!r} is a variable of the config file, already '
                            'used when options are read: set the keys that it went to, such as '
                            'test_dataloader.dataset.data_root')
        if key not in TOP_KEYS:
            raise UserError(f'{path}: unknown top-level key {key!r}{suggest(key, TOP_KEYS)}')
    for key in list(cfg):
        if key in variables:
            cfg.pop(key)
        elif key not in TOP_KEYS:
            raise UserError(f'{path}: unknown top-level key {key!r}{suggest(key, TOP_KEYS)}')


def check_config(cfg: Config) -> None:
    """Raise on the first key, class or choice below the top level that nothing would read.

    Raises:
        UserError: which one, where in the config, and near matches.
    """
    optim_wrapper = cfg.get('optim_wrapper') or {}
    for key, value in cfg.items():
        _walk(value, key, cfg.filename, our_groups=optim_wrapper.get('constructor') == OURS)


def _walk(value: object, where: str, filename: str, our_groups: bool) -> None:
    """Check every dict below `value`; `where` is its dotted place in the config."""
    if where == 'optim_wrapper.paramwise_cfg' and not our_groups:
        return
    if isinstance(value, dict):
        _check_dict(value, where, filename)
        for key, child in value.items():
            _walk(child, f'{where}.{key}', filename, our_groups)
    elif isinstance(value, (list, tuple)):
        for i, child in enumerate(value):
            _walk(child, f'{where}[{i}]', filename, our_groups)
    elif value is not None and where in PLACES:
        raise UserError(f'{filename}: {where} is {value!r}, expected keys and values')


def _check_dict(value: dict, where: str, filename: str) -> None:
    """One dict that names a class, or stands where it is passed to a known one."""
    for key in NAMES.get(where, ()) and value:
        if value[key] is None and key not in NAMES[where]:
            raise UserError(f'{filename}: {where}.{key}=None switches nothing off'
                            f'{suggest(key, NAMES[where])}')
    place, fills, takes = PLACES.get(where, ('', '', ''))
    built = None
    if isinstance(value.get('type'), str) and 'type' not in takes.split():
        built = _find(value['type'])
        if built is None:
            known = {name for registry in _registries() for name in registry.module_dict}
            raise UserError(f'{filename}: {where}.type: unknown class {value["type"]!r}'
                            f'{suggest(value["type"], known)}')
    elif 'type' not in value and TYPED.fullmatch(where):
        parent, _, name = where.rpartition('.')
        raise UserError(f'{filename}: {where} names no class{suggest(name, NAMES.get(parent, ()))}'
                        ': add type=...')
    elif place and ('type' not in value or 'type' in takes.split()):
        built = _load(place)
    if built is not None:
        _check_keys(value, built, where, filename, fills=set(fills.split()),
                    takes=set(takes.split()))


def _check_keys(value: dict, built: Callable, where: str, filename: str, *, fills: set[str],
                takes: set[str]) -> None:
    """Every key is a parameter, and has one of its Literal's values where it is annotated so."""
    known, unknown = set(takes), set(value) - takes - BUILD_KEYS
    for cls in inspect.getmro(built) if inspect.isclass(built) else (built,):
        accepted = _parameters(cls)
        if accepted is None:
            return
        names, choices, passes_on = accepted
        for key in unknown & set(choices):
            if value[key] not in choices[key]:
                told = ', '.join(map(repr, choices[key]))
                near = suggest(str(value[key]), filter(None, map(str, choices[key])))
                raise UserError(f'{filename}: {where}.{key} is one of {told}, not '
                                f'{value[key]!r}{near}')
        known, unknown = known | names - fills, unknown - (names - fills)
        if not passes_on:
            break
    else:
        if not inspect.isclass(built):
            return
    if unknown:
        key = sorted(unknown)[0]
        name = f': {built.__name__}' if inspect.isclass(built) and built is not dict else ''
        raise UserError(f'{filename}: {where}{name} has no option {key!r}'
                        f'{suggest(key, known)}')


def _parameters(cls: Callable) -> tuple[set[str], dict[str, tuple], bool] | None:
    """Names that a constructor takes, the choices of those that are Literals, and whether it passes
    others on; None: unreadable."""
    if cls in (object, dict):
        return set(), {}, False
    if inspect.isclass(cls) and '__init__' not in vars(cls):
        return set(), {}, True
    function = cls.__init__ if inspect.isclass(cls) else cls
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # another library's, not made to be read
        hints = {}
    names = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    choices = {name: found for name, hint in hints.items() if (found := _choices(hint))}
    return names - {'self'}, choices, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _choices(hint: object) -> tuple:
    """The values of a Literal, or of Literal | None; () for any other annotation."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [(None,) if part is types.NoneType else _choices(part)
                 for part in typing.get_args(hint)]
        return sum(parts, ()) if all(parts) else ()
    return ()


def _load(place: str) -> Callable:
    """'module:name.name' -> the object."""
    module, _, names = place.partition(':')
    found = importlib.import_module(module)
    for name in names.split('.'):
        found = getattr(found, name)
    return found


def _registries() -> Iterator[Registry]:
    """Ours first, so that their locations are imported, then mmengine's."""
    for module in (ours, root):
        yield from (value for value in vars(module).values() if isinstance(value, Registry))


def _find(name: str) -> object | None:
    """The class of a config's `type`, in whichever registry has it."""
    for registry in _registries():
        found = registry.get(name)
        if found is not None:
            return found
    return None
