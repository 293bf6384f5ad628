"""What `verify` found, for people and for machines."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..tables import plain_table

TINY = 25  # pixels: 5 x 5
# kind -> severity, what to do
KINDS = {
    'unreadable split': (
        'error',
        'do what the line says, or name the splits that you have (--splits)',
    ),
    'bad record': ('error', 'correct the record: training and testing stop at it'),
    'missing image': ('error', 'fetch the download again: it is incomplete'),
    'missing mask': ('error', 'fetch the download again: it is incomplete'),
    'unreadable image': ('error', 'do what the line says: training and testing stop at it'),
    'bad mask': ('error', 'do what the line says: training and testing stop at it'),
    'count': ('warning', 'fetch the download again; for data of your own: --own-data'),
    'orphan': ('warning', 'fetch the text or annotation files again: they may be incomplete'),
    'resized mask': ('warning', 'nothing: the mask follows the image, by nearest neighbour'),
    'empty mask': (
        'warning',
        'look at it; the sample is kept and scores 0 under protocol `paper`; where sentences may name '
        'no object: --no-target',
    ),
    'tiny mask': ('warning', 'look at it; the sample is kept'),
    'contradiction': ('warning', 'look at them, one mask is wrong; the samples are kept'),
    'duplicate sentence': ('warning', 'nothing: the samples are kept; they count twice'),
    'shared image': ('warning', 'mind that scores are not on unseen pictures only'),
    'long sentence': ('warning', 'nothing: the text tower reads the first tokens only'),
}
SEVERITIES = ('error', 'warning')


class Finding(NamedTuple):
    """split: None where it is no single one."""

    kind: str
    split: str | None
    location: str
    what: str

    @property
    def severity(self) -> str:
        """'error' or 'warning', by its kind."""
        return KINDS[self.kind][0]

    @property
    def do(self) -> str:
        """What to do about it."""
        return KINDS[self.kind][1]


class Report(NamedTuple):
    """samples: triplets per split. statistics: split -> name -> number."""

    samples: dict[str, int]
    statistics: dict[str, dict[str, int]]
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        """'clean', 'warnings' or 'errors'."""
        severities = {finding.severity for finding in self.findings}
        return next((f'{severity}s' for severity in SEVERITIES if severity in severities), 'clean')


def as_dict(report: Report) -> dict[str, Any]:
    """Plain values: verdict, samples, statistics, findings."""
    return dict(
        verdict=report.verdict,
        samples=report.samples,
        statistics=report.statistics,
        findings=[dict(severity=f.severity, **f._asdict(), do=f.do) for f in report.findings],
    )


def as_text(report: Report, *, most: int | None = 3) -> str:
    """A table of the splits, and the findings by kind: `most` of each, None: all."""
    names = list(next(iter(report.statistics.values())))
    lines = [
        plain_table(
            ('', *report.statistics),
            [
                (name, *(of_split[name] for of_split in report.statistics.values()))
                for name in names
            ],
        )
    ]
    groups: dict[str, list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault(finding.kind, []).append(finding)
    for kind, found in groups.items():
        lines += ['', f'{found[0].severity}: {kind}, {len(found)} times. What to do: {found[0].do}']
        for finding in found[:most]:
            split = '' if finding.split is None else f'[{finding.split}] '
            lines.append(f'  {split}{finding.location}: {finding.what}')
        if most is not None and len(found) > most:
            lines.append(f'  ... and {len(found) - most} more: --list shows all')
    counts = [sum(f.severity == severity for f in report.findings) for severity in SEVERITIES]
    return '\n'.join([*lines, '', f'{report.verdict}: {counts[0]} errors, {counts[1]} warnings'])
