"""What is wrong with a copy on disk: every record, every file, every pixel, all of it listed."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..datasets.base import RefSegDataset
from ..datasets.checks import Faults, missing_files
from ..datasets.content import remember
from ..datasets.readers import open_split, own_names, splits_of, written_triplets
from ..errors import UserError
from .findings import KINDS, SEVERITIES, TINY, Finding, Report, as_dict, as_text
from .verify_pixels import Looks, look_at_all

__all__ = ['Finding', 'Report', 'as_dict', 'as_text', 'verify']


def verify(
    name: str,
    root: str,
    *,
    splits: Sequence[str] | None = None,
    count_tokens: Callable[[str], int] | None = None,
    max_tokens: int = 64,
    own_data: bool = False,
    **options: Any,
) -> Report:
    """Look at all records and files of a data set of READERS, or of a registered class, with all
    cores.

    Args:
        splits: None: all of them; only then orphaned files are found.
        count_tokens: Tokens of a sentence with its eos; more than `max_tokens` is a finding.
        own_data: Data of one's own in the layout: the published counts say nothing about it.
        options: of the reader.

    Raises:
        UserError: there is no such data set, or no folder `root`.
    """
    chosen = tuple(splits or splits_of(name))
    options = {**own_names(name, root), **options}
    data = {split: open_split(name, root, split, lazy_init=True, **options) for split in chosen}
    if not os.path.isdir(root):
        data[chosen[0]].read_records()  # says what to do
    report = Report({}, {}, [])
    records: dict[str, list[dict]] = {}
    readable = True
    for split, dataset in data.items():
        records[split], unread = _read(dataset, report.findings)
        readable &= not unread
        report.samples[split] = len(records[split])
        if not unread:
            report.findings.extend(_of_count(dataset, root, len(records[split]), own_data))
    missing = _missing(records, report.findings)
    if readable and set(chosen) == set(splits_of(name)):
        report.findings.extend(_orphans(r for split in chosen for r in records[split]))
    every = [record for split in chosen for record in records[split]]
    looks = look_at_all(every, missing, title=data[chosen[0]].TITLE)
    _remember_images(every, looks)
    for split in chosen:
        report.findings.extend(_of_pixels(records[split], looks, split, data[split].no_target))
        if count_tokens is not None:
            report.findings.extend(_long(records[split], split, count_tokens, max_tokens))
        report.statistics[split] = _statistics(records[split], looks)
    report.findings.extend(_of_equal_images(records, looks))
    return report._replace(findings=_in_order(report.findings))


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, by severity and kind."""
    kinds = list(KINDS)
    return sorted(
        dict.fromkeys(findings), key=lambda f: (SEVERITIES.index(f.severity), kinds.index(f.kind))
    )


# ---------------------------------------------------------------- records and files


def _remember_images(records: Iterable[dict], looks: Looks) -> None:
    remember(
        {
            record['img_path']: looks[id(record)][0].content
            for record in records
            if id(record) in looks and looks[id(record)][0].fault is None
        }
    )


def _read(dataset: RefSegDataset, findings: list[Finding]) -> tuple[list[dict], bool]:
    """The records of a split, and whether its files could not be read."""
    dataset.faults = Faults(collect=True)
    try:
        records, unread = dataset.read_records(), []
    except UserError as error:
        records, unread = [], [str(error)]
    for kind, messages in (('unreadable split', unread), ('bad record', dataset.faults.found)):
        for message in messages:
            location, _, what = message.partition(': ')
            findings.append(Finding(kind, dataset.split, location, what))
    return records, bool(unread)


def _of_count(dataset: RefSegDataset, root: str, found: int, own_data: bool) -> Iterator[Finding]:
    """How many triplets were found, against those that were published or written there."""
    split = dataset.split
    written = written_triplets(root, split)
    published = None if own_data else dataset.PUBLISHED.get(split)
    known = published if written is None else written
    if not (found or dataset.faults.found or known == 0):
        yield Finding('unreadable split', split, root, 'no triplet')
    elif known not in (None, found):
        source = 'published' if written is None else 'written'
        yield Finding('count', split, root, f'{found} triplets, {source}: {known}')


def _missing(records: dict[str, list[dict]], findings: list[Finding]) -> set[str]:
    every: set[str] = set()
    for split, of_split in records.items():
        for what, key in (('image', 'img_path'), ('mask', 'mask_path')):
            found = missing_files(r[key] for r in of_split if key in r)
            paths = [
                os.path.join(folder, name) for folder, names in found.items() for name in names
            ]
            findings.extend(
                Finding(f'missing {what}', split, path, f'the {what} is missing') for path in paths
            )
            every.update(paths)
    return every


def _orphans(records: Iterable[dict]) -> Iterator[Finding]:
    """Files beside those that the records name, of the same extension."""
    named: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for path in (record['img_path'], record.get('mask_path', record['img_path'])):
            folder, name = os.path.split(path)
            named[folder].add(name)
    for folder, names in named.items():
        kinds = {os.path.splitext(name)[1].lower() for name in names}
        for name in sorted(set(os.listdir(folder)) - names) if os.path.isdir(folder) else ():
            if os.path.splitext(name)[1].lower() in kinds and not name.startswith('.'):
                yield Finding(
                    'orphan',
                    None,
                    os.path.join(folder, name),
                    'no record of any split names the file',
                )


# ---------------------------------------------------------------- pixels, sentences


def _of_pixels(
    records: Iterable[dict], looks: Looks, split: str, no_target: bool
) -> Iterator[Finding]:
    for record in records:
        if id(record) not in looks:
            continue
        image, mask = looks[id(record)]
        location = record.get('mask_location') or record['mask_path']
        if image.fault is not None:
            yield Finding(
                'unreadable image',
                split,
                record['img_path'],
                image.fault.removeprefix(f'{record["img_path"]!r}: '),
            )
        if mask.fault is not None:
            kind, what = 'bad mask', mask.fault.partition(': ')[2]
        elif image.size not in (None, mask.stored):
            kind, what = (
                'resized mask',
                (
                    f'the mask is {mask.stored[0]} x {mask.stored[1]}, its '
                    f'image {image.size[0]} x {image.size[1]}'
                ),
            )
        else:
            kind = ''
        if kind:
            yield Finding(kind, split, location, what)
        if mask.fault is None and mask.area < TINY and (mask.area or not no_target):
            yield Finding(
                'tiny mask' if mask.area else 'empty mask',
                split,
                location,
                f'{mask.area} pixels, sample {record["sample_id"]}',
            )


# ---------------------------------------------------------------- sentences, equal images


def _long(
    records: Iterable[dict], split: str, count_tokens: Callable[[str], int], most: int
) -> Iterator[Finding]:
    for record in records:
        count = count_tokens(record['text'])
        if count > most:
            yield Finding(
                'long sentence',
                split,
                f'sample {record["sample_id"]}',
                f'{count} tokens, the text tower reads {most}',
            )


def _of_equal_images(records: dict[str, list[dict]], looks: Looks) -> Iterator[Finding]:
    groups: dict[str, list[tuple[str, dict]]] = defaultdict(list)
    for split, of_split in records.items():
        for record in of_split:
            if id(record) in looks:
                groups[looks[id(record)][0].content].append((split, record))
    for group in groups.values():
        if len({split for split, _ in group}) > 1:
            first = {split: record['img_path'] for split, record in reversed(group)}
            names = ', '.join(
                f'{split} ({os.path.basename(path)})' for split, path in sorted(first.items())
            )
            yield Finding('shared image', None, group[0][1]['img_path'], f'one picture in {names}')
        same: dict[tuple[str, str], list[dict]] = defaultdict(list)
        for split, record in group:
            same[split, ' '.join(record['text'].lower().split())].append(record)
        for (split, text), several in same.items():
            if len(several) > 1:
                masks = {looks[id(record)][1].content for record in several}
                yield Finding(
                    'contradiction' if len(masks) > 1 else 'duplicate sentence',
                    split,
                    'samples ' + ', '.join(record['sample_id'] for record in several),
                    f'{len(several)} times {text[:80]!r} of one picture, with '
                    f'{len(masks)} different mask{"s" * (len(masks) > 1)}',
                )


def _statistics(records: list[dict], looks: Looks) -> dict[str, int]:
    seen = [looks[id(r)] for r in records if id(r) in looks]
    categories = Counter(record['category'] for record in records)
    return {
        'samples': len(records),
        'image files': len({record['img_path'] for record in records}),
        'different images': len({image.content for image, _ in seen}),
        'different sentences': len({record['text'] for record in records}),
        'categories': len(categories.keys() - {None}),
        'unknown category': categories[None],
        'empty masks': sum(mask.fault is None and not mask.area for _, mask in seen),
        'resized masks': sum(
            mask.fault is None and image.size not in (None, mask.stored) for image, mask in seen
        ),
    }
