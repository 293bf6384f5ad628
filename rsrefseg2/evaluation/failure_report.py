"""The causes of a split's failures by group, from a dump alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from ..errors import UserError
from ..records import convert, read_json
from .breakdowns import BREAKDOWNS, in_order, worth_showing
from .dump_records import Share, read_dump
from .failure_causes import (
    CAUSES,
    MORE_CAUSES,
    PAPER,
    Cause,
    Thresholds,
    cause_from_masks,
    cause_from_presence,
    cause_from_prompt,
    fails,
    fit_thresholds,
)
from .localisation import mask_localisation
from .protocols import Protocol
from .score_sums import score_table
from .scoring import dumped_samples, score_record

# Of SynthRS: an independent answer, whether the prediction lies on the target more than on any
# other object.
GROUPS = {
    **BREAKDOWNS,
    'object_hit': lambda r: {True: 'hit', False: 'miss'}.get(r.get('object_hit')),
}


class ThresholdsEntry(TypedDict):
    """`Thresholds` in a file."""

    coarse_localisation: Share
    mask_agreement: Share
    successes: int
    source: str


class ErrorReport:
    """Counts the causes of failures, for all samples and for each group; holds no record.

    Args:
        thresholds: of the model; None: the causes follow from the predictions alone.
        protocol: what a failure is.
    """

    def __init__(self, thresholds: Thresholds | None, protocol: Protocol = PAPER) -> None:
        self.thresholds, self.protocol = thresholds, protocol
        self.causes = (*CAUSES, *(MORE_CAUSES if protocol.generalised else ()))
        self.all: Counter[str] = Counter()
        self.groups: dict[str, dict[str, Counter[str]]] = {}

    def add(self, record: Mapping[str, Any], cause: Cause | None) -> None:
        """Counts a sample; cause: None for a success."""
        counted = ['samples', *([] if cause is None else ['failed', cause])]
        self.all.update(counted)
        for name, group_of in GROUPS.items():
            group = group_of(record)
            if group is not None:
                self.groups.setdefault(name, {}).setdefault(group, Counter()).update(counted)

    def breakdown(self, name: str) -> dict[str, dict[str, float]]:
        """group -> its row, `in_order`."""
        return {group: self.row(self.groups[name][group]) for group in in_order(self.groups[name])}

    def row(self, counts: Counter[str]) -> dict[str, float]:
        """'failed' and the causes in percent of the samples, and 'samples'."""
        return {
            **{key: 100 * counts[key] / counts['samples'] for key in ('failed', *self.causes)},
            'samples': counts['samples'],
        }

    def to_dict(self) -> dict[str, Any]:
        """The row of all samples, 'protocol', 'from', 'thresholds', and 'by_<breakdown>'."""
        return {
            **self.row(self.all),
            'protocol': self.protocol.name,
            'from': 'prediction' if self.thresholds is None else 'dense prompt',
            'thresholds': None if self.thresholds is None else self.thresholds._asdict(),
            **{f'by_{name}': self.breakdown(name) for name in worth_showing(self.groups)},
        }

    def tables(self) -> list[str]:
        """Text tables: all samples, then each breakdown."""
        below = '<' if self.protocol.inclusive else '<='
        title = (
            f'Causes of failures (IoU {below} 0.5, protocol `{self.protocol.name}`) in percent of the '
            f'samples, {self._source()}'
        )
        columns = ('failed', *self.causes, 'samples')
        return [
            score_table({'all': self.row(self.all)}, title, columns=columns),
            *(
                score_table(self.breakdown(name), f'{title}, by {name}', head=name, columns=columns)
                for name in worth_showing(self.groups)
            ),
        ]

    def _source(self) -> str:
        if self.thresholds is None:
            return 'from the predictions alone'
        c, q, successes, source = self.thresholds
        return (
            f'from the dense prompt: coarse_localisation {c:.3f}, mask_agreement {q:.3f} '
            f'({successes} successes of {source})'
        )


def attribute_dump(
    path: str | Path, thresholds: Thresholds | None, protocol: Protocol = PAPER
) -> ErrorReport:
    """Reads a dump once.

    Args:
        thresholds: from another split (`read_thresholds`); None: from the predictions alone.
        protocol: what a failure is.
    Raises:
        UserError: as `read_dump`; there are thresholds and a record without the scores that they
            belong to.
    """
    report = ErrorReport(thresholds, protocol)
    for sample in dumped_samples(path):
        record = score_record(sample, protocol)
        cause: Cause | None = cause_from_presence(record, protocol)
        if cause is not None or not fails(record['intersection'], record['union'], protocol):
            pass
        elif thresholds is None:
            cause = cause_from_masks(mask_localisation(sample.prediction, sample.ground_truth))
        else:
            cause = cause_from_prompt(*prompt_scores(record, path), thresholds)
        report.add(record, cause)
    return report


def read_thresholds(
    path: str | Path, *, other_than: str | Path, protocol: Protocol = PAPER
) -> Thresholds:
    """From the dump of another split, or from what `errors.py --json` printed (a file *.json).

    Raises:
        UserError: it cannot be read, or is the dump that they are to judge.
    """
    if os.path.exists(path) and os.path.exists(other_than) and os.path.samefile(path, other_than):
        raise UserError(
            f'{path} cannot give its own thresholds: they come from another split of '
            'the same model (tools/test.py --dump on val)'
        )
    if Path(path).suffix != '.json':
        return fit_thresholds(_with_prompts(path, protocol), Path(path).name, protocol)
    given = read_json(path, dict[str, Any], what='the file of thresholds').get('thresholds')
    if given is None:
        raise UserError(
            f'{path} holds no thresholds: give the dump of another split, or the JSON '
            'of tools/analysis/errors.py on one'
        )
    return Thresholds(**convert(given, ThresholdsEntry, location=f'{path}: thresholds'))


def has_prompts(path: str | Path) -> bool:
    """Whether the dump is of a model with a dense prompt, by its first line."""
    return 'coarse_localisation' in next(read_dump(path))


def _with_prompts(path: str | Path, protocol: Protocol) -> Iterator[dict[str, Any]]:
    """The records of a dump, scored; each must have the prompt's scores."""
    for sample in dumped_samples(path):
        prompt_scores(sample.record, path)
        yield score_record(sample, protocol)


def prompt_scores(record: Mapping[str, Any], path: str | Path) -> tuple[float | None, float | None]:
    """coarse_localisation and mask_agreement of a record."""
    try:
        return record['coarse_localisation'], record['mask_agreement']
    except KeyError as error:
        raise UserError(
            f'{path}: sample {record["id"]} has no {error.args[0]}: write the dump '
            'again with tools/test.py --dump, or, for a model without a dense prompt, '
            'attribute with --from prediction'
        ) from None
