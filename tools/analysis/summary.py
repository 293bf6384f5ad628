"""Parameters and FLOPs of a config's model by part, without a network and without its memory.

python tools/analysis/summary.py configs/rrsisd_siglip2_sam21l.py [--json] [--cfg-options ...]
"""
import argparse
import contextlib
import json
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='a config file with a model')
    parser.add_argument('--json', action='store_true',
                        help='print one JSON object of plain numbers and nothing else')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override keys of the config, as in tools/train.py')
    return parser.parse_args()


def summarize_config(path: str, options: list[str]) -> dict:
    """Read the config, build its model on the meta device, count."""
    from mmengine.config import Config, DictAction

    from rsrefseg2.errors import UserError
    from rsrefseg2.models.summary import build_on_meta, summarize
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    try:
        config = Config.fromfile(path)
    except (OSError, SyntaxError) as error:
        raise UserError(f'config {path} cannot be read: {error}') from error
    if options:
        config.merge_from_dict(parser.parse_args(['--options', *options]).options)
    if 'model' not in config:
        raise UserError(f'config {path} has no model')
    return summarize(build_on_meta(config.model.to_dict()))


def main() -> None:
    args = parse_args()
    # Libraries talk on stdout while they are imported: it belongs to the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            summary = summarize_config(args.config, args.cfg_options)
            from rsrefseg2.models.summary import table
        except ValueError as error:  # UserError and the constructors' own
            sys.exit(f'error: {error}')
    print(json.dumps(summary) if args.json else table(summary))


if __name__ == '__main__':
    main()
