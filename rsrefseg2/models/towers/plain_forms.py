"""The switch between the equations as they are written and forms of them that cost less.

Some layers compute the same in two ways, equal in real arithmetic and so but for rounding in
floating point. The cheaper one is what runs; `plain_forms` brings the written one back, to compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_plain = False  # a global, which torch.compile can guard; forward passes of one process share it


@contextmanager
def plain_forms(on: bool = True) -> Iterator[None]:
    """Within it every layer computes what is written, however much that costs."""
    global _plain
    before, _plain = _plain, on
    try:
        yield
    finally:
        _plain = before


def is_plain() -> bool:
    """Whether the written forms are asked for."""
    return _plain
