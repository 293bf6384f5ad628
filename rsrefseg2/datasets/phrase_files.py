"""The layout that RefSegRS and RISBench share: a line of text, an image file and a mask file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

from ..errors import UserError
from ..files import read_bytes
from .base import RefSegDataset
from .checks import find_root, require_file, require_folder


class PhraseFileDataset(RefSegDataset):
    """`output_phrase_<split>.txt` with lines `<name> <sentence>`; `<name>` is a file in the image
    folder and in the mask folder. The file says the split, never the name.

    `sample_id` is the stem of the mask file. There is no category on disk.
    """

    IMAGE_FOLDERS: ClassVar[Sequence[str]]  # the released name first
    MASK_FOLDERS: ClassVar[Sequence[str]]
    EXTENSION: ClassVar[str]
    WRAPPERS: ClassVar[Sequence[str]]
    NAME: ClassVar[str]  # pattern of <name> without the extension, which may follow it
    NAME_IN_WORDS: ClassVar[str]
    EQUAL_IMAGES = 'content'  # a picture is stored again for each of its sentences

    @property
    def _file(self) -> str:
        return f'output_phrase_{self.split}.txt'

    def _root(self) -> str:
        return find_root(
            self.data_root,
            title=self.TITLE,
            wrappers=self.WRAPPERS,
            entries=(self._file, 'phrase_txts', *self.IMAGE_FOLDERS),
        )

    def _images(self, root: str) -> str:
        return require_folder(
            [os.path.join(root, name) for name in self.IMAGE_FOLDERS], title=self.TITLE
        )

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        root = self._root()
        path = require_file(
            [os.path.join(root, self._file), os.path.join(root, 'phrase_txts', self._file)],
            title=self.TITLE,
        )
        images = self._images(root)
        masks = require_folder(
            [os.path.join(root, name) for name in self.MASK_FOLDERS], title=self.TITLE
        )
        images, masks = os.path.join(images, ''), os.path.join(masks, '')
        for number, raw in read_lines(path):
            location = f'{path}:{number}'
            with self.faults:
                stem, text = self._parse(decode_line(raw, location), location)
                yield dict(
                    sample_id=stem,
                    text=text,
                    category=None,
                    location=location,
                    img_path=images + stem + self.EXTENSION,
                    mask_path=masks + stem + self.EXTENSION,
                )

    @cached_property
    def _name(self) -> re.Pattern:
        return re.compile(f'({self.NAME})({re.escape(self.EXTENSION)})?')

    def _parse(self, line: str, location: str) -> tuple[str, str]:
        name, *text = line.split(maxsplit=1)
        match = self._name.fullmatch(name)
        if match is None:
            raise UserError(
                f'{location}: expected "<{self.NAME_IN_WORDS}> <sentence>", got {line[:60]!r}'
            )
        if text and match[2] is None and self.EXTENSION in text[0]:
            raise UserError(
                f'{location}: the file name in {line[:60]!r} has a blank, which this '
                'layout cannot hold: rename the file'
            )
        return match[1], text[0].rstrip() if text else ''


def read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """(number, line) of the lines that are not blank; with or without a byte-order mark, LF or
    CRLF. Not `str.splitlines`: it also cuts at characters that may stand in a sentence.

    Raises:
        UserError: see `files.read_bytes`.
    """
    raw = read_bytes(path).removeprefix(b'\xef\xbb\xbf')
    for number, line in enumerate(raw.split(b'\n'), start=1):
        if line.strip():
            yield number, line


def decode_line(raw: bytes, location: str) -> str:
    """The line without blanks at its ends.

    Raises:
        UserError: it is not UTF-8, or no single line of text.
    """
    try:
        text = raw.decode('utf-8').strip()
    except UnicodeDecodeError as error:
        raise UserError(
            f'{location}: byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8'
        ) from error
    if '\r' in text:  # several lines in one: of a file whose lines end in CR alone
        raise UserError(
            f'{location}: the line holds a carriage return: save the file with LF or CRLF as line ends'
        )
    if '\0' in text:  # UTF-16 of plain letters is valid UTF-8
        raise UserError(f'{location}: the line holds a NUL, as UTF-16 does: save the file as UTF-8')
    return text
