"""Scores of a set of samples, overall and by group: from a running test and from a dump alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .breakdowns import BREAKDOWNS, UNKNOWN, in_order, worth_showing
from .protocols import PRESENCE, Protocol
from .score_sums import COLUMNS, RATES, Record, Sums, score_table

MEAN = 'mean of categories'  # the last row of the table by category


def score_title(what: str, protocol: Protocol) -> str:
    """The line above a table of scores: it names the protocol."""
    return f'Scores in percent, {what}, protocol `{protocol.name}` ({protocol.rules})'


class Report:
    """Adds up records; holds one `Sums` for all and one for each group, and no record."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.all = Sums(protocol)
        self.groups: dict[str, dict[str, Sums]] = {}

    def add(self, record: Record) -> None:
        """Counts a sample in `all` and in its group of each breakdown that its record allows."""
        self.all.add(record)
        for name, group_of in BREAKDOWNS.items():
            group = group_of(record)
            if group is not None:
                self.group(name, group).add(record)

    def group(self, breakdown: str, group: str) -> Sums:
        """The sums of one group, made where it is new."""
        groups = self.groups.setdefault(breakdown, {})
        if group not in groups:
            groups[group] = Sums(self.protocol, defined_only=breakdown == 'category')
        return groups[group]

    def scores(self) -> dict[str, float]:
        """The overall scores in percent; with categories also 'category_gIoU', Table IV's rule: the
        mean over a category's samples, then over the named categories. Samples without a defined
        IoU (protocol release) count in the overall mean alone, as there."""
        scores = self.all.scores()
        by_category = [
            sums.scores()['gIoU']
            for name, sums in self.groups.get('category', {}).items()
            if name != UNKNOWN
        ]
        named = [mean for mean in by_category if not math.isnan(mean)]
        if named:
            scores['category_gIoU'] = math.fsum(named) / len(named)
        return scores

    def breakdown(self, name: str) -> dict[str, dict[str, float]]:
        """group -> its scores and 'samples', `in_order`."""
        groups = self.groups.get(name, {})
        return {
            group: {**groups[group].scores(), 'samples': groups[group].samples}
            for group in in_order(groups)
        }

    def to_dict(self) -> dict[str, Any]:
        """The scores, 'protocol', 'samples', and 'by_<breakdown>' of those that say
        something."""
        return {
            **self.scores(),
            'protocol': self.protocol.name,
            'samples': self.all.samples,
            **({'undefined': self.all.undefined} if self.all.undefined else {}),
            **{f'by_{name}': self.breakdown(name) for name in worth_showing(self.groups)},
        }

    def tables(self) -> list[str]:
        """Text tables: all samples, then each breakdown."""
        scores = self.all.scores()
        columns = (*COLUMNS, *(name for name in PRESENCE if name in scores))
        title = self.title(f'{self.all.samples} samples')
        return [score_table({'all': scores}, title, columns=columns), *self.group_tables()]

    def group_tables(
        self, category_beside: Mapping[str, Mapping[str, float]] | None = None
    ) -> list[str]:
        """A text table of each breakdown, after a line on samples without a defined IoU.

        Args:
            category_beside: more columns for the table by category: whose -> category -> gIoU.
        """
        tables = [self.undefined()] if self.all.undefined else []
        for name in worth_showing(self.groups):
            rows: dict[str, Mapping[str, float]] = {**self.breakdown(name)}
            if name == 'category':
                rows[MEAN] = dict(gIoU=self.scores()['category_gIoU'])
            beside = (category_beside or {}) if name == 'category' else {}
            columns = (*self._columns(rows), *beside)
            rows = {group: {**row, **_of_group(beside, group)} for group, row in rows.items()}
            tables.append(score_table(rows, self.title(f'by {name}'), head=name, columns=columns))
        return tables

    def undefined(self) -> str:
        """One line on the samples that make gIoU NaN; '' without any."""
        names = self.all.undefined
        if not names:
            return ''
        shown = ', '.join(names[:10]) + ', ...' * (len(names) > 10)
        return (
            f'{len(names)} samples whose two masks are empty make gIoU undefined under '
            f'protocol {self.protocol.name}: {shown}'
        )

    @staticmethod
    def _columns(rows: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
        given = [name for name in RATES if any(name in row for row in rows.values())]
        return (*COLUMNS, *given, 'samples')

    def title(self, what: str) -> str:
        """The line above a table: it names the protocol."""
        return score_title(what, self.protocol)


def _of_group(beside: Mapping[str, Mapping[str, float]], group: str) -> dict[str, float]:
    """A row's cells of the columns that stand beside; the last row has their means."""
    return {
        whose: math.fsum(column.values()) / len(column) if group == MEAN else column[group]
        for whose, column in beside.items()
        if group == MEAN or group in column
    }
