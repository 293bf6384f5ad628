"""What an annotation takes, and how that is said in words: `n_p: PositiveInt` takes 9, not True."""

from __future__ import annotations

import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from ..bounds import LARGEST

UNIONS = (typing.Union, types.UnionType)
LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)
MAPPINGS = (dict, Mapping)
BUILT = ' as dict(type=...)'


def admits(value: object, hint: Any) -> bool:
    """Whether a parameter declared as `hint` takes `value`.

    A config's dict with `type` is built to whatever a class is declared; lists and tuples are one.
    What is declared in another way (TypeVar, Protocol) takes everything.
    """
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is Annotated:
        return admits(value, args[0]) and all(_is_within(value, meta) for meta in args[1:])
    if kind in UNIONS:
        return any(admits(value, part) for part in args)
    if kind is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if hint in (None, types.NoneType):
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):  # NaN is no number, and True no whole one
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool) and value == value
    if kind in LISTS:
        if kind is Iterable and not isinstance(value, str):
            return isinstance(value, Iterable)
        return isinstance(value, (list, tuple, set, frozenset)) and _admits_items(value, kind, args)
    if kind in MAPPINGS:
        return isinstance(value, Mapping) and (
            len(args) != 2
            or all(admits(key, args[0]) and admits(child, args[1]) for key, child in value.items())
        )
    return _admits_object(value, kind)


def _admits_items(value: Collection, kind: type, args: tuple) -> bool:
    if kind is tuple and args and args[-1] is not Ellipsis:
        return len(value) == len(args) and all(map(admits, value, args))
    return not args or all(admits(item, args[0]) for item in value)


def _admits_object(value: object, kind: Any) -> bool:
    if kind is Callable:
        return callable(value) or isinstance(value, Mapping)
    if kind is Any or not isinstance(kind, type) or kind is type:
        return True
    try:
        return isinstance(value, kind) or (isinstance(value, Mapping) and 'type' in value)
    except TypeError:  # a Protocol
        return True


def _is_within(value: Any, meta: object) -> bool:
    """Whether a number or a length is within the bounds of `msgspec.Meta`; None is no bound."""
    if not isinstance(meta, Meta):
        return True
    return (
        (meta.ge is None or value >= meta.ge)
        and (meta.gt is None or value > meta.gt)
        and (meta.le is None or value <= meta.le)
        and (meta.lt is None or value < meta.lt)
        and (meta.min_length is None or len(value) >= meta.min_length)
    )


def find_fault(value: object, hint: Any, place: str = '') -> tuple[str, object, Any]:
    """The innermost value that is not taken, of one that `hint` does not take: its place below
    `place`, itself, and what is declared there."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    for part in args if kind in UNIONS else args[:1] if kind is Annotated else ():
        found = find_fault(value, part, place)
        if found[0] != place:
            return found
    if kind in MAPPINGS and len(args) == 2 and isinstance(value, Mapping):
        items = [(f'{place}.{key}', child, args[1]) for key, child in value.items()]
    elif kind in LISTS and len(args) == 1 and isinstance(value, (list, tuple)):
        items = [(f'{place}[{i}]', child, args[0]) for i, child in enumerate(value)]
    else:
        items = []
    return next(
        (
            find_fault(child, inner, inside)
            for inside, child, inner in items
            if not admits(child, inner)
        ),
        (place, value, hint),
    )


def describe(hint: Any) -> str:
    """What a parameter declared as `hint` takes, in words: 'a whole number of at least 1'."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is Annotated:
        described = describe(args[0])
        for meta in args[1:]:
            described = _describe_bounds(described, meta)
        return described
    if kind in UNIONS:
        return _describe_union(args)
    if kind is Literal:
        return f'one of {", ".join(map(repr, args))}' if len(args) > 1 else repr(args[0])
    if kind in LISTS:
        if kind is tuple and args and args[-1] is not Ellipsis:
            parts = dict.fromkeys(map(describe, args))
            return f'{len(args)} values, each {" or ".join(parts)}'
        return f'a list, each item {describe(args[0])}' if args else 'a list'
    if kind in MAPPINGS:
        return (
            'keys and values'
            if len(args) != 2 or args[1] is Any
            else f'keys and values, each value {describe(args[1])}'
        )
    names = {
        bool: 'True or False',
        int: 'a whole number',
        float: 'a number',
        str: 'a text',
        Callable: 'a function',
    }
    return names.get(kind) or f'a {getattr(kind, "__name__", kind)}{BUILT}'


def _describe_union(args: tuple) -> str:
    """Short ones first; a class beside a mapping is the mapping that it is built from."""
    names = [describe(part) for part in args if part is not types.NoneType]
    if any((typing.get_origin(part) or part) in MAPPINGS for part in args):
        names = [name for name in names if not name.endswith(BUILT)]
    lists = [name for name in names if name.startswith('a list')]
    none = ['None'] if types.NoneType in args else []
    return ' or '.join(dict.fromkeys([*(n for n in names if n not in lists), *none, *lists]))


def _describe_bounds(described: str, meta: object) -> str:
    if not isinstance(meta, Meta):
        return described
    if meta.min_length is not None:
        return described.replace('a list', f'a list of {meta.min_length} or more', 1)
    most = None if meta.le == LARGEST else meta.le
    if meta.ge is not None and most is not None:
        return f'{described} from {meta.ge} to {most}'
    bounds = [
        f' of at least {meta.ge}' if meta.ge is not None else '',
        f' above {meta.gt}' if meta.gt is not None else '',
        f' up to {most}' if most is not None else '',
        f' below {meta.lt}' if meta.lt is not None else '',
    ]
    return described + ' and'.join(filter(None, bounds))
