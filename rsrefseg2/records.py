"""Records from outside: JSON read strictly, then held to a declared schema by msgspec.

A schema is a msgspec.Struct, a TypedDict or a type; msgspec says which field is wrong, and what was
expected. Nothing passes that JSON does not have: NaN, a doubled key, half a surrogate pair.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from .errors import UserError, os_errors_explained
from .files import as_utf8, open_regular, read_bytes

T = TypeVar('T')
_SURROGATE = re.compile(r'\\u[dD][89a-fA-F]')
_HUGE = re.compile(r'[eE]\+?\d{3}|\d{309}')  # only such a number may be beyond a float's range


class _NoJSON(ValueError):
    """What Python's reader would accept, though it is no JSON."""


class _NotFinite(_NoJSON):
    """NaN or Infinity."""


def _refuse(name: str) -> None:
    raise _NotFinite(f'{name} is no JSON: write null or a number')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _NoJSON(f'the key {twice!r} occurs twice: remove one of the two')
    return found


def _within_range(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _NoJSON(f'the number {digits:.40} is out of range: correct the record')
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
_FINITE = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_within_range
)  # slower


def parse_json(text: str, *, location: str) -> Any:
    """The value of strict JSON.

    Raises:
        UserError: it is no JSON, holds NaN, Infinity or a number beyond a float's range, a key
            twice, or half a surrogate pair, or is nested too deep.
    """
    try:
        value = (_FINITE if _HUGE.search(text) else _STRICT).decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode('utf-8')
        return value
    except _NotFinite as error:
        raise UserError(f'{location}: {_place_of_one(text)}{error}') from None
    except _NoJSON as error:
        raise UserError(f'{location}: {error}') from None
    except UnicodeEncodeError:
        raise UserError(
            f'{location}: a text holds half a surrogate pair, which is no character: '
            'write the file again as UTF-8'
        ) from None
    except RecursionError:
        raise UserError(f'{location}: JSON nested too deep: no file of this kind') from None
    except ValueError as error:  # JSONDecodeError, and whole numbers of over 4,300 digits
        raise UserError(
            f'{location}: no JSON ({error}): the file is damaged, or of another kind'
        ) from None


def _place_of_one(text: str) -> str:
    """'annotations[3].bbox[0]: ', the place of the first NaN or Infinity in JSON text; '' where
    the text is damaged behind it, too."""

    def find(value: Any, place: str) -> str | None:
        if isinstance(value, float) and value - value != 0:
            return f'{place.lstrip(".")}: ' if place else ''
        children = (
            ((f'.{key}', child) for key, child in value.items())
            if isinstance(value, dict)
            else ((f'[{i}]', child) for i, child in enumerate(value))
            if isinstance(value, list)
            else ()
        )
        return next(filter(None, (find(child, place + step) for step, child in children)), None)

    try:
        return find(json.loads(text), '') or ''
    except (ValueError, RecursionError):
        return ''


def convert(value: Any, kind: type[T], *, location: str) -> T:
    """`value`, as JSON or pickle gave it, as a `kind`. No value is cast: '1' is no number.

    Raises:
        UserError: file and record (`location`), the field, what was expected and what was found.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(' - at `$')
        place = place.rstrip('`').lstrip('.')
        raise UserError(
            f'{location}: {f"{place}: " if place else ""}'
            f'{what[:1].lower()}{what[1:].replace("`", "")}: correct the record'
        ) from None
    except (OverflowError, RecursionError) as error:
        raise UserError(
            f'{location}: a value is out of range ({error}): correct the record'
        ) from None
    except (UnicodeEncodeError, AttributeError) as error:  # of a pickle: no JSON has these
        raise UserError(
            f'{location}: a value or text that no record can hold ({error}): correct the record'
        ) from None


def decode_json(text: str | bytes, kind: type[T], *, location: str) -> T:
    """The `kind` that strict JSON text holds.

    Raises:
        UserError: see `parse_json` and `convert`; bytes are not UTF-8.
    """
    if isinstance(text, bytes):
        text = as_utf8(text, location)
    return convert(parse_json(text, location=location), kind, location=location)


def read_json(
    path: str | os.PathLike,
    kind: type[T] = Any,  # type: ignore[assignment]
    *,
    what: str = 'the file',
) -> T:
    """The `kind` that a JSON file holds.

    Raises:
        UserError: see `files.read_bytes` and `decode_json`.
    """
    return decode_json(read_bytes(path, what=what), kind, location=os.fsdecode(path))


def read_json_lines(
    path: str | os.PathLike,
    kind: type[T] = Any,  # type: ignore[assignment]
    *,
    what: str = 'the file',
) -> Iterator[tuple[str, T]]:
    """(`file:line`, the `kind` that the line holds) for each line of a file that is not blank; one
    line is in memory at a time.

    Raises:
        UserError: see `files.read_bytes` and `decode_json`.
    """
    name = os.fsdecode(path)
    with open_regular(path, what=what) as file, os_errors_explained(f'reading {name}'):
        for number, line in enumerate(file, start=1):
            if line.strip():
                location = f'{name}:{number}'
                yield location, decode_json(line, kind, location=location)


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = True) -> str:
    """Strict JSON of `value`: what is not a finite number (an undefined score) becomes null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False, ensure_ascii=ascii_only)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(child) for child in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
