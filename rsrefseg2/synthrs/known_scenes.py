"""Pictures whose objects are known, and whose solver can say that a sentence names none of them: those
of SynthRS, and photographs that `convert coco` described."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ..dataprep.expressions import NotUnderstood as NotUnderstoodInstances
from ..dataprep.expressions import anchors_of
from ..dataprep.expressions import solve as solve_instances
from ..dataprep.from_coco import CROWDS, doubtful_of
from ..datasets.scene_files import SCENES, read_scenes
from ..errors import UserError
from ..records import read_json
from .generation.language import SLACK
from .generation.objects import CATEGORIES, COLOURS
from .generation.solver import ALIASES, BULK, Item, NotUnderstood, anchor_of, nothing_fulfils

KEPT = ('category', 'colour', 'size', 'centre')  # of an object of SynthRS: what the solver reads
READ = ('category', 'bbox', 'area')  # of an annotated one
ANNOTATED_SLACK = 0.08  # of the picture's side: `expressions.relations.LOOSE`
MOST = ('leftmost', 'rightmost', 'topmost', 'bottommost', 'largest', 'smallest')

_COLOUR = re.compile(rf'\b(?:{"|".join(COLOURS)})\b')
_SIZE = re.compile(rf'\b(?:{"|".join(BULK)})\b')
_PLAIN = '|'.join(name for name, about in ALIASES.items() if not CATEGORIES[about].coloured)
# No sentence of SynthRS names the colour of these.
_PAINTED = re.compile(
    rf'\b(?:{"|".join(COLOURS)}) (?:{_PLAIN})\b|\b(?:{_PLAIN}) that is (?!\w+ the)'
)


class Names(NamedTuple):
    """What sentences call the categories of a data set."""

    owner: dict[str, str]  # name -> category
    pattern: re.Pattern

    @classmethod
    def of(cls, owner: dict[str, str]) -> Names:
        """With the pattern that finds each name as a whole."""
        longest = sorted(map(re.escape, owner), key=len, reverse=True)
        return cls(owner, re.compile(rf'\b(?:{"|".join(longest)})\b'))


class Scene:
    """The objects of a picture and its sentences.

    Attributes:
        objects: as their solver reads them.
        slack: (x, y) in pixels: a sentence that fits an object so far away is near it.
        attributes: (pattern, words of this scene that may stand in its place), in turn.
    """

    slack: tuple[float, float]
    attributes: tuple[tuple[re.Pattern, list[str]], ...] = ()

    def __init__(self, record: Mapping[str, Any], names: Names, kept: tuple[str, ...]) -> None:
        self.names = names
        self.sentences: list[str] = [sentence['text'] for sentence in record['sentences']]
        self.objects: list[Item] = [
            {key: thing[key] for key in kept} for thing in record['objects']
        ]

    @property
    def categories(self) -> list[str]:
        """Those of its objects, sorted."""
        return sorted({thing['category'] for thing in self.objects})

    def lacks(self, sentence: str) -> bool:
        """Whether nothing fulfils or comes near the sentence, also with all objects, and all but the
        anchor, moved by the slack to each corner; False where the solver cannot say."""
        dx, dy = self.slack
        steps = [(0.0, 0.0), *((x, y) for x in (-dx, dx) for y in (-dy, dy))]
        try:
            return self.is_sure(sentence) and all(
                self.is_empty(sentence, self._moved(*step, but=number))
                for number in {None, self.anchor(sentence)}
                for step in steps
            )
        except (NotUnderstood, NotUnderstoodInstances):
            return False

    def _moved(self, dx: float, dy: float, *, but: int | None) -> list[Item]:
        return [
            thing if number == but else self.moved(thing, dx, dy)
            for number, thing in enumerate(self.objects)
        ]

    # ------------------------------------------------------------------ of each kind

    def is_sure(self, sentence: str) -> bool:
        """Whether the annotation can decide about the sentence's words."""
        raise NotImplementedError

    def is_empty(self, sentence: str, objects: list[Item]) -> bool:
        """Whether the sentence names none of them, and not because its anchor is missing."""
        raise NotImplementedError

    def anchor(self, sentence: str) -> int | None:
        """The number of the one object beside which the sentence seeks, if there is one."""
        raise NotImplementedError

    def moved(self, thing: Item, dx: float, dy: float) -> Item:
        """The object at another place."""
        raise NotImplementedError

    def told_apart(self, thing: Item, name: str, rng: Random) -> str:
        """The name with a word that may tell the object from others of its category."""
        raise NotImplementedError


class DrawnScene(Scene):
    """Of SynthRS.

    Raises:
        UserError: an object lacks what the solver reads.
    """

    NAMES = Names.of(ALIASES)

    def __init__(self, record: Mapping[str, Any]) -> None:
        try:
            super().__init__(record, self.NAMES, KEPT)
            self.size: int = record['size']
        except KeyError as error:
            raise UserError(
                f'AbsentSentences: scene {record.get("scene")} has no {error.args[0]!r}: absent '
                'sentences are verified on scenes of SynthRS, and of `convert coco` with its '
                f'summary.json and its folder {SCENES}'
            ) from None
        self.slack = SLACK * self.size, SLACK * self.size

    @property
    def attributes(self) -> tuple[tuple[re.Pattern, list[str]], ...]:  # type: ignore[override]
        """Colours of some object of the scene; sizes."""
        colours = sorted({thing['colour'] for thing in self.objects if thing['colour']})
        return (_COLOUR, colours), (_SIZE, list(BULK))

    def is_sure(self, sentence: str) -> bool:
        """See `Scene`."""
        return not _PAINTED.search(sentence)

    def is_empty(self, sentence: str, objects: list[Item]) -> bool:
        """See `Scene`."""
        return nothing_fulfils(sentence, objects, self.size)

    def anchor(self, sentence: str) -> int | None:
        """See `Scene`."""
        return anchor_of(sentence, self.objects, self.size)

    def moved(self, thing: Item, dx: float, dy: float) -> Item:
        """See `Scene`."""
        x, y = thing['centre']
        return {**thing, 'centre': (x + dx, y + dy)}

    def told_apart(self, thing: Item, name: str, rng: Random) -> str:
        """See `Scene`."""
        return f'{rng.choice([thing["size"], thing["colour"] or thing["size"]])} {name}'


class AnnotatedScene(Scene):
    """A photograph whose instances are annotated. Nothing is sure of a category that is annotated in
    part (excluded, or a crowd), nor beside a doubtful instance.

    Args:
        excluded: categories that the conversion left out.
    """

    def __init__(self, record: Mapping[str, Any], names: Names, excluded: frozenset[str]) -> None:
        super().__init__(record, names, READ)
        self._annotated = record['objects']
        self.height, self.width = self._annotated[0]['rle']['size']
        self.slack = ANNOTATED_SLACK * self.width, ANNOTATED_SLACK * self.height
        self.unsure = excluded | set(record.get('crowds', ()))
        called: dict[str, list[str]] = {}
        for name, category in names.owner.items():
            called.setdefault(category, []).append(name)
        self._options: dict[str, Any] = dict(height=self.height, width=self.width, names=called)

    @cached_property
    def doubtful(self) -> set[int]:
        """Those whose masks are tiny, or overlap another of their category."""
        return doubtful_of(self._annotated)

    def is_sure(self, sentence: str) -> bool:
        """See `Scene`."""
        named = {self.names.owner[name] for name in self.names.pattern.findall(sentence)}
        return not named & self.unsure and self.anchor(sentence) not in self.doubtful

    def is_empty(self, sentence: str, objects: list[Item]) -> bool:
        """See `Scene`."""
        anchors = anchors_of(sentence, objects, **self._options)
        one_reading = anchors is None or len(anchors) == 1
        return one_reading and not solve_instances(sentence, objects, **self._options)

    def anchor(self, sentence: str) -> int | None:
        """See `Scene`."""
        anchors = anchors_of(sentence, self.objects, **self._options)
        return next(iter(anchors)) if anchors and len(anchors) == 1 else None

    def moved(self, thing: Item, dx: float, dy: float) -> Item:
        """See `Scene`."""
        x, y, w, h = thing['bbox']
        return {**thing, 'bbox': (x + dx, y + dy, w, h)}

    def told_apart(self, thing: Item, name: str, rng: Random) -> str:
        """See `Scene`."""
        return f'{rng.choice(MOST)} {name}'


def known_scenes(data_root: str | Path, split: str) -> Iterator[tuple[dict[str, Any], Scene]]:
    """The records of a split, as written, and their scenes.

    Raises:
        UserError: there are no scenes, or nothing is known to be absent in them.
    """
    folder = Path(data_root) / SCENES
    if not folder.is_dir():
        for record in read_scenes(data_root, split):
            yield record, DrawnScene(record)
        return
    summary: dict[str, Any] = read_json(
        Path(data_root) / 'summary.json', what='the summary of the conversion'
    )
    if not {'names', 'exclude', 'instances'} <= set(summary):
        raise UserError(
            f'AbsentSentences: {str(data_root)!r} is no conversion of annotated instances: its other '
            'objects are not known, so nothing is known to be absent: take SynthRS, or data of '
            '`convert coco`'
        )
    owner = {name: about for about, called in summary['names'].items() for name in called}
    names, excluded = Names.of(owner), frozenset(summary['exclude'])
    for record in read_scenes(folder, split):
        if summary['instances'].get(CROWDS) and 'crowds' not in record:
            raise UserError(
                f'AbsentSentences: the scenes of {str(data_root)!r} do not say where a crowd of a '
                'category stands: convert the data again'
            )
        yield record, AnnotatedScene(record, names, excluded)
