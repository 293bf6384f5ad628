"""Where or how: what failed in the samples of a dump whose IoU does not pass 0.5.

    rsrefseg2 analysis errors TEST.jsonl --thresholds VAL.jsonl [--plot causes]
    rsrefseg2 analysis errors TEST.jsonl --from prediction
    rsrefseg2 analysis errors TEST.jsonl --from prediction --protocol generalised

The definition: rsrefseg2/evaluation/failure_causes.py. Thresholds come from the dump of another
split of the same model, or from a file *.json that this tool printed; predictions alone need none.
Protocol generalised adds masks that were invented or lost: of sentences without a target, and with one.
"""

import argparse
import contextlib
import sys

from ..errors import UserError
from ..extras import require_extra
from ..options import add_shared
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('dump', help='of rsrefseg2 test --dump, or of any model')
    parser.add_argument('--thresholds', metavar='FILE', help='dump of another split, or *.json')
    parser.add_argument(
        '--from',
        dest='source',
        choices=('prompt', 'prediction'),
        help='(default: prompt, where the dump has its scores)',
    )
    add_shared(parser, 'protocol')
    add_shared(parser, 'json')
    parser.add_argument(
        '--plot', metavar='FILE', help='draw the causes by group, as FILE.png and FILE.pdf'
    )
    add_shared(parser, 'overwrite')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.source == 'prediction' and args.thresholds:
        parser.error('--from prediction needs no --thresholds')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..evaluation import attribute_dump, find_protocol, has_prompts, read_thresholds
        from ..visualization import free_paths, plot_causes, save
    if args.plot:
        require_extra('plots', '--plot', otherwise='drop it')
        free_paths(args.plot, option='--plot', overwrite=args.overwrite)
    source = args.source or ('prompt' if has_prompts(args.dump) else 'prediction')
    if source == 'prompt' and not args.thresholds:
        raise UserError(
            f'{args.dump} has dense prompts: give --thresholds (a dump of another '
            'split of the same model), or --from prediction'
        )
    if source == 'prediction' and args.thresholds:
        raise UserError(f'{args.dump} has no dense prompts: drop --thresholds')
    thresholds, protocol = None, find_protocol(args.protocol)
    if source == 'prompt':
        thresholds = read_thresholds(args.thresholds, other_than=args.dump, protocol=protocol)
    report = attribute_dump(args.dump, thresholds, protocol)
    if args.plot:
        save(plot_causes(report.to_dict()), args.plot, option='--plot', overwrite=args.overwrite)
    print(to_json(report.to_dict()) if args.json else '\n\n'.join(report.tables()))
