"""What is asked of which picture: from arguments, folders, patterns, and files of questions."""

from __future__ import annotations

import csv
import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from PIL import Image

from ..errors import UserError
from ..files import bears, read_text
from ..rasters import ENDINGS, is_raster
from ..records import convert, read_json_lines
from .predictor import MOST_CHARACTERS

MARK = 'RSRefSeg2 predict '  # and a digest: what the files of answers bear
PICTURES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.ppm', '.webp')  # of a folder, beside rasters
TABLES = ('.csv', '.jsonl')  # endings of files of questions


class Picture(NamedTuple):
    """A file to look at, and the name of its answers' files, without an ending."""

    path: str
    name: str


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """A record of a file of questions."""

    image: str
    sentence: str
    id: str | int | None = None


class Asked(NamedTuple):
    """One picture and what is asked of it."""

    picture: Picture
    sentences: list[str]
    ids: list[
        str
    ]  # of a dump's lines; those of the file of questions, or the picture's and a number


def find_questions(
    given: Sequence[str], *, sentences: str | None = None, questions: str | None = None
) -> list[Asked]:
    """What the arguments ask, in their order; the sentences of a picture together.

    Args:
        given: pictures (files, folders, patterns), then sentences; see `split_arguments`.
        sentences: a text file of one sentence a line, asked after those that are given.
        questions: a CSV or JSONL file of (image, sentence), instead of all else.
    Raises:
        UserError: a file cannot be read; nothing is asked; there is no picture.
    """
    if questions is not None:
        if given or sentences is not None:
            raise UserError(
                '--questions names pictures and sentences: give no others beside it, or leave it out'
            )
        return read_questions(questions)
    pictures, said = split_arguments(given, all_pictures=sentences is not None and len(given) < 2)
    if sentences is not None:
        said = [*said, *read_sentences(sentences)]
    return [
        Asked(picture, said, [f'{picture.name}_{k}' for k in range(1, len(said) + 1)])
        for picture in find_pictures(pictures)
    ]


def split_arguments(
    given: Sequence[str], *, all_pictures: bool = False
) -> tuple[list[str], list[str]]:
    """(pictures, sentences): the first argument and those behind it that name pictures come first.

    An argument names a picture by a picture's ending, or by a path to what is there.

    Raises:
        UserError: a picture stands behind a sentence; an argument may be either.
    """
    if all_pictures:
        return list(given), []
    pictures, sentences = list(given[:1]), list[str]()
    for number, argument in enumerate(given[1:], start=2):
        if _names_picture(argument):
            if sentences:
                raise UserError(
                    f'argument {number}, {argument!r}, is a picture behind the '
                    f'sentence {sentences[0]!r}: name all pictures first, then the '
                    'sentences'
                )
            pictures.append(argument)
        elif os.path.isfile(argument):
            raise UserError(
                f'argument {number}, {argument!r}, is the name of a file without a '
                f"picture's ending: drop it, write ./{argument} for the picture, or "
                'more words for the sentence'
            )
        else:
            sentences.append(argument)
    return pictures, sentences


def has_pictures_ending(path: str | os.PathLike) -> bool:
    """Whether a file of this name is one that is looked at."""
    return is_raster(path) or Path(path).suffix.lower() in Image.registered_extensions()


def _names_picture(argument: str) -> bool:
    if has_pictures_ending(argument):
        return True
    return os.sep in argument and os.path.lexists(argument)


def find_pictures(arguments: Iterable[str]) -> list[Picture]:
    """Files as they are; the pictures of a folder and of those below it, by name; what fits a
    pattern (*, ?, [], ** for folders). A file's answers are named after it; those of a folder's
    files lie in folders as the files do.

    Raises:
        UserError: a folder or a pattern has no picture.
    """
    found = []
    for argument in arguments:
        if os.path.isdir(argument):
            found += _of_folder(argument)
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            paths = sorted(filter(os.path.isfile, glob.glob(argument, recursive=True)))
            if not paths:
                raise UserError(f'no file fits the pattern {argument!r}: see what lies there')
            found += [Picture(path, Path(path).stem) for path in paths]
        else:
            found.append(Picture(argument, Path(argument).stem))
    return found


def _of_folder(folder: str) -> list[Picture]:
    """Pictures and rasters, but for answers of earlier calls. Of two files that differ in their
    endings alone the names keep these."""
    files = sorted(path for path in Path(folder).rglob('*') if path.is_file())
    kept = [path for path in files if path.suffix.lower() in (*PICTURES, *ENDINGS)]
    pictures = [path for path in kept if not bears(path, MARK)]
    if len(pictures) < len(kept):
        count = len(kept) - len(pictures)
        print(f'{folder}: {count} files that predict wrote are left out', file=sys.stderr)
    if not pictures:
        raise UserError(
            f'the folder {folder!r} holds no picture, among {len(files)} files: name another one'
        )
    names = [path.relative_to(folder).with_suffix('') for path in pictures]
    return [
        Picture(str(path), str(path.relative_to(folder) if names.count(name) > 1 else name))
        for path, name in zip(pictures, names, strict=True)
    ]


def read_sentences(path: str) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        UserError: it cannot be read; it holds no sentence.
    """
    lines = [line.strip() for line in read_text(path, what='the sentences').splitlines()]
    if not any(lines):
        raise UserError(f'{path!r} holds no sentence: write one a line')
    return [line for line in lines if line]


def read_questions(path: str) -> list[Asked]:
    """A CSV file with a line of names (image, sentence, and id where there is one), or JSONL with
    these keys. A relative path is below the file's folder.

    Raises:
        UserError: it cannot be read; a record lacks a field; an id occurs twice.
    """
    ending = Path(path).suffix.lower()
    if ending not in TABLES:
        raise UserError(f'{path!r}: a file of questions ends in {" or ".join(TABLES)}')
    records = _csv_records(path) if ending == '.csv' else read_json_lines(path, Question)
    folder, asked, seen = Path(path).parent, dict[str, Asked](), dict[str, str]()
    for location, record in records:
        if not record.sentence.strip() or len(record.sentence) > MOST_CHARACTERS:
            raise UserError(
                f'{location}: the sentence is {"too long" if record.sentence.strip() else "empty"}: '
                'say what to look for in one sentence'
            )
        place = Path(record.image)
        name = place.with_suffix('')
        if place.is_absolute() or '..' in place.parts or not name.name:
            name = Path(place.stem)
        one = asked.setdefault(record.image, Asked(Picture(str(folder / place), str(name)), [], []))
        own = f'{name}_{len(one.ids) + 1}' if record.id is None else str(record.id)
        if own in seen:
            raise UserError(
                f'{location}: id {own!r} occurs twice, first in {seen[own]}: give each its own'
            )
        seen[own] = location
        one.sentences.append(record.sentence)
        one.ids.append(own)
    if not asked:
        raise UserError(f'{path!r} holds no question: write one a line')
    return list(asked.values())


def _csv_records(path: str) -> Iterator[tuple[str, Question]]:
    reader = csv.DictReader(
        io.StringIO(read_text(path, what='the questions').removeprefix('\ufeff')), strict=True
    )
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        missing = {'image', 'sentence'} - set(names)
        if missing:
            raise UserError(
                f'{path}:1: the first line names no column {" and no ".join(sorted(missing))}: '
                'write image,sentence there'
            )
        reader.fieldnames = names
        for row in reader:
            location = f'{path}:{reader.line_num}'
            if None in row or None in row.values():
                raise UserError(
                    f'{location}: {"more" if None in row else "fewer"} fields than the first line '
                    'names: put a text that has a comma in quotes'
                )
            fields = {key: row[key] for key in ('image', 'sentence', 'id') if row.get(key)}
            yield location, convert(fields, Question, location=location)
    except csv.Error as error:
        raise UserError(
            f'{path}:{reader.reader.line_num}: no CSV ({error}): correct the line'
        ) from None
