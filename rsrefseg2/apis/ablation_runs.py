"""Runs of a table's rows: where they are, the commands that train and test them, what is done.

A run is a row, a seed and, for the tables of the paper, a scale. Its folder is
<root>/<scale>/<row>/seed<K>, its config seed<K>.py beside it; it is finished when its scores.json
is there. The † row has one run, whatever the table.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from mmengine.config import Config

from ..engine import load_config, with_options
from ..errors import UserError, make_folder, suggest
from ..files import read_text, write_text
from .ablations import TINY, Row, Table, tiny_config

Launcher = Literal['none', 'pytorch', 'slurm']
Scale = Literal['paper', 'tiny', 'tiny_plus'] | None  # None: of a table that has one scale
STATES = ('new', 'begun', 'queued', 'running', 'finished')


class Run(NamedTuple):
    """One training and its test."""

    table: Table
    row: Row
    seed: int
    scale: Scale
    root: Path

    @property
    def folder(self) -> Path:
        """Where everything of the run lies."""
        return self.root / (self.scale or '') / self.row.name / f'seed{self.seed}'

    @property
    def config(self) -> Path:
        """The config as it was run."""
        return self.folder.with_suffix('.py')

    @property
    def log(self) -> Path:
        """The run's output."""
        return self.folder.with_suffix('.log')

    @property
    def scores(self) -> Path:
        """Its scores, as JSON."""
        return self.folder / 'scores.json'

    @property
    def dump(self) -> Path:
        """Its dump, one line per sample."""
        return self.folder / 'dump.jsonl'

    def checkpoint(self) -> Path | None:
        """The best by validation, else the last; None before the first."""
        best = sorted(self.folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
        last = self.folder / 'last_checkpoint'
        if best:
            return best[-1]
        return self.folder / Path(read_text(last).strip()).name if last.is_file() else None

    def state(self) -> str:
        """One of STATES."""
        if self.scores.is_file():
            return 'finished'
        if self.folder.is_dir():
            with only_one(self) as free:
                if not free:
                    return 'running'
        if _in_queue(self):
            return 'queued'
        return 'begun' if self.checkpoint() else 'new'


def plan(
    table: Table,
    *,
    names: Iterable[str] | None,
    seeds: Iterable[int],
    scale: Scale,
    root: str | Path,
) -> list[Run]:
    """The runs of a table, or of the rows `names` of it, each once, seed by seed.

    Raises:
        UserError: a name that no row has.
    """
    known = list(dict.fromkeys(row.name for row in table.rows))
    for name in names or ():
        if name not in known:
            raise UserError(
                f'{table.key} has no row {name!r}{suggest(name, known)}; its rows: '
                f'{", ".join(known)}'
            )
    rows = {row.name: row for row in table.rows if names is None or row.name in names}
    return [
        Run(table, row, seed, scale, Path(root))
        for seed in dict.fromkeys(seeds)
        for row in rows.values()
    ]


def write_config(run: Run, options: dict | None = None, repository: str | Path = '.') -> None:
    """The run's whole config, with its seed, where `run.config` says.

    Raises:
        UserError: it was begun with another one; `options` name another data set than the table's.
    """
    path = str(Path(repository) / run.row.config)
    if run.scale in TINY:
        own = tiny_config(run.table, run.row, repository, run.scale)
        config = with_options(copy.deepcopy(own), options, path)
    else:
        own, config = load_config(path), load_config(path, options=options)
    _check_datasets(run, own, config)
    config.merge_from_dict({'randomness.seed': run.seed, 'work_dir': str(run.folder)})
    text = Config(config.to_dict()).pretty_text
    if run.config.is_file() and read_text(run.config) != text:
        raise UserError(
            f'{run.folder} was begun with another config than {path} is now with '
            f'these options ({run.config}): remove it, or give another --work-dir'
        )
    make_folder(run.folder)
    write_text(run.config, text)


def _check_datasets(run: Run, own: Config, config: Config) -> None:
    for split in ('train', 'val', 'test'):
        wanted, given = (cfg[f'{split}_dataloader'].dataset.type for cfg in (own, config))
        if given != wanted:
            raise UserError(
                f'{run.table.key} is of {wanted}, and {split}_dataloader.dataset.type={given} '
                'makes it another table: drop that option, or train the row by itself with '
                f'tools/train.py {run.row.config}'
            )


def train_command(run: Run, launcher: Launcher = 'none', ranks: int = 1) -> list[str]:
    """`rsrefseg2 train`, from the newest checkpoint if there is one."""
    return _command('train', run, [], launcher, ranks) + ['--resume']


def test_command(
    run: Run, checkpoint: str, launcher: Launcher = 'none', ranks: int = 1
) -> list[str]:
    """`rsrefseg2 test`, which writes `run.scores` and `run.dump`; goes on with a dump begun."""
    return _command('test', run, [checkpoint, '--dump', str(run.dump), '--resume'], launcher, ranks)


def _command(name: str, run: Run, more: list[str], launcher: Launcher, ranks: int) -> list[str]:
    start = {
        'none': [sys.executable],
        'slurm': ['srun', sys.executable],
        'pytorch': [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            f'--nproc-per-node={ranks}',
        ],
    }[launcher]
    return [
        *start,
        '-m',
        'rsrefseg2.cli',  # not a file of the checkout: the wheel runs tables in any folder
        name,
        str(run.config),
        *more,
        '--work-dir',
        str(run.folder),
        '--launcher',
        launcher,
    ]


def execute(run: Run, launcher: Launcher = 'none', ranks: int = 1) -> str:
    """Train and test here, to the end; a run that another process holds or has finished is left.

    Returns:
        'finished' or 'running'.
    Raises:
        UserError: a command failed; which, and the end of its log.
    """
    with only_one(run) as free:
        if not free:
            return 'running'
        if not run.scores.is_file():
            _call(run, train_command(run, launcher, ranks))
            checkpoint = run.checkpoint()
            if checkpoint is None:
                raise UserError(f'training left no checkpoint in {run.folder}; see {run.log}')
            _call(run, test_command(run, str(checkpoint), launcher, ranks))
    return 'finished'


def submit(run: Run, ranks: int, arguments: str = '') -> str:
    """One SLURM job that trains and tests; its number."""
    script = run.folder / 'job.sh'
    write_text(script, job_script(run, ranks))
    command = [
        'sbatch',
        '--parsable',
        f'--ntasks={ranks}',
        f'--job-name={run.row.name}',
        f'--output={run.log}',
        '--open-mode=append',
        *shlex.split(arguments),
        str(script),
    ]
    try:
        number = (
            subprocess.run(command, check=True, capture_output=True, text=True)
            .stdout.strip()
            .split(';')[0]
        )
    except FileNotFoundError as error:
        raise UserError('sbatch is not there: --launcher slurm needs a SLURM cluster') from error
    except subprocess.CalledProcessError as error:
        raise UserError(f'sbatch refused {run.row.name}: {error.stderr.strip()}') from error
    write_text(run.folder / 'job', number)
    return number


def job_script(run: Run, ranks: int) -> str:
    """Train, then test the best checkpoint by validation, else the last."""
    folder = shlex.quote(str(run.folder))
    test = shlex.join(test_command(run, 'CHECKPOINT', 'slurm', ranks))
    return '\n'.join(
        [
            '#!/bin/bash',
            'set -e',
            shlex.join(train_command(run, 'slurm', ranks)),
            f'checkpoint=$(ls -t {folder}/best_*.pth 2>/dev/null | head -n 1)',
            f'checkpoint=${{checkpoint:-$(cat {folder}/last_checkpoint)}}',
            test.replace('CHECKPOINT', '"$checkpoint"'),
            '',
        ]
    )


@contextlib.contextmanager
def only_one(run: Run) -> Iterator[bool]:
    """Whether this process may work on the run: no other one does. Free again when it ends."""
    with open(run.folder.with_suffix('.lock'), 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _in_queue(run: Run) -> bool:
    job = run.folder / 'job'
    if not job.is_file():
        return False
    try:
        found = subprocess.run(
            ['squeue', '--noheader', '--jobs', read_text(job)], capture_output=True, text=True
        )
    except FileNotFoundError:
        return False
    return found.returncode == 0 and bool(found.stdout.strip())


def _call(run: Run, command: list[str]) -> None:
    with open(run.log, 'a', encoding='utf-8') as log:
        log.write(f'$ {shlex.join(command)}\n')
        log.flush()
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        lines = run.log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
        raise UserError(
            f'{run.row.name}, seed {run.seed}: {shlex.join(command)} ended with '
            f'{code}: {lines[-1] if lines else "it said nothing"}; see {run.log}'
        )
