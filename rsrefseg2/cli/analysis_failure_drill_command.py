"""Is the cause of a failure found? Failures made on purpose on SynthRS, and the oracle.

    rsrefseg2 analysis failure-drill CONFIG CHECKPOINT [--plot curves]

Thresholds come from --thresholds-split, the measurement from --split. What is done to the samples:
rsrefseg2/diagnostics/interventions.py; the oracle: rsrefseg2/diagnostics/oracle.py.
"""

import argparse
import contextlib
import sys

from ..extras import require_extra
from ..options import SPLITS, add_model, add_shared
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser)
    add_shared(parser, 'split')
    parser.add_argument('--thresholds-split', default='val', choices=SPLITS)
    add_shared(parser, 'json')
    parser.add_argument(
        '--plot', metavar='FILE', help='draw the curves over strength, as FILE.png and FILE.pdf'
    )
    add_shared(parser, 'overwrite')
    add_shared(parser, 'device')
    add_shared(parser, 'cfg-options')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.split == args.thresholds_split:
        parser.error('thresholds come from another split than the one that is measured')


def measure(args: argparse.Namespace) -> dict:
    """Thresholds, interventions and the oracle of one model, as data."""
    from tqdm import tqdm

    from ..apis import load_split
    from ..diagnostics.interventions import (
        answer_scenes,
        measure_interventions,
        measure_thresholds,
        run_scenes,
    )
    from ..diagnostics.oracle import oracle_scores
    from ..engine import load_config, load_model

    config = load_config(args.config, options=args.cfg_options)
    data = {name: load_split(config, name) for name in (args.thresholds_split, args.split)}
    model = load_model(config, args.checkpoint, args.device)

    def progress(scenes, what):
        return tqdm(scenes, desc=what, unit=' scenes', leave=False, disable=not sys.stderr.isatty())

    thresholds = measure_thresholds(
        progress(answer_scenes(model, data[args.thresholds_split]), 'thresholds'),
        f'the {args.thresholds_split} split',
    )
    result = measure_interventions(
        progress(answer_scenes(model, data[args.split]), 'interventions'), thresholds
    )
    rows = oracle_scores(model, progress(run_scenes(model, data[args.split]), 'oracle'))
    return dict(split=args.split, thresholds=thresholds._asdict(), **result, oracle=rows)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..diagnostics.interventions import intervention_tables
        from ..diagnostics.oracle import oracle_table
        from ..visualization import free_paths, plot_interventions, save
    if args.plot:
        require_extra('plots', '--plot', otherwise='drop it')
        free_paths(args.plot, option='--plot', overwrite=args.overwrite)
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(args)
    if args.plot:
        save(
            plot_interventions(result['interventions']),
            args.plot,
            option='--plot',
            overwrite=args.overwrite,
        )
    if args.json:
        print(to_json(result))
        return
    print('\n\n'.join([*intervention_tables(result), oracle_table(result['oracle'])]))
