"""Turn a checkpoint of the method's public release into ours, or back.

    rsrefseg2 convert-release rrsisd.pth work_dirs/release/rrsisd.pth --dataset rrsisd
    rsrefseg2 test configs/release/rrsisd.py work_dirs/release/rrsisd.pth
    rsrefseg2 convert-release OURS.pth OFFICIAL.pth --dataset rrsisd --back

The second command prints the scores beside the paper's and a third party's. Every key of the
release's file is placed, or named with the reason why it has no use here; otherwise nothing is
written. No code in the file is run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import make_folder
from ..files import require_free, write_text
from ..options import BENCHMARKS, add_shared
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('source', metavar='IN', help="the release's *.pth; with --back, ours")
    parser.add_argument('out', metavar='OUT', type=Path, help='the file to write')
    parser.add_argument(
        '--dataset', required=True, choices=BENCHMARKS, help='what it was trained on'
    )
    parser.add_argument('--back', action='store_true', help="ours -> the release's layout")
    parser.add_argument(
        '--thin',
        action='store_true',
        help='leave the frozen weights to the '
        "config's towers, if they are the towers' own bit for bit",
    )
    parser.add_argument(
        '--report', metavar='JSON', type=Path, help='write where every single key went'
    )
    add_shared(parser, 'overwrite')
    add_shared(parser, 'config', help='of another variant (default: configs/release/<dataset>.py)')
    add_shared(parser, 'cfg-options')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.back and args.thin:
        parser.error("--thin is for ours: the release's files are whole")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..engine import load_config
    from ..publishing import from_release, to_release

    cfg = load_config(args.config or f'configs/release/{args.dataset}.py', options=args.cfg_options)
    for path, option in ((args.out, 'OUT'), (args.report, '--report')):
        if path is not None:
            make_folder(path.parent)
            require_free(path, option=option, overwrite=args.overwrite)
    if args.back:
        report = to_release(args.source, args.out, cfg=cfg, dataset=args.dataset)
    else:
        report = from_release(args.source, args.out, cfg=cfg, dataset=args.dataset, thin=args.thin)
    for line in report.lines():
        print(line)
    if args.report:
        write_text(args.report, to_json(report.to_dict(), indent=2))
    print(f'written: {args.out}')
