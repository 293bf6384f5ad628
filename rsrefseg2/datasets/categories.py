"""The category that a sentence names, where the files name none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


class CategoryFinder:
    """Whole words, singular or plural, in any case; the earliest place, and of the names that
    start there the longest: "road marking" is not "road".

    A part of a hyphenated word does not count ("tree-lined road" is a road), while blanks and
    hyphens between the words of a name are one ("tennis-court").

    Args:
        names: The categories.
        synonyms: Other words -> category.
    """

    def __init__(self, names: Iterable[str], synonyms: Mapping[str, str]) -> None:
        self._names = {_plain(name): name for name in names}
        self._names.update((_plain(word), name) for word, name in synonyms.items())
        words = sorted(self._names, key=len, reverse=True)  # alternatives are tried in order
        alternatives = '|'.join(re.escape(word).replace(r'\ ', r'[\s-]+') for word in words)
        # Of lower-case text: ignoring case makes the search four times slower.
        self._pattern = re.compile(rf'(?<!\w)(?<!\w-)({alternatives})(?:e?s)?(?!\w|-\w)')

    def __call__(self, text: str) -> str | None:
        """The category, or None where the sentence names none."""
        match = self._pattern.search(text.lower())
        if match is None:
            return None
        return self._names.get(match[1]) or self._names[_plain(match[1])]


def _plain(words: str) -> str:
    return ' '.join(re.split(r'[\s-]+', words.lower()))
