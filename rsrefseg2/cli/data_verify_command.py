"""Say exactly what is wrong with a copy of a benchmark, or that nothing is.

    rsrefseg2 data verify DATASET ROOT [--json [FILE]] [--list] [--splits test ...]
                                [--tokenizer CHECKPOINT] [--any-category] [--own-data] [--no-target]

Reads every record, image and mask with all cores. Exit code 0: clean, 1: warnings, 2: errors.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import make_folder
from ..files import require_free, write_text
from ..options import BENCHMARKS, READERS, add_shared, positive

EXIT_CODES = {'clean': 0, 'warnings': 1, 'errors': 2}

ERROR_STATUS = 2  # a finding is 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
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
    add_shared(
        parser,
        'json',
        action='store',
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
        'rsrefseg2 data convert or rsrefseg2 synthrs generate wrote them)',
    )
    parser.add_argument(
        '--own-data',
        action='store_true',
        help="data of your own in this layout: the benchmark's counts are not expected",
    )
    parser.add_argument(
        '--no-target',
        action='store_true',
        help='sentences may name no object: an empty mask is no finding',
    )
    add_shared(parser, 'overwrite')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.any_category and args.dataset != 'rrsisd':
        parser.error('--any-category is for rrsisd; the other readers take any')
    if args.benchmark is not None and args.dataset != 'jsonl':
        parser.error('--benchmark is for jsonl; the other readers are of one benchmark')


def token_counter(checkpoint: str | None) -> Callable[[str], int]:
    """Counts a sentence's tokens, by a checkpoint's tokenizer or the stand-in."""
    from ..models.towers.load import load_tokenizer
    from ..models.towers.tokenizers import StandInTokenizer

    tokenizer = (
        load_tokenizer(checkpoint)
        if checkpoint
        else StandInTokenizer(vocab_size=2**15, pad_id=0, eos_id=1)
    )
    return lambda text: len(tokenizer.sentence_ids(text.lower())) + 1  # eos


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    options: dict[str, Any] = {} if args.benchmark is None else dict(benchmark=args.benchmark)
    if args.no_target:
        options['no_target'] = True
    if args.any_category:
        options['classes'] = None
    if args.json not in (None, '-'):
        make_folder(Path(args.json).parent)
        require_free(args.json, mark='"verdict"', option='--json FILE', overwrite=args.overwrite)
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from ..dataprep.verify import as_dict, as_text, verify

        report = verify(
            args.dataset,
            args.root,
            splits=args.splits,
            count_tokens=token_counter(args.tokenizer),
            max_tokens=args.max_tokens,
            own_data=args.own_data,
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
