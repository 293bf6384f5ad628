"""SynthRS: does a model look for the anchor of a relation, or does it do without?

    python tools/analysis/anchors.py DUMP.jsonl [--data data/synthrs] [--json]

'The ship left of the tank' is mostly the leftmost ship, so that a reader who never looks for the
tank is right in most such sentences. Columns: rsrefseg2/diagnostics/anchors.py.
"""

import argparse
import contextlib
import sys

from rsrefseg2.errors import report_user_errors
from rsrefseg2.records import to_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dump', help='of tools/test.py --dump on SynthRS')
    parser.add_argument('--data', default='data/synthrs', help='the SynthRS folder tested on')
    parser.add_argument('--split', default='test')
    parser.add_argument('--layout', default='rrsisd')
    parser.add_argument('--json', action='store_true', help='print one JSON object, nothing else')
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from rsrefseg2.diagnostics.anchors import anchor_scores, anchor_table
    scores = anchor_scores(args.dump, args.data, split=args.split, layout=args.layout)
    print(to_json(scores) if args.json else anchor_table(scores))


if __name__ == '__main__':
    main()
