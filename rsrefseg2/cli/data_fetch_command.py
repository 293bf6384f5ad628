"""Get a benchmark into its folder, and say what is wrong with it there.

    rsrefseg2 data fetch refsegrs [--out data/refsegrs]          # from the Hugging Face hub
    rsrefseg2 data fetch rrsisd PART.zip ... [--out data/rrsisd]  # archives fetched by hand

Without archives, a benchmark that no program can fetch says where it is. An interrupted download
goes on; HF_ENDPOINT names a mirror of the hub. Ends with rsrefseg2 data verify and its exit code.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from ..errors import UserError, make_folder
from ..options import BENCHMARKS, add_old_spelling, add_shared

ERROR_STATUS = 2  # a finding is 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('dataset', choices=BENCHMARKS)
    parser.add_argument('archives', nargs='*', help='zip or tar files that are here already')
    add_shared(parser, 'out', help='folder (default: $RSREFSEG2_DATA/<dataset>, or data/<dataset>)')
    add_old_spelling(parser, '--to', 'out')
    parser.add_argument('--keep', action='store_true', help='keep the downloaded archive')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from ..dataprep.download import SOURCES, download, unpack

    source = SOURCES[args.dataset]
    to = Path(args.out or Path(os.environ.get('RSREFSEG2_DATA', 'data')) / args.dataset)
    archives, downloaded = args.archives, None
    if not archives:
        if source.hub is None:
            raise UserError(
                f'no program can fetch {source.title}: {source.by_hand}. Then: '
                f'rsrefseg2 data fetch {args.dataset} ARCHIVE ... --out {to}'
            )
        downloaded = download(source, make_folder(to))
        archives = [downloaded]
    print(f'{unpack(archives, to)} files unpacked into {to}', flush=True)
    verify = [sys.executable, '-m', 'rsrefseg2.cli', 'data', 'verify', args.dataset, str(to)]
    code = subprocess.run(verify).returncode
    if downloaded is not None and not args.keep and code != 2:
        downloaded.unlink()
    return code
