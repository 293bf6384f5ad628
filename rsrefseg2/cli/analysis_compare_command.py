"""Compare two dumps of one split: is the second model better, and where?

    rsrefseg2 analysis compare FIRST.jsonl SECOND.jsonl [--protocol paper] [--top 10]

Paired bootstrap over images: both models are scored on the same resamples. p is two-sided: twice
the share of resamples on the other side of 0.
"""

import argparse
import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from ..options import PROTOCOLS, add_shared, count, positive
from ..records import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('first', help='a dump of rsrefseg2 test')
    parser.add_argument('second', help='another one of the same split')
    add_shared(parser, 'protocol', choices=None, note=f'one of {", ".join(PROTOCOLS)}')
    parser.add_argument('--top', type=count, default=10, help='samples that changed most, each way')
    parser.add_argument('--resamples', type=positive, default=2000, help='of the bootstrap')
    add_shared(parser, 'seed')
    add_shared(parser, 'json')


def changes_text(title: str, changes: list[dict]) -> str:
    """One line per sample: IoU before, after, id, sentence."""
    lines = [
        f'{100 * a:6.1f} -> {100 * b:5.1f}  {change["id"]}  {change["sentence"] or ""}'
        for change in changes
        for a, b in [change['iou']]
    ]
    return '\n'.join([title, *(lines or ['  none'])])


def _table(
    args: argparse.Namespace, found: Any, differences: Mapping[str, Any], protocol: Any
) -> str:
    """One row a score: both models, their difference and its interval."""
    from ..evaluation import COLUMNS, PRESENCE, score_table

    columns: dict[str, dict[str, Any]] = {
        name: dict(
            first=found.reports[0].scores()[name],
            second=found.reports[1].scores()[name],
            difference=d.difference,
            low=d.interval.low,
            high=d.interval.high,
            p=f'{d.p:.3f}',
        )
        for name in (*COLUMNS, *PRESENCE)
        if all(name in report.scores() for report in found.reports)
        for d in [differences[name]]
    }
    return score_table(
        columns,
        f'{args.second} minus {args.first}, {len(found.changes)} samples, '
        f'95 % paired bootstrap intervals over {len(found.images[0].images)} images, '
        f'protocol `{protocol.name}` ({protocol.rules})',
        head='score',
        columns=('first', 'second', 'difference', 'low', 'high', 'p'),
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    # Libraries write notices to stdout while they are imported; there, only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        from tqdm import tqdm

        from ..evaluation import compare, dumped_samples, find_protocol, score_differences

        protocol = find_protocol(args.protocol)
        first, second = (
            tqdm(
                dumped_samples(path),
                desc=path,
                unit=' samples',
                leave=False,
                disable=not sys.stderr.isatty(),
            )
            for path in (args.first, args.second)
        )
        found = compare(first, second, protocol)
        differences = score_differences(*found.images, resamples=args.resamples, seed=args.seed)
    better = [c for c in found.changes if c['iou'][1] > c['iou'][0]][: args.top]
    worse = [c for c in reversed(found.changes) if c['iou'][1] < c['iou'][0]][: args.top]
    if args.json:
        print(
            to_json(
                dict(
                    protocol=protocol.name,
                    samples=len(found.changes),
                    first=found.reports[0].scores(),
                    second=found.reports[1].scores(),
                    differences={name: d._asdict() for name, d in differences.items()},
                    better=better,
                    worse=worse,
                )
            )
        )
        return
    print(_table(args, found, differences, protocol))
    print('\n' + changes_text('most better: IoU first -> second, id, sentence', better))
    print('\n' + changes_text('most worse', worse))
