"""Run a table of the paper: rsrefseg2 ablate table06 [--scale tiny] [--seeds 0 1 2].

Or of another index: rsrefseg2 ablate position --index projects/localisation_study/configs/index.json.

Trains and tests the table's rows one after the other (or as SLURM jobs), goes on where it stopped,
never runs a finished row again, and prints their scores beside the paper's: the mean over the
seeds, with their standard deviation. --list says what there is; --collect only prints.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from ..errors import UserError
from ..options import ABLATIONS as INDEX
from ..options import add_shared, positive, seed
from ..records import to_json
from ..shipped import find_shipped
from ..tables import plain_table

if TYPE_CHECKING:
    from ..apis.ablation_runs import Run
    from ..apis.ablations import Index, Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('table', nargs='?', help='table06 ... table16')
    parser.add_argument('--index', default=INDEX, help='the tables as data (default: %(default)s)')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='names of rows (default: all)')
    parser.add_argument('--seeds', nargs='+', type=seed, default=[0], metavar='SEED')
    parser.add_argument(
        '--scale',
        choices=['paper', 'tiny', 'tiny_plus'],
        help="of the paper's tables: paper (default), or tiny: the same variants "
        'with the tiny towers on SynthRS, on a CPU; tiny_plus: on the best tiny recipe',
    )
    parser.add_argument('--work-dir', default='work_dirs/ablations', help='(default: %(default)s)')
    add_shared(parser, 'cfg-options')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='one process, torchrun on --ranks devices, or one SLURM job a run',
    )
    parser.add_argument('--ranks', type=positive, default=1, help='processes of a run')
    parser.add_argument(
        '--slurm-args',
        default='',
        metavar='"ARGS"',
        help='more for sbatch: --slurm-args="--gpus-per-task=1 -p gpu"',
    )
    parser.add_argument(
        '--keep-going', action='store_true', help='go on with the next run where one fails'
    )
    parser.add_argument('--collect', action='store_true', help='run nothing, print the scores')
    parser.add_argument(
        '--list',
        action='store_true',
        help="what there is; with a TABLE its rows and their runs' state",
    )
    form = parser.add_mutually_exclusive_group()
    for name in ('json', 'markdown', 'csv'):
        form.add_argument(f'--{name}', action='store_const', dest='form', const=name)


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.table is None and not args.list:
        parser.error('which table? --list names them')
    if args.index == INDEX:
        args.scale = args.scale or 'paper'
    elif args.scale:
        parser.error('--scale is of the tables of the paper')
    elif args.table is None and args.form == 'markdown':
        parser.error('--list --markdown is the README of the tables of the paper')


def list_tables(index: Index, form: str | None) -> None:
    """All tables; as JSON one object a row."""
    if form == 'json':
        rows = [
            {
                'table': table.key,
                'row': row.name,
                'config': row.config,
                'setting': dict(zip(table.columns, row.values, strict=True)),
                'paper': row.paper,
            }
            for table in index.tables
            for row in table.rows
        ]
        print(to_json(rows, indent=2, ascii_only=False))
    elif form == 'markdown':
        from ..apis.ablations import readme

        print(readme(index), end='')
    else:
        for table in index.tables:
            print(f'{table.key}  {len(table.rows):2} rows  {table.title}')


def run_all(planned: list[Run], args: argparse.Namespace) -> None:
    """Every run that is not finished; one line each. Fails at the end where one failed, and before
    the first where a row and its config disagree."""
    from ..apis import ablation_runs as runs
    from ..apis.ablations import check_row

    for run in {run.row.name: run for run in planned}.values():
        check_row(run.table, run.row, index=args.index)
    failed = []
    for i, run in enumerate(planned, 1):
        what = f'[{i}/{len(planned)}] {run.row.name}, seed {run.seed}'
        try:
            runs.write_config(run, args.cfg_options)
            state = run.state()
            if state in ('finished', 'running', 'queued'):
                print(f'{what}: {state}', flush=True)
            elif args.launcher == 'slurm':
                print(f'{what}: job {runs.submit(run, args.ranks, args.slurm_args)}', flush=True)
            else:
                print(f'{what}: {state}, see {run.log}', flush=True)
                print(f'{what}: {runs.execute(run, args.launcher, args.ranks)}', flush=True)
        except UserError as error:
            if not args.keep_going:
                raise
            print(f'{what}: failed: {error}', flush=True)
            failed.append(run.row.name)
    if failed:
        raise UserError(f'{len(failed)} of {len(planned)} runs failed: {", ".join(failed)}')


def show(index: Index, table: Table, planned: list[Run], args: argparse.Namespace) -> None:
    """The scores in the form that was asked for."""
    from ..apis import ablation_results as results

    found = results.collect(table, planned, index.scores)
    head, lines = results.cells(table, found)
    if args.form == 'json':
        print(results.as_json(table, found))
    elif args.form == 'csv':
        print(results.as_csv(index, table, found))
    else:
        title = f'Table {table.number}: {table.title}' if table.number else table.title
        if args.form == 'markdown':
            print(f'## {title}\n\n{results.as_markdown(head, lines)}')
        else:
            print(plain_table(head, lines, title=title))
        if args.scale not in (None, 'paper'):
            print('\n' + results.TINY_NOTE)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..apis.ablation_runs import plan
    from ..apis.ablations import read_index

    args.index = find_shipped(args.index, what='index')
    index = read_index(index=args.index)
    if args.table is None:
        list_tables(index, args.form)
        return
    table = index.table(args.table)
    planned = plan(table, names=args.rows, seeds=args.seeds, scale=args.scale, root=args.work_dir)
    if args.list:
        for run in planned:
            print(f'{run.row.name}  seed {run.seed}  {run.state()}  {run.row.config}')
        return
    if not args.collect:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for the table
            run_all(planned, args)
    show(index, table, planned, args)
