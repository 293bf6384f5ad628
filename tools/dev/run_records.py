"""Runs as data, docs/results/runs/*.json and the user's own: what was run and what it scored, read
from the run's own files, the folder that tools/train.py and tools/test.py share as --work-dir."""

from __future__ import annotations

import re
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

from mmengine.config import Config

from rsrefseg2.apis.ablations import STUDIES, TINY, read_index, tiny_config
from rsrefseg2.engine import load_config
from rsrefseg2.engine.config_files import read_config
from rsrefseg2.errors import UserError, make_folder
from rsrefseg2.evaluation import COLUMNS, dumped_samples, find_protocol, score, score_intervals
from rsrefseg2.files import read_text, write_text
from rsrefseg2.options import OWN_RECORDS, RECORDS
from rsrefseg2.publishing.scores_files import read_scores_file
from rsrefseg2.records import convert, read_json, to_json
from rsrefseg2.visualization import read_runs

Record = dict[str, Any]
# What a run may have had otherwise than its config; the rest is where it ran and what was shown.
SETTINGS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'custom_hooks',
    'default_hooks',
)
PLACES = ('data_root', 'made_by')
LOGGED = re.compile(r'train/(loss.*|grad_norm|lr|time)|val/(gIoU|cIoU|Pr@0.5|\w+_hit)')
SEED = re.compile(r'seed\d+')
STAMP = re.compile(r'\d{8}_\d{6}(_\d+)?')  # of a start: its log folder's name


class RecordEntry(TypedDict):
    """A `Record` in its file."""

    config: str
    scale: str | None
    seed: int | None
    options: dict[str, Any]
    trained: str | None
    minutes: float | None
    dataset: str
    split: str
    scores: dict[str, Any]
    intervals: dict[str, list[float | None]] | None
    log: str | None


class RecordFile(TypedDict):
    """What a file of records holds."""

    runs: list[RecordEntry]


def read_record_file(path: Path) -> list[Record]:
    """The records in a file, as they stand there.

    Raises:
        UserError: it cannot be read, or holds no records.
    """
    given = read_json(path, dict[str, Any], what='the file of records')
    convert(given, RecordFile, location=str(path))
    return given['runs']


def read_records(root: str | Path = '.', folders: Iterable[str] = (RECORDS,)) -> list[Record]:
    """All records below `folders` of the repository at `root`, each with its 'file'."""
    return [
        {**record, 'file': _within(path, root)}
        for folder in folders
        for path in sorted((Path(root) / folder).glob('*.json'))
        for record in read_record_file(path)
    ]


def _within(path: Path, root: str | Path) -> str:
    """The path from `root`; as it is where it leads elsewhere."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def add_records(
    paths: Iterable[str | Path],
    name: str,
    *,
    logs: bool = False,
    root: str | Path = '.',
    folder: str = OWN_RECORDS,
) -> Path:
    """Adds the finished runs below `paths` to `folder`/<name>.json; one of the same config, seed
    and length is replaced.

    Args:
        logs: keep each run's curve, too, below `folder`/<name>, for tools/analysis/curves.py.
    Raises:
        UserError: there is no finished run, or one whose files do not say what it was, or one that
            had other options than the one in the file.
    """
    if Path(name).name != name:
        raise UserError(f'a record is named, not placed: {name!r} is a path')
    out = make_folder(Path(root) / folder) / f'{name}.json'
    known = read_record_file(out) if out.is_file() else []
    records = {_identity(record): record for record in known}
    for run in _finished(paths):
        record, curves = make_record(run, root)
        before = records.get(_identity(record), record)
        if before['options'] != record['options']:
            raise UserError(
                f'{out} holds another {_identity(record)}, run with other options '
                f'than {run}: give another name'
            )
        if logs and curves:
            log = make_folder(out.with_suffix('')) / f'{_identity(record)}.json'
            write_text(log, '\n'.join(_log_lines(curves)) + '\n')
            record['log'] = _within(log, root)
        records[_identity(record)] = record
    lines = ',\n'.join(to_json(records[key], ascii_only=False) for key in sorted(records))
    write_text(out, f'{{"runs": [\n{lines}\n]}}\n')
    return out


def seed_scores(
    config: str, root: str | Path = '.', folders: Sequence[str] = (RECORDS,)
) -> dict[str, Any]:
    """The runs of a config as it stands, recorded below `folders`, by seed, with their mean and
    their spread.

    Returns:
        'config', 'trained', 'dataset', 'split'; 'seeds': {seed: the scores, with 'minutes' of
        training}; 'mean' and 'std' over the seeds (the sample's, n - 1), shaped like one seed's
        numbers; no 'std' of one seed.
    Raises:
        UserError: no such run is recorded, runs of several lengths or splits are, or two of a
            seed.
    """
    found = [
        record
        for record in read_records(root, folders)
        if record['config'] == config and not record['options']
    ]
    about = {
        name: sorted({str(record[name]) for record in found})
        for name in ('trained', 'dataset', 'split')
    }
    if any(len(values) != 1 for values in about.values()):
        raise UserError(
            f'{" with ".join(folders)} holds {len(found)} runs of {config} without '
            f'options, of {about}: it takes at least one, and the same of all'
        )
    twice = [
        seed for seed, count in Counter(record['seed'] for record in found).items() if count > 1
    ]
    if twice:
        raise UserError(
            f'seed {twice[0]} of {config} stands in several records: '
            + ', '.join(record['file'] for record in found if record['seed'] == twice[0])
        )
    seeds = {
        str(record['seed']): dict(minutes=record['minutes'], **record['scores'])
        for record in sorted(found, key=lambda record: record['seed'])
    }
    runs = list(seeds.values())
    return dict(
        config=config,
        **{name: values[0] for name, values in about.items()},
        seeds=seeds,
        mean=_over(runs, statistics.fmean),
        **(dict(std=_over(runs, statistics.stdev)) if len(runs) > 1 else {}),
    )


def _over(values: list[Any], function: Callable[[list[float]], float]) -> Any:
    """`function` of every number that all of `values`, equally shaped, hold."""
    if isinstance(values[0], Mapping):
        shared = [key for key in values[0] if all(key in value for value in values)]
        parts = {key: _over([value[key] for value in values], function) for key in shared}
        return {key: part for key, part in parts.items() if part is not None}
    if any(isinstance(value, str) or value is None for value in values):
        return None
    return round(function(values), 4)


def _identity(record: Record) -> str:
    parts = (Path(record['config']).stem, record['trained'], f'seed{record["seed"]}')
    return '_'.join(part for part in parts if part)


def _finished(paths: Iterable[str | Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(file.parent for file in Path(path).rglob('scores.json'))
        if not found:
            raise UserError(
                f'no run below {path} is finished: none has a scores.json, which '
                'tools/test.py writes into --work-dir'
            )
        yield from found


def make_record(folder: Path, root: str | Path = '.') -> tuple[Record, dict[str, dict]]:
    """What the run in `folder` was and scored, and its curves as `read_run` has them.

    Raises:
        UserError: its files do not say what it was, or it was trained and tested by different
            configs.
    """
    cfg, path, scale, reference = _configs(folder, Path(root))
    scores = read_scores_file(folder / 'scores.json')
    curves = _curves(folder)
    begun = min(
        (found.name for found in folder.iterdir() if STAMP.fullmatch(found.name)), default=None
    )
    _check_trained(folder, begun, cfg)
    last = folder / 'last_checkpoint'
    data = cfg.test_dataloader.dataset
    return {
        'config': path,
        'scale': scale,
        'seed': cfg.randomness.get('seed'),
        'options': _options(cfg, reference),
        'trained': Path(read_text(last).strip()).stem if last.is_file() else None,
        'minutes': _minutes(curves.get('train/time')),
        'checkpoint': Path(cfg.load_from).name if cfg.get('load_from') else None,
        # the folder's name alone: a record says nothing of the machine
        'dataset': Path(cfg.test_evaluator.get('data_root') or data.data_root).name,
        'split': data.get('split', 'test'),
        'begun': begun and datetime.strptime(begun[:15], '%Y%m%d_%H%M%S').isoformat(' '),
        'revision': begun and _revision(begun, root),
        'scores': {
            key: _rounded(value)
            for key, value in scores.items()
            if key == 'by_level' or not key.startswith(('by_', 'baselines', 'checkpoint'))
        },
        'intervals': _intervals(folder / 'dump.jsonl', scores),
        'log': None,
    }, curves


def _check_trained(folder: Path, begun: str | None, cfg: Config) -> None:
    """`cfg` is what tools/test.py ran with, whose options may lack the training's."""
    path = folder / str(begun) / 'vis_data/config.py'
    if not path.is_file():
        return
    trained = read_config(str(path))
    differing = _options(trained, cfg) | _options(cfg, trained)
    if trained.get('randomness') != cfg.get('randomness'):
        differing['randomness'] = trained.get('randomness')
    if differing:
        raise UserError(
            f'{folder} was trained and tested with different configs '
            f'({", ".join(differing)}): test it again with the --cfg-options of its '
            'training'
        )


def _configs(folder: Path, root: Path) -> tuple[Config, str, str | None, Config]:
    """The config that the run was tested with, the path of what it is a run of, the scale of
    tools/ablate.py's runs, and that one's config."""
    tests = sorted(
        {path.parent for path in folder.glob('*/*.py') if STAMP.fullmatch(path.parent.name)}
    )
    # A test's config is in its log folder; earlier versions put it where the training's is.
    copies = sorted((tests[-1] if tests else folder).glob('*.py'))
    if len(copies) != 1:
        raise UserError(
            f'{folder} holds {len(copies)} configs (*.py), where a run has one: '
            + (', '.join(path.name for path in copies) or 'none')
        )
    cfg = read_config(str(copies[0]))
    if not SEED.fullmatch(copies[0].stem):
        paths = sorted(
            path
            for folder in ('configs', 'projects')
            for path in (root / folder).rglob(copies[0].name)
            if '_base_' not in path.parts
        )
        if len(paths) != 1:
            raise UserError(
                f'{copies[0]} is named as {len(paths)} files below configs/, where it '
                'should be as one'
            )
        return cfg, str(paths[0].relative_to(root)), None, load_config(str(paths[0]))
    scale, name = folder.resolve().parts[-3:-1]  # of tools/ablate.py
    found = [
        (row.config, load_config(str(root / row.config)))
        for study in STUDIES
        for table in read_index(root, study).tables
        for row in table.rows
        if row.name == name
    ]
    if found:  # two studies may name a row alike: the run is of the config that it is nearer to
        path, reference = min(found, key=lambda one: len(_options(cfg, one[1])))
        return cfg, path, None, reference
    found = [
        (table, row) for table in read_index(root).tables for row in table.rows if row.name == name
    ]
    if not found or scale not in (*TINY, 'paper'):
        raise UserError(
            f'{folder} is no run of tools/ablate.py: no table has a row {name!r}, or '
            f'{scale!r} is no scale'
        )
    table, row = found[0]
    reference = (
        tiny_config(table, row, root, scale)
        if scale in TINY
        else load_config(str(root / row.config))
    )
    return cfg, row.config, scale, reference


def _options(cfg: Config, reference: Config) -> dict[str, Any]:
    """{key: value} for --cfg-options, of all that the run had otherwise than its config; of a path
    on this machine its name."""
    ours, theirs = (
        dict(_leaves({key: given.get(key) for key in SETTINGS}))
        for given in (cfg.to_dict(), reference.to_dict())
    )
    return {
        key: Path(value).name if str(value).startswith('/') else value
        for key, value in ours.items()
        if theirs.get(key, ...) != value and key.rpartition('.')[2] not in PLACES
    }


def _leaves(value: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that is no mapping and no list of mappings."""
    if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        value = {str(i): item for i, item in enumerate(value)}
    if not isinstance(value, Mapping):
        yield where, list(value) if isinstance(value, tuple) else value
        return
    for key, child in value.items():
        yield from _leaves(child, f'{where}.{key}' if where else str(key))


def _curves(folder: Path) -> dict[str, dict[int, float]]:
    """Empty for what was only tested, or too short to log."""
    try:
        (run,) = read_runs([folder])
    except UserError:
        return {}
    return {name: curve for name, curve in run.curves.items() if LOGGED.fullmatch(name)}


def _minutes(seconds: Mapping[int, float] | None) -> float | None:
    """Of training, without validation: `seconds` is the mean of an iteration since the last line
    of the log."""
    if not seconds:
        return None
    steps = [0, *sorted(seconds)]
    return round(
        sum(seconds[step] * (step - before) for before, step in zip(steps, steps[1:], strict=False))
        / 60,
        2,
    )


def _revision(begun: str, root: str | Path) -> str | None:
    """The newest commit here when the run began: a run does not keep its own."""
    moment = datetime.strptime(begun[:15], '%Y%m%d_%H%M%S').isoformat()
    try:
        found = subprocess.run(
            ['git', '-C', str(root), 'log', '-1', f'--before={moment}', '--format=%h'],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None


def _intervals(dump: Path, scores: Mapping[str, Any]) -> dict[str, list[float]] | None:
    """The 95 % intervals over images, where there is a dump."""
    if not dump.is_file():
        return None
    found = score_intervals(score(dumped_samples(dump), find_protocol(scores['protocol']))[1])
    return {name: [round(value, 2) for value in found[name]] for name in COLUMNS if name in found}


def _log_lines(curves: Mapping[str, Mapping[int, float]]) -> Iterator[str]:
    """As a run's own scalars.json, which read_run reads; five digits."""
    for phase, more in (('train', ('iter', 'step')), ('val', ('step',))):
        named = {
            name.partition('/')[2]: curve
            for name, curve in curves.items()
            if name.startswith(phase)
        }
        for step in sorted(set().union(*named.values())):
            yield to_json(
                {
                    **{
                        name: float(f'{curve[step]:.5g}')
                        for name, curve in named.items()
                        if step in curve
                    },
                    **dict.fromkeys(more, step),
                }
            )


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(child) for key, child in value.items()}
    return round(value, 4) if isinstance(value, float) else value
