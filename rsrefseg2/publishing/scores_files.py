"""Files of scores: the scores.json of tools/test.py, the output of tools/analysis/score.py --json.

One object of percentages by name; null is an undefined score. Beside them `protocol`, `samples`,
`checkpoint` (what was tested), the scores by group, `intervals`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from ..engine import read_checkpoint
from ..errors import UserError
from ..evaluation import COLUMNS, RATES, find_protocol
from ..models.towers.fingerprints import state_hash
from ..records import convert, read_json

Percentage = Annotated[float, Meta(ge=0, le=100)]
Percent = Percentage | None
Count = Annotated[int, Meta(ge=0)]
PERCENTAGES = (*COLUMNS, *RATES, 'category_gIoU', 'shuffled')
Groups = dict[str, dict[str, float | None]]


class Tested(TypedDict):
    """The checkpoint that the scores are of."""

    file: str
    sha256: str  # of its weights, by name (`tower_sources.state_hash`)


class Known(TypedDict, total=False):
    """What a file holds beside percentages and the groups, `by_<breakdown>`."""

    protocol: str
    samples: Count
    images: Count
    cut_sentences: Count
    undefined: list[str]
    intervals: dict[str, tuple[Percent, Percent] | None]
    checkpoint: Tested
    baselines: dict[str, Any]
    baselines_by_level: dict[str, Any]


def read_scores_file(
    path: str | Path, *, needs: Sequence[str] = ('gIoU', 'protocol')
) -> dict[str, Any]:
    """The scores of one evaluator, as they stand in the file.

    Args:
        needs: what must be there.
    Raises:
        UserError: it cannot be read; it is of several evaluators; a field is no score.
    """
    location = os.fspath(path)
    given = read_json(path, dict[str, Any], what='the file of scores')
    if 'evaluators' in given:
        raise UserError(f"{location} holds several evaluators' scores: give a file of one of them")
    missing = [name for name in needs if name not in given]
    if missing:
        raise UserError(
            f'{location} names no {" and no ".join(missing)}: give a scores.json of tools/test.py'
        )
    convert(given, Known, location=location)
    if 'protocol' in given:
        find_protocol(given['protocol'])
    for name, value in given.items():
        if name.startswith('by_'):
            convert(value, Groups, location=f'{location}: {name}')
        elif value is not None and (name in PERCENTAGES or name.endswith('_hit')):
            convert(value, Percentage, location=f'{location}: {name}')
    return given


def percentages(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """The overall scores of a file, without counts and groups; an evaluator may have its own."""
    return {
        name: value
        for name, value in scores.items()
        if name not in Known.__annotations__
        and not isinstance(value, bool)
        and (value is None or isinstance(value, (int, float)))
    }


def describe_tested(path: str | Path) -> Tested:
    """What `checkpoint` says in the scores of a test of the checkpoint `path`."""
    return Tested(file=Path(path).name, sha256=weights_hash(read_checkpoint(path)))


def weights_hash(checkpoint: Mapping[str, Any]) -> str:
    """SHA-256 of a checkpoint's weights, whatever else its file holds."""
    return state_hash(
        {key.removeprefix('module.'): value for key, value in checkpoint['state_dict'].items()}
    )
