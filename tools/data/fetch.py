"""Get a benchmark into its folder, and say what is wrong with it there.

    python tools/data/fetch.py refsegrs [--to data/refsegrs]          # from the Hugging Face hub
    python tools/data/fetch.py rrsisd PART.zip ... [--to data/rrsisd]  # archives fetched by hand

Without archives, a benchmark that no program can fetch says where it is. An interrupted download
goes on; HF_ENDPOINT names a mirror of the hub. Ends with tools/data/verify.py and its exit code.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rsrefseg2.errors import UserError, make_folder, report_user_errors
from rsrefseg2.options import BENCHMARKS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dataset', choices=BENCHMARKS)
    parser.add_argument('archives', nargs='*', help='zip or tar files that are here already')
    parser.add_argument(
        '--to', help='folder (default: $RSREFSEG2_DATA/<dataset>, or data/<dataset>)'
    )
    parser.add_argument('--keep', action='store_true', help='keep the downloaded archive')
    return parser.parse_args()


@report_user_errors(exit_code=2)
def main() -> int:
    args = parse_args()
    from rsrefseg2.dataprep.download import SOURCES, download, unpack

    source = SOURCES[args.dataset]
    to = Path(args.to or Path(os.environ.get('RSREFSEG2_DATA', 'data')) / args.dataset)
    archives, downloaded = args.archives, None
    if not archives:
        if source.hub is None:
            raise UserError(
                f'no program can fetch {source.title}: {source.by_hand}. Then: python '
                f'tools/data/fetch.py {args.dataset} ARCHIVE ... --to {to}'
            )
        downloaded = download(source, make_folder(to))
        archives = [downloaded]
    print(f'{unpack(archives, to)} files unpacked into {to}', flush=True)
    verify = Path(__file__).with_name('verify.py')
    code = subprocess.run([sys.executable, verify, args.dataset, to]).returncode
    if downloaded is not None and not args.keep and code != 2:
        downloaded.unlink()
    return code


if __name__ == '__main__':
    sys.exit(main())
