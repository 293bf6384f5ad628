"""Parameters and FLOPs of a config's model by part, without a network and without its memory.

rsrefseg2 analysis summary CONFIG [--json] [--cfg-options KEY=VALUE ...]
"""

import argparse
import contextlib
import sys

from ..errors import UserError
from ..options import add_model, add_shared
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser, checkpoint=False)
    add_shared(parser, 'json')
    add_shared(parser, 'cfg-options')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..engine import load_config
        from ..profiling.complexity import build_on_meta, summarize, table

        config = load_config(args.config, options=args.cfg_options)
        if 'model' not in config:
            raise UserError(f'config {args.config} has no model')
        summary = summarize(build_on_meta(config.model.to_dict()))
    print(to_json(summary) if args.json else table(summary))
