"""Turn a checkpoint of the method's public release into ours, or back.

    python tools/convert_release.py rrsisd.pth work_dirs/release/rrsisd.pth --dataset rrsisd
    python tools/test.py configs/release/rrsisd.py work_dirs/release/rrsisd.pth
    python tools/convert_release.py OURS.pth OFFICIAL.pth --dataset rrsisd --back

The second command prints the scores beside the paper's and a third party's. Every key of the
release's file is placed, or named with the reason why it has no use here; otherwise nothing is
written. No code in the file is run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rsrefseg2.errors import make_folder, report_user_errors
from rsrefseg2.files import require_free, write_text
from rsrefseg2.options import BENCHMARKS, add_cfg_options
from rsrefseg2.records import to_json

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'release'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    parser.add_argument('--overwrite', action='store_true', help='replace the files that are there')
    parser.add_argument(
        '--config', help='of another variant (default: configs/release/<dataset>.py)'
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.back and args.thin:
        parser.error("--thin is for ours: the release's files are whole")
    return args


@report_user_errors()
def main() -> None:
    args = parse_args()
    from rsrefseg2.engine import load_config
    from rsrefseg2.publishing import from_release, to_release

    cfg = load_config(args.config or str(CONFIGS / f'{args.dataset}.py'), options=args.cfg_options)
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


if __name__ == '__main__':
    main()
