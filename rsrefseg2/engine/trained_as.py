"""What a checkpoint's weights were trained as: the settings of the model that change what the same
weights compute, the tokenizer, the data. Kept in its `meta`, compared where it is used."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from ..errors import UserError
from ..models.towers.tokenizers import PretrainedTokenizer, TowerTokenizer, words_in
from ..registry import MODELS
from .checkpoint_files import HASHED
from .config_check import PLACES
from .renames import rename, rename_settings

# Keys of `model` that do not change what given weights compute: where the towers lie (their weights
# have a hash of their own), what concerns training alone, and in which precision it is computed.
NO_FUNCTION = re.compile(
    r'init|(siglip|sam|swin|bert)\.checkpoint|bert\.tokenizer|losses(\..*)?|(\w+\.)?\w*recompute(\..*)?'
    r'|.*\.dropout|.*\.trainable|swin\.drop_path|bert\.trained_layers|sam\.train_prompt_encoder|frozen_dtype|prediction_dtype|cuda_graphs|compile_blocks'
    r'|autocast|test_(symmetries|shift|agreement)|whole_view|with_target|presence_threshold|sam\.score_heads'
    r'|data_preprocessor\.(type|tokenizer|init)'
    r'|prompter\.interaction\.image_scores'
)
# Of a run, what is reported where a resume changes it. Where data lie is no change of them.
OF_THE_RUN = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')
NO_CHANGE = (
    'data_root',
    'made_by',
    'checkpoint',
    'num_workers',
    'persistent_workers',
    'prefetch_factor',
    'pin_memory',
)
OPTIONS = (
    'data_preprocessor',
    'decomposition',
    'interaction',
    'sparse',
    'fusion',
    'decoder',
)  # None: nothing special
PROBE = ('the Ship at the upper-left', 'two storage tanks, 3 m apart.', 'a b\u00e9ton \u8239')


# ------------------------------------------------------------------ the model


class Setting(NamedTuple):
    """A leaf of a config's `model`."""

    key: str  # dotted, below `model`
    value: Any
    default: Any  # of the class that it is passed to


def function_of(model: Mapping) -> dict[str, Any]:
    """{dotted key: value} of a config's `model`, of all that changes what given weights compute,
    the defaults of the classes included."""
    return {setting.key: setting.value for setting in _settings(model, '')}


def _settings(value: Mapping, where: str) -> Iterator[Setting]:
    """What a dict of `model` says, and what its class adds."""
    place, fills, _ = PLACES.get(f'model.{where}', ('', '', ''))
    built = (
        MODELS.get(value['type'])
        if isinstance(value.get('type'), str)
        else pkgutil.resolve_name(place)
        if place
        else None
    )
    defaults = {name: default for name, default in _defaults(built) if name not in fills.split()}
    given = {**defaults, **value}
    if where.endswith('lora') and given.get('alpha') is None:
        given['alpha'] = given.get('r')  # as it is read
    for name, child in given.items():
        key = f'{where}.{name}'.lstrip('.')
        if NO_FUNCTION.fullmatch(key):
            continue
        if child is None and name in OPTIONS:
            child = {}
        if isinstance(child, Mapping):
            if name not in OPTIONS:
                yield Setting(key, 'on', None)
            yield from _settings(child, key)
        elif child is not None:  # not there, or switched off
            yield Setting(key, _plain(child), _plain(defaults.get(name)))


@functools.cache
def _defaults(built: Callable | None) -> tuple[tuple[str, Any], ...]:
    if built is None:
        return ()
    return tuple(
        (p.name, p.default)
        for p in inspect.signature(built).parameters.values()
        if p.default is not inspect.Parameter.empty
    )


def _plain(value: Any) -> Any:
    """`value` as JSON would give it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def check_function(model: Mapping, checkpoint: dict, path: str | os.PathLike) -> None:
    """The config's `model` computes with the checkpoint's weights what they were trained to.

    Raises:
        UserError: what differs.
    """
    recorded = recorded_function(checkpoint, path)
    if recorded is None:
        return
    settings = list(_settings(model, ''))
    # What this version has more than the one that wrote the file was as it is by default.
    before = {**{s.key: s.default for s in settings if s.default is not None}, **recorded}
    differing = _differing(before, {s.key: s.value for s in settings})
    if differing:
        lines = ', '.join(f'model.{line}' for line in differing)
        raise UserError(
            f'checkpoint {path} was trained as another model, here is {lines}: its '
            'weights would compute something else: give the config of its training'
        )


def recorded_function(checkpoint: dict, path: str | os.PathLike) -> dict[str, Any] | None:
    """`function_of` the model that was trained, by the checkpoint itself or, where it was
    published, by the config beside it; None: nothing says."""
    meta = checkpoint.get('meta', {})
    if 'function' in meta:
        return rename_settings(meta['function'])
    recorded, named = recorded_config(meta.get('cfg', '')), HASHED.fullmatch(Path(path).name)
    beside = Path(path).with_name(f'{named[1]}.py') if named else None
    if recorded is None and beside is not None and beside.is_file():
        recorded = recorded_config(beside.read_text(encoding='utf-8', errors='replace'))
    model = (recorded or {}).get('model')
    return function_of(model) if isinstance(model, Mapping) else None


def recorded_config(text: str) -> dict[str, Any] | None:
    """The config of a text as mmengine writes it, read as literals: a file's text is not to be
    executed. None: it is none, or not in literals."""
    try:
        body: list[Any] = list(ast.parse(text).body)
        found = {node.targets[0].id: _literal(node.value) for node in body}
    except (
        TypeError,
        ValueError,
        SyntaxError,
        AttributeError,
        IndexError,
        RecursionError,
        MemoryError,
    ):
        return None
    rename(found)
    return found or None


def _literal(node: ast.expr | None) -> Any:
    """A node of literals and of dict(...)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        if not all(word.arg for word in node.keywords):
            raise ValueError('dict(...) of something else than keywords')
        # mmengine writes keys that are no names, 'encoder.' for one, as dict({...})
        (given,) = map(_literal, node.args) if node.args else ({},)
        return {**given, **{word.arg: _literal(word.value) for word in node.keywords}}
    if isinstance(node, ast.Dict):
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        kind = list if isinstance(node, ast.List) else tuple
        return kind(_literal(child) for child in node.elts)
    return ast.literal_eval(node or '')


# ------------------------------------------------------------------ tokenizer and data


def tokenizer_mark(tokenizer: TowerTokenizer) -> str:
    """A hash of what a tokenizer makes of text: its words' ids, and those of a few sentences."""
    words = (
        sorted(tokenizer.tokenizer.get_vocab().items())
        if isinstance(tokenizer, PretrainedTokenizer)
        else type(tokenizer).__name__
    )
    return _hash(
        words,
        tokenizer.pad_id,
        tokenizer.eos_id,
        tokenizer.bos_id,
        [list(tokenizer.sentence_ids(text)) for text in PROBE],
    )


def data_mark(dataset: Dataset) -> str | None:
    """A hash of a data set's records, in order, and of the sizes of their files; where its folder
    lies is no part of it. None: it has no records."""
    if not hasattr(dataset, 'get_data_info'):
        return None
    root, sizes = getattr(dataset, 'data_root', '') or '', {}
    marks = []
    for index in range(len(dataset)):
        record = dict(dataset.get_data_info(index))
        record.pop('sample_idx', None)
        for key, value in record.items():
            if key.endswith('_path') and isinstance(value, str):
                if value not in sizes:
                    sizes[value] = os.path.getsize(value) if os.path.isfile(value) else None
                record[key] = os.path.relpath(value, root), sizes[value]
        marks.append(_hash(sorted(record.items())))
    return _hash(marks)


def words_of(dataset: Dataset) -> list[str] | None:
    """The words of a data set's sentences, lower case, in order. None: it has no sentences."""
    if not hasattr(dataset, 'get_data_info'):
        return None
    found: set[str] = set()
    for index in range(len(dataset)):
        found.update(words_in(dataset.get_data_info(index).get('text', '')))
    return sorted(found) or None


def _hash(*values: Any) -> str:
    return hashlib.sha256(repr(values).encode('utf-8', 'backslashreplace')).hexdigest()


# ------------------------------------------------------------------ a run that goes on


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`key=value instead of value`, for all that the config of a run that goes on has otherwise
    than the recorded one and that bears on the training."""
    before, after = (
        dict(leaf for key in OF_THE_RUN for leaf in _leaves(config.get(key), key))
        for config in (recorded, now)
    )
    return _differing(before, after)


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    children = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, (list, tuple))
        else None
    )
    if children is not None:
        for key, child in children:
            yield from _leaves(child, f'{where}.{key}')
    elif where.rpartition('.')[2] not in NO_CHANGE:
        yield where, _plain(value)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f'{key}={after.get(key)!r} instead of {before.get(key)!r}'
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
