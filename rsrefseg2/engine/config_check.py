"""A config is read through before any long work: unknown keys and classes, with near matches."""
from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterator

from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner

from .. import registry as ours
from ..errors import UserError, suggest

# Read by the tools, beside the runner's own keys.
TOOL_KEYS = {'default_scope', 'custom_imports', 'env_cfg', 'cfg'}
# Taken out by mmengine before the class is built.
BUILD_KEYS = {'type', '_scope_', '_delete_', 'priority', 'convert_to_iter_based'}
# Sub-dicts without a type of their own, and the class that they are passed to.
UNTYPED = {'siglip': 'models.dual_modality_encoder.DualModalityEncoder',
           'sam': 'models.mask_generator.MaskGenerator',
           'dense': 'models.prompter.dense_prompt.DensePrompt'}


def check_config(cfg: Config) -> None:
    """Raise on the first key or class that nothing would read.

    Raises:
        UserError: which key or class, where in the config, and near matches.
    """
    known = set(inspect.signature(FlexibleRunner.__init__).parameters) - {'self'} | TOOL_KEYS
    for key in cfg:
        # Other names are the config's own variables (data_root, pipeline); a near miss is a typo.
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.85)
        if key not in known and near:
            raise UserError(f'{cfg.filename}: unknown top-level key {key!r} (did you mean '
                            f'{near[0]}?)')
    for key, value in cfg.items():
        _walk(value, key, cfg.filename)


def _walk(value: object, where: str, filename: str | None) -> None:
    """Check every dict below `value`; `where` is its dotted place in the config."""
    if isinstance(value, dict):
        _check_dict(value, where, filename)
        for key, child in value.items():
            _walk(child, f'{where}.{key}', filename)
    elif isinstance(value, (list, tuple)):
        for i, child in enumerate(value):
            _walk(child, f'{where}[{i}]', filename)


def _check_dict(value: dict, where: str, filename: str | None) -> None:
    """One dict that names a class, or is known to be passed to one."""
    last = where.rsplit('.', 1)[-1]
    if isinstance(value.get('type'), str):
        built = _find(value['type'])
        if built is None:
            known = {name for registry in _registries() for name in registry.module_dict}
            raise UserError(f'{filename}: {where}.type: unknown class {value["type"]!r}'
                            f'{suggest(value["type"], known)}')
    elif 'type' not in value and last in UNTYPED and where.startswith('model.'):
        module, name = UNTYPED[last].rsplit('.', 1)
        built = getattr(importlib.import_module(f'rsrefseg2.{module}'), name)
    else:
        return
    for cls in inspect.getmro(built) if inspect.isclass(built) else (built,):
        accepted = _parameters(cls)
        if accepted is None:
            return
        names, passes_on = accepted
        unknown = set(value) - names - BUILD_KEYS
        if not unknown:
            return
        if not passes_on:
            key = sorted(unknown)[0]
            raise UserError(f'{filename}: {where}: {built.__name__} has no option {key!r}'
                            f'{suggest(key, names)}')
        value = {key: value[key] for key in unknown}


def _parameters(cls: type) -> tuple[set[str], bool] | None:
    """Names that a constructor takes, and whether it passes others on; None: unreadable."""
    if inspect.isclass(cls) and '__init__' not in vars(cls):
        return set(), True
    try:
        parameters = inspect.signature(cls.__init__ if inspect.isclass(cls) else cls).parameters
    except (TypeError, ValueError):
        return None
    passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return set(parameters) - {'self'}, passes_on


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
