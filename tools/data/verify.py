"""Say exactly what is wrong with a copy of a benchmark, or that nothing is.

    python tools/data/verify.py DATASET ROOT [--json [FILE]] [--list] [--splits test ...]
                                [--tokenizer CHECKPOINT] [--any-category]

Reads every record, image and mask with all cores. Exit code 0: clean, 1: warnings, 2: errors.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rsrefseg2.errors import make_folder, report_user_errors
from rsrefseg2.files import require_free, write_text
from rsrefseg2.options import BENCHMARKS, READERS, positive

EXIT_CODES = {'clean': 0, 'warnings': 1, 'errors': 2}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dataset', choices=READERS, metavar='DATASET', help=', '.join(READERS))
    parser.add_argument('root', help='its folder; data/README.md shows the trees')
    parser.add_argument('--splits', nargs='+', help='look at these only (default: all)')
    parser.add_argument(
        '--benchmark',
        choices=BENCHMARKS,
        metavar='BENCHMARK',
        help='jsonl: refsegrs, rrsisd or risbench',
    )
    parser.add_argument('--list', action='store_true', help='print every finding, not 3 of a kind')
    parser.add_argument(
        '--json',
        nargs='?',
        const='-',
        metavar='FILE',
        help='write one JSON object to FILE, or to stdout and nothing else there',
    )
    parser.add_argument(
        '--tokenizer',
        metavar='CHECKPOINT',
        help="count tokens with this SigLIP checkpoint's tokenizer; without it "
        'words and punctuation marks are counted, which are never more',
    )
    parser.add_argument(
        '--max-tokens', type=positive, default=64, help='positions of the text tower (%(default)s)'
    )
    parser.add_argument(
        '--any-category',
        action='store_true',
        help='rrsisd: take the category names that the files have (default where '
        'tools/data/convert.py or tools/synthrs_generate.py wrote them)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a FILE that is no report of this command'
    )
    args = parser.parse_args()
    if args.any_category and args.dataset != 'rrsisd':
        parser.error('--any-category is for rrsisd; the other readers take any')
    if args.benchmark is not None and args.dataset != 'jsonl':
        parser.error('--benchmark is for jsonl; the other readers are of one benchmark')
    return args


def token_counter(checkpoint: str | None) -> Callable[[str], int]:
    from rsrefseg2.models.towers.load import load_tokenizer
    from rsrefseg2.models.towers.tokenizers import StandInTokenizer

    tokenizer = (
        load_tokenizer(checkpoint)
        if checkpoint
        else StandInTokenizer(vocab_size=2**15, pad_id=0, eos_id=1)
    )
    return lambda text: len(tokenizer.sentence_ids(text.lower())) + 1  # eos


@report_user_errors(exit_code=2)
def main() -> int:
    args = parse_args()
    options = {} if args.benchmark is None else dict(benchmark=args.benchmark)
    if args.any_category:
        options['classes'] = None
    if args.json not in (None, '-'):
        make_folder(Path(args.json).parent)
        require_free(args.json, mark='"verdict"', option='--json FILE', overwrite=args.overwrite)
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from rsrefseg2.dataprep.verify import as_dict, as_text, verify

        report = verify(
            args.dataset,
            args.root,
            splits=args.splits,
            count_tokens=token_counter(args.tokenizer),
            max_tokens=args.max_tokens,
            **options,
        )
    if args.json != '-':
        print(as_text(report, most=None if args.list else 3))
    if args.json is not None:
        text = json.dumps({'dataset': args.dataset, 'root': args.root, **as_dict(report)}, indent=1)
        if args.json == '-':
            print(text)
        else:
            write_text(args.json, text + '\n')
    return EXIT_CODES[report.verdict]


if __name__ == '__main__':
    sys.exit(main())
