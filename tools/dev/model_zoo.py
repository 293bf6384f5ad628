"""The model zoo page, docs/model_zoo.md, from data alone: published numbers, the index of the
ablations, records of runs. Nothing on it is typed."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

from rsrefseg2.apis.ablation_results import TINY_NOTE, look_up, summarize
from rsrefseg2.apis.ablations import INDEX, TINY, WHERE, Index, Table, number, read_index
from rsrefseg2.engine import load_config
from rsrefseg2.evaluation import COLUMNS
from rsrefseg2.markup import code, link, text
from rsrefseg2.markup import table as markdown
from rsrefseg2.publishing.scores_files import read_scores_file
from rsrefseg2.records import read_json
from tools.dev.claims import claims_section
from tools.dev.run_records import RECORDS, Record, read_records

PAGE = 'docs/model_zoo.md'
PUBLISHED = 'docs/results/published.json'
QUICKSTART = 'docs/results/quickstart.json'
QUICKSTART_CONFIG = 'configs/synthrs_tiny.py'
SCORES = ('Pr@0.5', 'cIoU', 'gIoU')
RUN_NOTE = (
    'Run here, by setting: mean over the seeds ± their standard deviation; of one run [its '
    '95 % interval over images] where it left a dump. Minutes are of training alone, '
    'beside whatever else the machine did.'
)
# At which scale the paper's statements are compared: the recipe in words, tables if not all.
COMPARED = (('tiny', "the quickstart's towers"), ('tiny_plus', 'the best tiny recipe', ('X', 'XV')))
TABLE = ('method', 'venue', *COLUMNS, 'compared at', 'source')


class PublishedTable(TypedDict):
    """A table of other people's scores."""

    number: str
    title: str
    config: str
    release: str
    rows: list[dict[str, str | float | None]]


class PublishedFile(TypedDict):
    """What PUBLISHED holds."""

    note: str
    sources: dict[str, str]
    tables: list[PublishedTable]


def zoo_page(root: str | Path = '.', folders: Sequence[str] = (RECORDS,)) -> str:
    """The whole page, of the repository at `root` and the records below `folders`.

    Raises:
        UserError: data that it needs are not there.
    """
    root = Path(root)
    published = read_json(root / PUBLISHED, PublishedFile)
    index, where = read_index(root), read_index(root, WHERE)
    records = read_records(root, folders)
    ablations = [record for record in records if _tables(index, record)]
    placed = [record for record in records if _tables(where, record)]
    mains = {table['config'] for table in published['tables']}
    others = [
        record
        for record in records
        if record not in ablations + placed
        and not (record['config'] in mains and not record['options'])
    ]
    full_size = [
        record
        for record in records
        if record['scale'] not in TINY and (record in ablations or record['config'] in mains)
    ]
    sections = [_head(published['note'], folders, nothing=not full_size)]
    sections += [
        list(_benchmark(table, published['sources'], records, root))
        for table in published['tables']
    ]
    sections.append(
        [
            '## Tables VI to XVI',
            '',
            "Every row with its config, its command and the paper's numbers: "
            '[configs/ablations](../configs/ablations/README.md). '
            + (RUN_NOTE if ablations else 'No run of them is recorded yet.'),
        ]
    )
    sections += _settings(index, ablations)
    for scale, *claimed in COMPARED:
        runs = [run for run in ablations if (run['scale'], run['trained']) == (scale, 'iter_300')]
        sections += [lines for lines in [claims_section(index, runs, *claimed)] if lines]
    if placed:
        sections.append(
            [
                '## Where, not only what',
                '',
                f'{where.note} What follows from it: [the study](../projects/localisation_study/README.md). {RUN_NOTE}',
            ]
        )
        sections += _settings(where, placed)
    sections += [list(_others(others))] if others else []
    sections.append(list(_quickstart(read_scores_file(root / QUICKSTART))))
    return '\n\n'.join('\n'.join(lines) for lines in sections) + '\n'


def _head(note: str, folders: Sequence[str], nothing: bool) -> list[str]:
    named = ', '.join(f'`{folder}/`' for folder in folders)
    lines = [
        '# Model zoo',
        '',
        f'Of `{PUBLISHED}`, `configs/release/`, `{INDEX}`, {named} and `{QUICKSTART}` '
        f'by `python tools/dev/zoo.py --records {folders[-1]} > {PAGE}`; not to be edited.',
        '',
        'In percent; - is a number that its source lacks, or a run that was not made. ' + note,
    ]
    if nothing:
        lines[-1] += (
            ' Nothing was run here at full size: of Tables II to V and of the full-size '
            'rows there are the configs and the commands.'
        )
    return lines


# ------------------------------------------------------------------ Tables II to V


def _benchmark(
    table: Mapping, sources: Mapping[str, str], records: list[Record], root: Path
) -> Iterator[str]:
    """A table of the paper: other methods, ours as published and as run here, its commands."""
    config, release = table['config'], table['release']
    stem = Path(release).stem
    ours = [
        record
        for record in records
        if record['config'] == config and record['scale'] not in TINY and not record['options']
    ]
    yield from (f'## Table {table["number"]}: {text(table["title"])}', '')
    if table['number'] == 'IV':
        yield from _categories(table, ours)
        yield from ('', f'- {sources["paper"]}.')
    else:
        rows = [
            [
                text(row['method']),
                text(row['venue']),
                *(number(row[name]) for name in COLUMNS),
                text(row['scored_at'] or '-'),
                text(row['source']),
            ]
            for row in table['rows']
        ]
        for whose, scores in load_config(str(root / release)).test_evaluator.beside.items():
            rows.append(
                [
                    'RSRefSeg 2',
                    text(whose),
                    *(number(scores.get(name)) for name in COLUMNS),
                    'original',
                    code(release),
                ]
            )
        rows.append(['RSRefSeg 2', 'this code', *_scores(ours, COLUMNS), 'original', code(config)])
        yield from markdown(list(TABLE), rows)
        used = {name for row in table['rows'] for name in row['source'].split(', ')}
        yield ''
        yield from (f'- {name}: {what}.' for name, what in sources.items() if name in used)
    yield f'- Config: {link(config, f"../{config}")}.'
    if ours:
        yield (
            f'- Run here: seeds {" ".join(str(run["seed"]) for run in ours)}; log '
            f'{_logs(ours)}; records {", ".join(_link(run["file"]) for run in ours)}.'
        )
    yield (
        f'- Log and dump: `python tools/train.py {config}`, then `python tools/test.py '
        f'{config} CHECKPOINT --dump DUMP.jsonl`.'
    )
    yield (
        f'- The released weights: `python tools/convert_release.py IN.pth OUT.pth --dataset '
        f'{stem}`, then `python tools/test.py {release} OUT.pth --dump DUMP.jsonl`.'
    )


def _categories(table: Mapping, ours: list[Record]) -> Iterator[str]:
    """Table IV: a category a line, and their mean; the methods as published, and as run here."""
    methods = [name for name in table['rows'][0] if name != 'category']
    rows = [
        [
            row['category'],
            *(number(row[method]) for method in methods),
            summarize(
                None,
                [
                    look_up(run['scores'].get('by_category', {}).get(row['category'], {}), 'gIoU')
                    for run in ours
                ],
            ).text,
        ]
        for row in table['rows']
    ]
    means = [number(fmean(row[method] for row in table['rows'])) for method in methods]
    rows.append(['mean of categories', *means, *_scores(ours, ('category_gIoU',))])
    yield from markdown(['category', *map(text, methods), 'this code'], rows)


def _scores(
    records: list[Record], names: tuple[str, ...] = SCORES, level: str | None = None
) -> list[str]:
    """Mean and spread over the seeds; of one run with a dump the 95 % interval."""
    cells = []
    for name in names:
        values = [
            look_up(record['scores']['by_level'][level] if level else record['scores'], name)
            for record in records
        ]
        text = summarize(None, values).text
        if len(records) == 1 and not level and (records[0]['intervals'] or {}).get(name):
            low, high = records[0]['intervals'][name]
            text += f' [{number(low)}, {number(high)}]'
        cells.append(text)
    return cells


# ------------------------------------------------------------------ Tables VI to XVI


def _tables(index: Index, record: Record) -> list[Table]:
    return [
        table for table in index.tables if record['config'] in {row.config for row in table.rows}
    ]


def _setting(record: Record) -> tuple:
    """What runs must share to stand in one table."""
    scores = record['scores']
    kind, _, length = (record['trained'] or 'none_0').partition('_')
    return (
        record['scale'] or '',
        record['dataset'],
        record['split'],
        scores['samples'],
        scores['protocol'],
        kind,
        -int(length),
        json.dumps(record['options'], sort_keys=True),
    )


def _settings(index: Index, records: list[Record]) -> Iterator[list[str]]:
    """For each setting what it was, then the tables of its runs."""
    for key, group in groupby(sorted(records, key=_setting), _setting):
        runs = list(group)
        files = ', '.join(_link(file) for file in sorted({run['file'] for run in runs}))
        yield [f'### {_title(key)}', '', f'Records: {files}.' + f' {TINY_NOTE}' * (key[0] in TINY)]
        # The † row stands in every table: beside another row of it, or once where it is alone.
        found = [
            table
            for table in index.tables
            if any(table in _tables(index, run) and run['config'] != table.parent for run in runs)
        ]
        for table in found or _tables(index, runs[0])[:1]:
            yield list(_table(index, table, [run for run in runs if table in _tables(index, run)]))


def _title(key: tuple) -> str:
    scale, dataset, split, samples, protocol, kind, length, _ = key
    unit = {'iter': 'iterations', 'epoch': 'epochs'}.get(kind)
    trained = f'{-length} {unit}' if unit else 'not trained here'
    of = (
        f'{scale.replace("_", " ").capitalize()} scale, {trained}'
        if scale
        else trained.capitalize()
    )
    return f'{of}; {text(dataset)}, {text(split)}: {samples} sentences, protocol {code(protocol)}'


def _table(index: Index, table: Table, records: list[Record]) -> Iterator[str]:
    """The rows of a table that were run, beside the paper, and the commands that run them."""
    levels = sorted(
        set.intersection(*(set(record['scores'].get('by_level', ())) for record in records))
    )
    of_paper = bool(table.number)
    hits = () if of_paper else levels
    yield from (
        f'#### Table {table.number}: {text(table.title)}'
        if of_paper
        else f'#### {text(table.title)}',
        '',
    )
    lines, commands = [], {}
    for row in table.rows:
        runs = sorted(
            (record for record in records if record['config'] == row.config),
            key=lambda record: record['seed'],
        )
        if not runs:
            continue
        seeds = tuple(run['seed'] for run in runs)
        commands.setdefault(
            (seeds, runs[0]['scale'] or 'paper', json.dumps(runs[0]['options'], sort_keys=True)), []
        ).append(row.name)
        lines.append(
            [
                *map(text, row.values),
                link(row.name, f'../{row.config}') + ' †' * (row.config == table.parent),
                ' '.join(map(str, seeds)),
                *_scores(runs),
                *(_scores(runs, ('gIoU',), level)[0] for level in levels),
                *(_scores(runs, ('object_hit',), level)[0] for level in hits),
                *([number(row.paper['gIoU'])] if of_paper else []),
                _minutes(runs),
                _logs(runs),
            ]
        )
    yield from markdown(
        [
            *map(text, table.columns),
            'config',
            'seeds',
            *SCORES,
            *(f'gIoU, {text(level)}' for level in levels),
            *(f'object hit, {text(level)}' for level in hits),
            *(["gIoU, the paper's"] if of_paper else []),
            'minutes',
            'log',
        ],
        lines,
    )
    yield from ('', 'Again, with log and dump:', '', '```bash')
    for (seeds, scale, options), names in commands.items():
        yield (
            f'python tools/ablate.py {table.key} --rows {" ".join(names)} --seeds '
            f'{" ".join(map(str, seeds))} '
            + (f'--scale {scale}' if of_paper else f'--index {WHERE}')
            + _as_arguments(options)
        )
    yield '```'


def _as_arguments(options: str) -> str:
    given = json.loads(options)
    return ' --cfg-options ' * bool(given) + ' '.join(
        shlex.quote(f'{key}={"".join(str(value).split())}') for key, value in given.items()
    )


def _minutes(runs: list[Record]) -> str:
    known = [run['minutes'] for run in runs if run['minutes'] is not None]
    return f'{sum(known) / len(known):.1f}' if known else '-'


def _logs(runs: list[Record]) -> str:
    return ' '.join(_link(run['log'], str(run['seed'])) for run in runs if run['log']) or '-'


def _link(path: str, shown: str | None = None) -> str:
    # from the folder of the page
    return link(shown or Path(path).name, Path(os.path.relpath(path, 'docs')).as_posix())


# ------------------------------------------------------------------ the rest


def _others(records: list[Record]) -> Iterator[str]:
    """Runs of other configs, one line for all seeds of a setting."""
    yield from (
        '## Other runs',
        '',
        'Of several seeds the mean ± their standard deviation; minutes are of training alone.',
        '',
    )
    lines = []
    for _, group in groupby(sorted(records, key=_run_of), _run_of):
        runs = sorted(group, key=lambda record: record['seed'])
        first = runs[0]
        options = _as_arguments(json.dumps(first['options']))
        lines.append(
            [
                link(first['config'], f'../{first["config"]}'),
                ' '.join(str(run['seed']) for run in runs),
                f'{text(first["dataset"])}, {text(first["split"])}, '
                f'{code(first["scores"]["protocol"])}',
                *_scores(runs),
                _minutes(runs),
                _logs(runs),
                code(f'python tools/train.py {first["config"]}{options}')
                + ', then '
                + code(f'python tools/test.py {first["config"]} CHECKPOINT --dump DUMP.jsonl'),
            ]
        )
    header = ['config', 'seeds', 'tested on', *SCORES, 'minutes', 'log', 'again, with log and dump']
    yield from markdown(header, lines)


def _run_of(record: Record) -> tuple:
    """What runs of one line share: all but the seed."""
    return (record['config'], *_setting(record))


def _quickstart(scores: Mapping[str, Any]) -> Iterator[str]:
    """The run of the two commands, by level."""
    rows = {'all': scores, **scores['by_level']}
    names = (*SCORES, 'object_hit', 'object_hit_chance')
    yield from (
        '## The quickstart',
        '',
        f'Tiny towers on SynthRS, test split, {scores["samples"]} sentences, protocol '
        f'`{scores["protocol"]}`, one seed; {_link(QUICKSTART)} holds more. These numbers '
        "say that the code learns, and nothing about the paper's.",
        '',
    )
    yield from markdown(
        ['level', *(name.replace('_', ' ') for name in names)],
        [[text(level), *(number(row[name]) for name in names)] for level, row in rows.items()],
    )
    yield from (
        '',
        f'- Config: [{QUICKSTART_CONFIG}](../{QUICKSTART_CONFIG}).',
        '- Log: not kept; `bash tools/quickstart.sh` makes it, and the scores, again.',
        f'- Dump: not kept; `python tools/test.py {QUICKSTART_CONFIG} '
        '$(cat work_dirs/quickstart/last_checkpoint) --dump DUMP.jsonl` after it.',
    )
