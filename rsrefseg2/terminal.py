"""Text from files, names and sentences cannot control the terminal that it is printed on."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# C0 and C1 but tab and newline; marks that reverse the direction of text; line separators; halves
# of surrogate pairs, as which Python holds the bytes of a name that is not UTF-8.
_CONTROL = re.compile(
    '[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)
# What the log writes for a level and progress bars to move, where it is a terminal. Other colours
# are data's, which could hide what follows.
_LEVEL = re.compile('((?:\x1b\\[[0-9]+m)+(?:DEBUG|INFO|WARNING|ERROR)\x1b\\[0m)')
_CURSOR = re.compile('(\x1b\\[A)+|\x1b\\[K')


def visible(text: str) -> str:
    """`text` with its control characters as escapes, \\x1b for one; tab and newline stay."""
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        code -= 0xDC00
    return f'\\x{code:02x}' if code < 256 else f'\\u{code:04x}'


class PlainStream:
    """A text stream that writes `visible` text, in what its encoding can say."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As the stream's, control characters escaped."""
        self._stream.write(self._plain(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """As the stream's."""
        for line in lines:
            self.write(line)

    def _plain(self, text: str) -> str:
        if self._stream.isatty():
            if _CURSOR.fullmatch(text):
                return text
            parts = _LEVEL.split(text)
            parts[::2] = map(_visible_but_returns, parts[::2])
            text = ''.join(parts)
        else:
            text = _visible_but_returns(text)
        encoding = self._stream.encoding or 'utf-8'
        return text.encode(encoding, 'backslashreplace').decode(encoding)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _visible_but_returns(text: str) -> str:
    """A carriage return at an end of what is written moves a progress bar; within, it hides."""
    begin, end = len(text) - len(text.lstrip('\r')), len(text.rstrip('\r'))
    return text[:begin] + visible(text[begin:end]) + text[max(begin, end) :]


@contextlib.contextmanager
def plain_terminal() -> Iterator[None]:
    """stdout and stderr write `visible` text within the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream if stream is None or isinstance(stream, PlainStream) else PlainStream(stream)
        for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
