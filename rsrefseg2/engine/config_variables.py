"""`{{ fileDirname }}` and `{{$NAME:default}}` in a config: filled in as data, never as code.

mmengine pastes the text. There, an apostrophe in a folder's name ends the string that the variable
stands in, and a crafted value runs. Here, the value is escaped, and the file is parsed with it and
without it: both must be the same but for the value.
"""

from __future__ import annotations

import ast
import json
import os
import re
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from ..errors import UserError

# mmengine's two forms: a name of the file's; an environment variable and what stands for it
# where it is not set, the config's own text.
_VARIABLE = re.compile(
    r'\{\{\s*(?P<file>fileDirname|fileBasename|fileBasenameNoExtension|'
    r'fileExtname)\s*\}\}'
    r'|\{\{[\'"]?\s*\$(?P<name>\w+)\s*:\s*(?P<default>\S*?)\s*[\'"]?\}\}'
)
_BASE = re.compile(r'\{\{\s*_base_\.[\w.]+\s*\}\}')  # mmengine's, filled in later
_PLAIN = re.compile(r'[\w./-]*')  # means the same with and without quotes
_ESCAPED = re.compile('[\\\\\'"\x00-\x1f\x7f\ud800-\udfff]')


class _Place(NamedTuple):
    """Where a value goes: a word that is not in the file stands there while it is parsed."""

    word: str
    value: str
    what: str  # for messages


def fill(text: str, path: str) -> str:
    """The text of the config at `path`, with its variables filled in.

    Raises:
        UserError: a variable without a value, or one whose value does not fit where it stands.
        SyntaxError: the config is no Python.
    """
    values, python = _of_file(path), path.endswith('.py')
    places: list[_Place] = []

    def placed(match: re.Match) -> str:
        if match['file']:
            value, what = values[match['file']], f'its {match["file"]}'
        elif match['name'] not in os.environ and match['default']:
            return match['default']
        else:
            what = f'${match["name"]}'
            value = _of_environment(match['name'], path)
        if not python and _PLAIN.fullmatch(value):
            return value
        places.append(_Place(f'x{uuid.uuid4().hex}', value, what))
        return places[-1].word

    text = _VARIABLE.sub(placed, text)
    if not places:
        return text
    return (_fill_python if python else _fill_data)(text, path, places)


def _of_file(path: str) -> dict[str, str]:
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    return dict(
        fileDirname=folder, fileBasename=name, fileBasenameNoExtension=stem, fileExtname=extension
    )


def _of_environment(name: str, path: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UserError(
            f'config {path}: ${name} is {"not set" if value is None else "empty"}: '
            'give it a value' + (', or unset it' if value is not None else '')
        )
    return value


def _fill_python(text: str, path: str, places: list[_Place]) -> str:
    tree = ast.parse(text, path)
    bare = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    filled, wanted = text, ast.dump(_Filled(places).visit(tree))
    for place in places:
        filled = filled.replace(
            place.word,
            repr(_literal(place.value))
            if place.word in bare
            else _ESCAPED.sub(_escape, place.value),
        )
    _require_same(filled, lambda: ast.dump(ast.parse(filled)), wanted, path, places)
    return filled


class _Filled(ast.NodeTransformer):
    """The tree of a file, with values for words."""

    def __init__(self, places: list[_Place]) -> None:
        self._values = {place.word: place.value for place in places}

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        """A text: the value stands within it."""
        return ast.Constant(_replaced(node.value, self._values), kind=node.kind)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A word of its own: the value is a literal, {{$SIZE:8}}, or else a text."""
        if node.id not in self._values:
            return node
        return ast.parse(repr(_literal(self._values[node.id])), mode='eval').body


def _fill_data(text: str, path: str, places: list[_Place]) -> str:
    """JSON or YAML: an escape is a text's in double quotes, and without one any text holds it."""
    read = json.loads if path.endswith('.json') else yaml.safe_load
    values = {place.word: place.value for place in places}
    filled = text
    for place in places:
        filled = filled.replace(
            place.word,
            _ESCAPED.sub(lambda match: "'" if match[0] == "'" else _escape(match), place.value),
        )

    def parsed(text: str) -> Any:
        return read(_BASE.sub('"base"', text))

    try:
        wanted = _replaced(parsed(text), values)
    except (ValueError, yaml.YAMLError):  # mmengine says why
        return filled
    _require_same(filled, lambda: parsed(filled), wanted, path, places)
    return filled


def _require_same(
    filled: str, parse: Callable[[], Any], wanted: Any, path: str, places: list[_Place]
) -> None:
    try:
        same = parse() == wanted
    except (ValueError, SyntaxError, yaml.YAMLError):
        same = False
    if not same:
        raise UserError(
            f'config {path}: {" or ".join(dict.fromkeys(p.what for p in places))} has '
            'characters that cannot stand where it is used: put {{...}} within plain '
            'quotes (no r, b or f before them), or choose another path'
        )


def _literal(value: str) -> Any:
    """A number, True, a tuple ..., or else the text."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _escape(match: re.Match) -> str:
    return f'\\u{ord(match[0]):04x}' if match[0] not in '\\\'"' else '\\' + match[0]


def _replaced(part: Any, values: dict[str, str]) -> Any:
    """`part` with values for words, in texts at any depth."""
    if isinstance(part, str):
        for word, value in values.items():
            part = part.replace(word, value)
        return part
    if isinstance(part, dict):
        return {_replaced(key, values): _replaced(value, values) for key, value in part.items()}
    return [_replaced(child, values) for child in part] if isinstance(part, list) else part
