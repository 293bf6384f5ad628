"""What the runs of a table scored: beside the paper, with the difference and the seeds' spread."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import UserError
from ..markup import csv_cell, text
from ..markup import table as markdown
from ..publishing.scores_files import read_scores_file
from ..records import to_json
from .ablation_runs import Run
from .ablations import Index, Row, Table, number

TINY_NOTE = (
    'Tiny towers on SynthRS: these numbers say that the code runs and learns, and nothing '
    "about the paper's, which are of RRSIS-D."
)


class Result(NamedTuple):
    """One score of one row. `spread`: the standard deviation over the seeds, from two on."""

    paper: float | None
    mean: float | None
    spread: float | None
    seeds: int

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.mean is None or self.paper is None else self.mean - self.paper

    @property
    def text(self) -> str:
        """The mean, and the spread where there is one."""
        ours = number(self.mean)
        return ours if self.spread is None else f'{ours} ± {self.spread:.2f}'


def collect(
    table: Table, runs: Iterable[Run], scores: Iterable[str]
) -> list[tuple[Row, dict[str, Result]]]:
    """Every row of the table with its results by score, of the finished ones among `runs`; a score
    of a breakdown is its keys, joined by dots: by_level.position.gIoU."""
    found: dict[str, list[dict]] = {}
    for run in runs:
        if run.scores.is_file():
            found.setdefault(run.row.name, []).append(read_scores_file(run.scores, needs=()))
    return [
        (
            row,
            {
                score: summarize(
                    row.paper.get(score),
                    [look_up(given, score) for given in found.get(row.name, ())],
                )
                for score in scores
            },
        )
        for row in table.rows
    ]


def look_up(scores: Mapping, name: str) -> float:
    """A score by its name: its keys, joined by dots ('by_level.position.gIoU'), where no key is
    the name itself, as 'Pr@0.5' is; NaN for an undefined one.

    Raises:
        UserError: there is none.
    """
    value: Any = scores
    for key in [name] if name in scores else name.split('.'):
        value = value.get(key, '') if isinstance(value, Mapping) else ''
    if isinstance(value, (str, Mapping, list)):
        raise UserError(
            f'a scores.json has no {name}: test with an evaluator that gives it '
            '(ObjectHitMetric for scores by level)'
        )
    return math.nan if value is None else value


def summarize(paper: float | None, values: list[float]) -> Result:
    """One score of a row of its seeds' `values`."""
    return Result(
        paper,
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
        len(values),
    )


def cells(
    table: Table, results: list[tuple[Row, dict[str, Result]]]
) -> tuple[list[str], list[list[str]]]:
    """Header and a line per row: its name and setting, and by score ours, the paper's and the
    difference; the last two are left out where the paper prints none for any row."""
    printed = {
        score
        for _, by_score in results
        for score, result in by_score.items()
        if result.paper is not None
    }
    head = ['row', *table.columns, 'seeds']
    for score in results[0][1]:
        head += [score, f'{score} paper', f'{score} diff'] if score in printed else [score]
    lines = []
    for row, by_score in results:
        line = [row.name, *row.values, str(max(result.seeds for result in by_score.values()))]
        for score, result in by_score.items():
            line.append(result.text)
            if score in printed:
                difference = '-' if result.difference is None else f'{result.difference:+.2f}'
                line += [number(result.paper), difference]
        lines.append(line)
    return head, lines


def as_markdown(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return '\n'.join(markdown(list(map(text, head)), [list(map(text, line)) for line in lines]))


def as_csv(index: Index, table: Table, results: list[tuple[Row, dict[str, Result]]]) -> str:
    """Plain numbers, one column each; empty for none."""
    parts = ('mean', 'spread', 'paper', 'difference')
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    lines: list[list[object]] = [
        [
            'row',
            *table.columns,
            'seeds',
            *(f'{score} {part}' for score in index.scores for part in parts),
        ]
    ]
    for row, by_score in results:
        lines.append(
            [
                row.name,
                *row.values,
                max(r.seeds for r in by_score.values()),
                *(getattr(result, part) for result in by_score.values() for part in parts),
            ]
        )
    writer.writerows([csv_cell(value) for value in line] for line in lines)
    return out.getvalue().rstrip('\n')


def as_json(table: Table, results: list[tuple[Row, dict[str, Result]]]) -> str:
    """The same, for programs."""
    return to_json(
        {
            'table': table.key,
            'title': table.title,
            'rows': [
                {
                    'row': row.name,
                    'config': row.config,
                    'setting': dict(zip(table.columns, row.values, strict=True)),
                    'scores': {
                        score: {**result._asdict(), 'difference': result.difference}
                        for score, result in by_score.items()
                    },
                }
                for row, by_score in results
            ],
        },
        indent=2,
        ascii_only=False,
    )
