"""What can be read off each stage of the cascade? Linear probes, of a model with a dense prompt.

    rsrefseg2 analysis probe CONFIG CHECKPOINT

Fitted to the first --scenes images of --fit-split, measured on --split: where a patch lies, which
patches are the target's, which words of place were said, which two objects a relation names
(rsrefseg2/diagnostics/probes.py).
"""

import argparse
import contextlib
import itertools
import sys

from ..options import SPLITS, add_model, add_shared, positive
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser)
    add_shared(parser, 'split')
    parser.add_argument('--fit-split', default='train', choices=SPLITS)
    parser.add_argument('--scenes', default=500, type=positive, help='of --fit-split')
    add_shared(parser, 'json')
    add_shared(parser, 'device')
    add_shared(parser, 'cfg-options')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.split == args.fit_split:
        parser.error('probes are fitted to another split than the one that is measured')


def measure(args: argparse.Namespace) -> dict:
    """Fits the probes to one split and measures them on the other."""
    from tqdm import tqdm

    from ..apis import load_split
    from ..diagnostics.interventions import run_scenes
    from ..diagnostics.probes import probe, read_stages
    from ..engine import load_config, load_model

    config = load_config(args.config, options=args.cfg_options)
    data = {name: load_split(config, name) for name in (args.fit_split, args.split)}
    model = load_model(config, args.checkpoint, args.device)

    def stages(split, limit=None):
        scenes = itertools.islice(run_scenes(model, data[split]), limit)
        return read_stages(
            model,
            tqdm(scenes, desc=split, unit=' scenes', leave=False, disable=not sys.stderr.isatty()),
        )

    return dict(
        fitted_to=args.fit_split,
        split=args.split,
        **probe(stages(args.fit_split, args.scenes), stages(args.split)),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..diagnostics.probes import probe_tables

        result = measure(args)
    print(to_json(result) if args.json else '\n\n'.join(probe_tables(result)))
