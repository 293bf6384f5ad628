"""A pickle that may hold data only: unpickling a stranger's file must not run its code."""

from __future__ import annotations

import pickle
from typing import Any

from ..errors import UserError
from ..files import open_regular

# Old protocols build these two through a lookup by name (`__builtin__` is Python 2's). Both only
# hold what is put into them.
_PLAIN = {
    (module, kind.__name__): kind
    for module in ('builtins', '__builtin__')
    for kind in (set, frozenset)
}


class _PlainUnpickler(pickle.Unpickler):
    """Admits dicts, lists, tuples, sets, strings, bytes and numbers; any class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        raise UserError(
            f'it asks for {module}.{name}, but only plain containers, strings and '
            'numbers are read: do not trust this file'
        )


def load_plain_pickle(path: str) -> Any:
    """What the pickle holds.

    Raises:
        UserError: it is no regular file, damaged, or asks for a class.
    """
    with open_regular(path) as file:
        try:
            # utf-8: the strings of a file written by Python 2 would otherwise have to be ASCII
            return _PlainUnpickler(file, encoding='utf-8').load()
        except UserError as error:
            raise UserError(f'{path!r}: {error}') from None
        except Exception as error:  # a damaged stream may fail in any of the machine's opcodes
            raise UserError(
                f'{path!r}: not a complete pickle ({type(error).__name__}): fetch the file again'
            ) from error
