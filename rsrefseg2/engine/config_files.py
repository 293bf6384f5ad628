"""A config file and its bases: read with one clear line for what is wrong; their own variables."""

from __future__ import annotations

import ast
import os
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar

from mmengine.config import Config
from yaml.constructor import ConstructorError

from ..compat import use_safe_configs
from ..errors import UserError, suggest
from .config_variables import fill
from .renames import rename

MOST_READ = 20  # times that one file may be read for a config; a base of its own has no end
_read: ContextVar[Counter[str] | None] = ContextVar('read', default=None)


def read_config(path: str) -> Config:
    """The config at `path` and its bases.

    Raises:
        UserError: the file does not exist, does not parse, or raises while it is read.
    """
    if not os.path.isfile(path):
        raise UserError(f'config {path} does not exist')
    token = _read.set(Counter())
    try:
        config = Config.fromfile(path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config is a program: it may raise anything
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == '<module>'
        ]  # a config's own lines
        line = f' ({frames[-1].filename}, line {frames[-1].lineno})' if frames else ''
        if isinstance(error, SystemExit):
            what = 'it ends the program, where it should only assign names'
        elif isinstance(error, RecursionError):
            what = 'it has no end: a function that calls itself, or deep nesting'
        elif isinstance(error, ConstructorError):
            what = f'{error}: plain YAML is read, without tags of Python'
        elif (module := _missing_module(error)) is not None:
            what = (
                f'custom_imports: the module {module!r} cannot be imported ({_root(error)}): put '
                f'{module.replace(".", "/")}.py, which came with the config or is its '
                "author's, into a folder on PYTHONPATH"
            )
        elif isinstance(error, AttributeError) and not path.endswith('.py'):
            what = 'it is a list or a single value, expected keys and values'
        else:
            kind = '' if isinstance(error, SyntaxError) else f'{type(error).__name__}: '
            what = f'{kind}{error}'
        raise UserError(f'config {path}: {what}{line}') from error
    finally:
        _read.reset(token)
    rename(config._cfg_dict)
    return config


def _missing_module(error: BaseException) -> str | None:
    """The module of `custom_imports` that mmengine could not import; None for another error."""
    said = re.fullmatch('Failed to import ([^ ]+)', str(error.__cause__))
    return said[1] if isinstance(error, ImportError) and said else None


def _root(error: BaseException) -> BaseException:
    """The first of the errors that led to this one."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def _fill(text: str, path: str) -> str:
    read = _read.get()
    if read is not None:
        read[path] += 1
        if read[path] > MOST_READ:
            raise UserError(f'config {path}: it is a base of its own: change its _base_')
    return fill(text, path)


use_safe_configs(_fill)


def variables_of(path: str, known: set[str]) -> set[str]:
    """Top-level names of the file and its bases that are no key in `known`.

    Raises:
        UserError: a name that its own file does not use: it would do nothing.
    """
    files = {file: _names(file) for file in _chain(path)}
    of_bases = {name for *_, read in files.values() for name in read}  # {{_base_.name}}
    variables: set[str] = set()
    for file, (assigned, used, _) in files.items():
        idle = sorted(assigned - known - used - of_bases)
        if idle:
            raise UserError(
                f'{file}: unknown top-level key {", ".join(map(repr, idle))}'
                f'{suggest(idle[0], known)}: neither a key that is read nor a variable '
                'that this file uses: correct or remove it'
            )
        variables |= assigned - known
    return variables


def _chain(path: str) -> Iterator[str]:
    """The *.py among the file and its bases, each once is enough."""
    if path.endswith('.py') and os.path.isfile(path):
        yield path
        for base in Config._get_base_files(path):
            yield from _chain(os.path.join(os.path.dirname(path), base))


def _names(path: str) -> tuple[set[str], set[str], set[str]]:
    """Names that a file assigns at its top level, names that it uses, and those of `_base_`."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    tree = ast.parse(text)
    targets = [
        target
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    assigned = {
        node.id
        for target in targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and not node.id.startswith('_')
    }
    used = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return assigned, used, set(re.findall(r'_base_\.(\w+)', text))
