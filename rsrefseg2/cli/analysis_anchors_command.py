"""SynthRS: does a model look for the anchor of a relation, or does it do without?

    rsrefseg2 analysis anchors DUMP.jsonl [--data data/synthrs] [--json]

'The ship left of the tank' is mostly the leftmost ship, so that a reader who never looks for the
tank is right in most such sentences. Columns: rsrefseg2/diagnostics/anchors.py.
"""

import argparse
import contextlib
import sys

from ..options import add_shared
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('dump', help='of rsrefseg2 test --dump on SynthRS')
    parser.add_argument('--data', default='data/synthrs', help='the SynthRS folder tested on')
    add_shared(parser, 'split')
    parser.add_argument('--layout', default='rrsisd')
    add_shared(parser, 'json')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..diagnostics.anchors import anchor_scores, anchor_table
    scores = anchor_scores(args.dump, args.data, split=args.split, layout=args.layout)
    print(to_json(scores) if args.json else anchor_table(scores))
