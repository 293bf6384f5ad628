"""What can be read off each stage of the cascade? Linear probes, of a model with a dense prompt.

    python tools/analysis/probe.py CONFIG CHECKPOINT

Fitted to the first --scenes images of --fit-split, measured on --split: where a patch lies, which
patches are the target's, which words of place were said, which two objects a relation names
(rsrefseg2/diagnostics/probes.py).
"""

import argparse
import contextlib
import itertools
import sys

from rsrefseg2.errors import report_user_errors
from rsrefseg2.options import SPLITS, add_cfg_options, positive
from rsrefseg2.records import to_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--split', default='test', choices=SPLITS)
    parser.add_argument('--fit-split', default='train', choices=SPLITS)
    parser.add_argument('--scenes', default=500, type=positive, help='of --fit-split')
    parser.add_argument(
        '--json', action='store_true', help='print one JSON object, in percent, and nothing else'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: a GPU if there is one)')
    add_cfg_options(parser, help='override entries of the config')
    args = parser.parse_args()
    if args.split == args.fit_split:
        parser.error('probes are fitted to another split than the one that is measured')
    return args


def measure(args: argparse.Namespace) -> dict:
    from tqdm import tqdm

    from rsrefseg2.apis import load_split
    from rsrefseg2.diagnostics.interventions import run_scenes
    from rsrefseg2.diagnostics.probes import probe, read_stages
    from rsrefseg2.engine import load_config, load_model

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


@report_user_errors()
def main() -> None:
    args = parse_args()
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from rsrefseg2.diagnostics.probes import probe_tables

        result = measure(args)
    print(to_json(result) if args.json else '\n\n'.join(probe_tables(result)))


if __name__ == '__main__':
    main()
