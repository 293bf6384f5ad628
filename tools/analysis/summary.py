"""Parameters and FLOPs of a config's model by part, without a network and without its memory.

python tools/analysis/summary.py CONFIG [--json] [--cfg-options KEY=VALUE ...]
"""

import argparse
import contextlib
import sys

from rsrefseg2.errors import UserError, report_user_errors
from rsrefseg2.options import add_cfg_options
from rsrefseg2.records import to_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--json',
        action='store_true',
        help='print one JSON object of plain numbers and nothing else',
    )
    add_cfg_options(parser, help='override config keys, e.g. model.siglip.vision_lora.r=32')
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from rsrefseg2.engine import load_config
        from rsrefseg2.profiling.complexity import build_on_meta, summarize, table

        config = load_config(args.config, options=args.cfg_options)
        if 'model' not in config:
            raise UserError(f'config {args.config} has no model')
        summary = summarize(build_on_meta(config.model.to_dict()))
    print(to_json(summary) if args.json else table(summary))


if __name__ == '__main__':
    main()
