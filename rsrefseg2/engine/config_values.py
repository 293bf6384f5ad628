"""Every value of a config is what its parameter is declared to take; it is checked before anything
is built."""

from __future__ import annotations

import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from ..bounds import BelowOne, Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt
from ..errors import UserError, suggest
from .config_hints import admits, describe, find_fault

# Taken out by mmengine before the class is built.
BUILD_KEYS = {'type', '_scope_', '_delete_', 'priority', 'convert_to_iter_based'}
LEVELS = Literal['CRITICAL', 'FATAL', 'ERROR', 'WARNING', 'WARN', 'INFO', 'DEBUG', 'NOTSET']
# What other libraries' parameters take, where they declare less; by a class's name, its subclasses
# included, or by a place of the config ('': its top level).
DECLARED: dict[str, dict[str, Any]] = {
    '': dict(
        work_dir=str | None,
        default_hooks=dict | None,
        log_level=LEVELS | int,
        memory_budget=str | None,
    ),
    **dict.fromkeys(
        ('train_dataloader.dataset', 'val_dataloader.dataset', 'test_dataloader.dataset'),
        dict(pipeline=Annotated[Sequence[dict | Callable], Meta(min_length=1)]),
    ),
    'auto_scale_lr': dict(enable=bool, base_batch_size=PositiveInt),
    'env_cfg': dict(resource_limit=PositiveInt),
    'env_cfg.dist_cfg': dict(backend=str, init_backend=str, timeout=PositiveInt),
    'env_cfg.mp_cfg': dict(
        mp_start_method=Literal['fork', 'spawn', 'forkserver'], opencv_num_threads=int
    ),
    'optim_wrapper.clip_grad': dict(
        max_norm=Annotated[float, Meta(gt=0)], norm_type=Annotated[float, Meta(gt=0)]
    ),
    'randomness': dict(seed=Annotated[int, Meta(ge=0, le=2**32 - 1)] | None),
    'strategy.bf16': dict(enabled=bool),
    'strategy.zero_optimization': dict(
        stage=Literal[0, 1, 2, 3], overlap_comm=bool, contiguous_gradients=bool
    ),
    'Adam': dict(betas=tuple[BelowOne, BelowOne]),
    'CrossEntropyLoss': dict(
        use_sigmoid=bool, use_mask=bool, loss_weight=NonNegativeFloat, avg_non_ignore=bool
    ),
    'CosineAnnealingParamScheduler': dict(T_max=PositiveInt | None, eta_min_ratio=Fraction | None),
    'DataLoader': dict(
        batch_size=PositiveInt,
        num_workers=NonNegativeInt,
        timeout=NonNegativeFloat,
        prefetch_factor=PositiveInt | None,
    ),
    'DiceLoss': dict(
        use_sigmoid=bool,
        activate=bool,
        naive_dice=bool,
        loss_weight=NonNegativeFloat,
        eps=NonNegativeFloat,
    ),
    'LinearParamScheduler': dict(
        start_factor=Annotated[float, Meta(gt=0, le=1)], end_factor=Fraction
    ),
    'LoggerHook': dict(interval=PositiveInt, interval_exp_name=PositiveInt),
    'LogProcessor': dict(
        window_size=PositiveInt, by_epoch=bool, num_digits=NonNegativeInt, mean_pattern=str
    ),
    'OptimWrapper': dict(accumulative_counts=PositiveInt),
    'Optimizer': dict(
        lr=NonNegativeFloat,
        weight_decay=NonNegativeFloat,
        momentum=NonNegativeFloat,
        betas=Annotated[Sequence[BelowOne], Meta(min_length=2)],
        eps=NonNegativeFloat | Sequence[NonNegativeFloat | None],
    ),
    '_ParamScheduler': dict(begin=NonNegativeInt, end=NonNegativeInt),
}


def check_span(*, begin: int = 0, end: float = math.inf) -> None:
    """A schedule's.

    Raises:
        UserError: it ends before it begins.
    """
    if end <= begin:
        raise UserError(f'end={end} does not lie behind begin={begin}: the schedule has no step')


# Values of another library's class that must fit each other. Our own classes have `check_values`.
RELATIONS: dict[str, Callable] = {'_ParamScheduler': check_span}


def check_best(cfg: Mapping[str, Any], find: Callable[[str], Any], filename: str) -> None:
    """The score that chooses the best checkpoint is one that the validation gives.

    A metric says its scores in `SCORES`, a pattern; a class without its own is not asked.

    Args:
        find: the class of a `type`.
    Raises:
        UserError: it is not among them.
    """
    best = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    evaluators = cfg.get('val_evaluator')
    patterns = []
    for metric in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if not isinstance(metric, dict):
            return
        scores = vars(find(metric['type'])).get('SCORES')
        if scores is None:
            return
        prefix = metric.get('prefix')
        patterns.append(f'{re.escape(prefix)}/(?:{scores})' if prefix else scores)
    if best is not None and not any(re.fullmatch(pattern, best) for pattern in patterns):
        plain = '|'.join(patterns).replace('\\', '').split('|')
        raise UserError(
            f'{filename}: default_hooks.checkpoint.save_best is {best!r}, expected a '
            f'score of val_evaluator{suggest(best, plain)}: gIoU, for one'
        )


def check_values(value: dict, built: Callable, where: str, filename: str) -> None:
    """Every value is what its parameter is declared to take, and they fit each other."""
    for key in set(value) - BUILD_KEYS:
        hint = declared(built, key, where)
        if not admits(value[key], hint):
            place, found, hint = find_fault(value[key], hint, f'{where}.{key}'.lstrip('.'))
            near = suggest(found, _choices(hint)) if isinstance(found, str) else ''
            raise UserError(
                f'{filename}: {place} is {found!r:.80}, expected {describe(hint)}{near}'
            )
    lineage = lineage_of(built)
    check = getattr(built, 'check_values', None) or next(
        (RELATIONS[cls.__qualname__] for cls in lineage if cls.__qualname__ in RELATIONS), None
    )
    if check is None:
        return
    defaults: dict[str, Any] = {}
    for cls in reversed(lineage):  # a subclass may pass on what it does not name
        if cls not in (object, dict) and parameters_of(cls) is not None:
            defaults |= {
                name: parameter.default
                for name, parameter in inspect.signature(cls).parameters.items()
                if parameter.default is not parameter.empty
            }
    taken = inspect.signature(check).parameters
    known = {key: given for key, given in {**defaults, **value}.items() if key in taken}
    if any(
        parameter.default is parameter.empty and key not in known
        for key, parameter in taken.items()
    ):
        return  # a required one is not given: its constructor says so
    try:
        check(**known)
    except UserError as error:
        raise UserError(f'{filename}: {where}: {error}') from None


def declared(built: Callable, key: str, where: str) -> Any:
    """What the parameter `key` of `built` takes: by its place, by our own annotation, by DECLARED
    for another library's, or by its annotation; Any: not known."""
    lineage = lineage_of(built)
    if key in DECLARED.get(where, ()):
        return DECLARED[where][key]
    annotated = Any
    for cls in lineage:
        hints, passes_on = parameters_of(cls) or ({}, False)
        if key in hints:
            annotated = hints[key]
            if cls.__module__.startswith('rsrefseg2.'):
                return annotated
            break
        if not passes_on:
            break
    return next(
        (
            DECLARED[cls.__qualname__][key]
            for cls in lineage
            if key in DECLARED.get(cls.__qualname__, ())
        ),
        annotated,
    )


def lineage_of(built: Callable) -> tuple[Callable, ...]:
    """The classes whose constructors share the arguments: the method resolution order; of a
    function, itself."""
    return inspect.getmro(built) if inspect.isclass(built) else (built,)


@functools.cache
def parameters_of(cls: Callable) -> tuple[dict[str, Any], bool] | None:
    """What a constructor takes, each with its annotation, and whether it passes others on; None:
    unreadable."""
    if cls in (object, dict):
        return {}, False
    if inspect.isclass(cls) and '__init__' not in vars(cls):
        return {}, True
    function = cls.__init__ if inspect.isclass(cls) else cls
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    hints = {
        p.name: _resolve(p, function)
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != 'self'
    }
    return hints, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _resolve(parameter: inspect.Parameter, function: Callable) -> Any:
    """The annotation of a parameter, or Any; None is taken where it is the default."""
    if parameter.annotation is parameter.empty:
        return Any
    alone = types.SimpleNamespace(__annotations__={'it': parameter.annotation})
    try:
        hint = typing.get_type_hints(
            alone, getattr(function, '__globals__', {}), include_extras=True
        )['it']
    except (NameError, TypeError, AttributeError, SyntaxError):  # not made to be read
        return Any
    return hint | None if parameter.default is None and hint is not Any else hint


def _choices(hint: Any) -> list[str]:
    """The texts among the values of a Literal, or of a union with one."""
    if typing.get_origin(hint) is typing.Literal:
        return [choice for choice in typing.get_args(hint) if isinstance(choice, str)]
    return [choice for part in typing.get_args(hint) for choice in _choices(part)]
