"""Seconds, FLOP, share of the device's peak and memory by part, plain and with each lever.

    rsrefseg2 bench CONFIG [--train] [--images 1] [--per-image 1] [--levers bf16 compiled ...]
                    [--alone] [--check] [--device cuda] [--json]
    rsrefseg2 bench CONFIG --train --count [--levers eager "all again" ...]
    rsrefseg2 bench CONFIG --sweep sentences side [--out costs] [--levers bf16]

Random weights: no download, and no time depends on what weights say. `plain` is eager
float32, with every layer as its equation is written; `eager` the same in the forms that cost less,
which are what runs, under the other levers, too. A lever's column says how many times faster it is,
the largest difference of its logits and how much its masks agree. The peak is that of a matrix
product of the same precision, measured before. --count counts a training step's memory without
data, at any size; --sweep shows how the cost grows, with one lever (`eager`).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..options import add_model, add_shared, positive
from ..records import to_json

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config

    from ..profiling.bench import Counted, Result
    from ..profiling.sweep import Point

LEVERS = (  # a test compares them
    'eager',
    'bf16',
    'bf16 weights',
    'compiled',
    'bf16 compiled',
    'stages 1-2 again',
    'SAM again',
    'SigLIP again',
    'all again',
    'bf16 all again',
    'bf16 towers',
    'int8 towers',
    'graphs',
    'bf16 towers graphs',
)
AXES = {'sentences': 'sentences of a picture', 'side': 'side of a picture, pixels'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser, checkpoint=False)
    parser.add_argument(
        '--train', action='store_true', help='an optimisation step, not a prediction'
    )
    parser.add_argument('--images', type=positive, default=1, help='pictures a pass (%(default)s)')
    parser.add_argument(
        '--per-image', type=positive, default=1, help='sentences of each picture (%(default)s)'
    )
    parser.add_argument('--side', type=positive, default=800, help='of a picture (%(default)s)')
    parser.add_argument('--repeats', type=positive, default=5, help='passes (%(default)s)')
    parser.add_argument(
        '--levers',
        nargs='*',
        choices=LEVERS,
        default=[],
        metavar='LEVER',
        help=f'beside plain: {", ".join(LEVERS)} (default: none)',
    )
    parser.add_argument(
        '--alone', action='store_true', help='without plain: the first lever is compared with'
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='with --train: exit status 1 where a gradient is not finite, or zero without a '
        'reason, or a frozen tensor changes',
    )
    parser.add_argument(
        '--count', action='store_true', help="a training step's memory without data, any size"
    )
    parser.add_argument('--sweep', nargs='+', choices=AXES, help='how the cost grows with these')
    add_shared(parser, 'out', metavar='FILE', help='of --sweep: FILE.png and FILE.pdf are written')
    add_shared(parser, 'overwrite', 'device', 'json', 'cfg-options')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.count and args.sweep:
        parser.error('--count and --sweep ask for two things: give one of them')
    if (args.count or args.check) and not args.train:
        parser.error(f'--{"count" if args.count else "check"} is about training: add --train')
    if args.check and args.images * args.per_image < 2:
        parser.error(
            '--check needs two sentences, of one the sample contrast has no gradient: add --images 2'
        )
    if args.sweep and len(args.levers) > 1:
        parser.error('--sweep takes one lever: give the others in calls of their own')
    if args.out and not args.sweep:
        parser.error('--out is the plot of --sweep: add --sweep sentences')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    with contextlib.redirect_stdout(sys.stderr):  # libraries' notices
        from ..engine import explain_out_of_memory, load_config
        from ..engine.load_model import find_device

        config = load_config(args.config, options=args.cfg_options)
        if 'model' not in config:
            raise UserError(f'config {args.config} has no model')
        if args.sweep and args.out:
            from ..visualization import free_paths

            free_paths(args.out, overwrite=args.overwrite)  # before the work
        with explain_out_of_memory(config):
            device = find_device(args.device)
            record, text, faults = _MODES[_mode(args)](args, config, device)
    print(to_json(record) if args.json else text)
    if faults:
        raise SystemExit(1)


def _mode(args: argparse.Namespace) -> str:
    return 'count' if args.count else 'sweep' if args.sweep else 'bench'


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _levers(args: argparse.Namespace) -> list[str]:
    return (args.levers or ['eager']) if args.alone else ['plain', *args.levers]


# ------------------------------------------------------------------ measured


def _bench(
    args: argparse.Namespace, config: Config, device: torch.device
) -> tuple[Any, str, list[str]]:
    from ..profiling.bench import bench, make_work

    sentences = args.images * args.per_image
    results = bench(
        config,
        make_work(args.images, sentences, args.side, device),
        device,
        levers=_levers(args),
        training=args.train,
        repeats=args.repeats,
        check=args.check,
        tell=_tell,
    )
    record = [{**one._asdict(), 'parts': [part._asdict() for part in one.parts]} for one in results]
    tables = [as_table(one, sentences) for one in results]
    if len(results) > 1:
        tables.append(side_by_side(results))
    faults = [f'{one.lever}: {fault}' for one in results for fault in one.faults]
    if args.check:
        tables.append('\n'.join(faults) or 'gradients and frozen tensors: no fault')
    return record, '\n'.join(tables), faults


def as_table(result: Result, sentences: int) -> str:
    """A lever's parts, its speed and its memory."""
    from ..tables import plain_table

    rows = [
        (
            part.name,
            f'{1000 * part.seconds:,.1f}',
            None if part.flop is None else f'{part.flop / 1e9:,.1f}',
            None if part.share is None else f'{100 * part.share:.1f}',
        )
        for part in result.parts
    ]
    table = plain_table(('part', 'ms', 'GFLOP', '% of peak'), rows, title=result.lever)
    each = {'weights': result.weights, 'kept': result.kept, 'states': result.states}
    said = [
        f'{sentences / result.parts[-1].seconds:,.2f} sentences a second',
        *(f'{name} {value / 2**30:.2f} GiB' for name, value in each.items() if value is not None),
        f'peak {result.memory / 2**30:.2f} GiB',
    ]
    return f'{table}\n{", ".join(said)}\n'


def side_by_side(results: Sequence[Result]) -> str:
    """Every lever against the first: speed, memory, logits and masks."""
    from ..tables import plain_table

    first = results[0]
    rows = [
        (
            one.lever,
            f'{1000 * one.parts[-1].seconds:,.1f}',
            one.ratio,
            f'{one.memory / 2**30:.2f}',
            one.memory / first.memory,
            None if not one.kept or not first.kept else one.kept / first.kept,
            None if one.largest_difference is None else f'{one.largest_difference:.1e}',
            None if one.agreement is None else f'{one.agreement:.4f}',
        )
        for one in results
    ]
    head = 'lever', 'ms', 'times as fast', 'peak GiB', 'ratio', 'kept, ratio'
    return plain_table((*head, 'logits differ', 'masks agree'), rows)


# ------------------------------------------------------------------ counted


def _count(
    args: argparse.Namespace, config: Config, device: torch.device
) -> tuple[Any, str, list[str]]:
    from ..profiling.bench import count_levers

    counted = count_levers(
        config, args.images, args.images * args.per_image, args.side, levers=_levers(args)
    )
    return [one._asdict() for one in counted], count_table(counted), []


def count_table(counted: Sequence[Counted]) -> str:
    """GiB by lever, what is kept also as a ratio to the first."""
    from ..tables import plain_table

    rows = [
        (
            one.lever,
            *(f'{value / 2**30:.3f}' for value in (one.weights, one.states, one.kept)),
            one.kept / counted[0].kept,
            f'{one.largest / 2**30:.3f}',
        )
        for one in counted
    ]
    head = 'GiB', 'weights', 'gradients, optimizer', 'kept', 'ratio', 'the largest layer again'
    return plain_table(head, rows)


# ------------------------------------------------------------------ how it grows


def _sweep(
    args: argparse.Namespace, config: Config, device: torch.device
) -> tuple[Any, str, list[str]]:
    from ..profiling.sweep import VALUES, sweep

    (lever,) = args.levers or ['eager']
    found = {
        axis: sweep(
            config,
            device,
            axis,
            values=VALUES[axis],
            lever=lever,
            images=args.images,
            per_image=args.per_image,
            side=args.side,
            training=args.train,
            repeats=args.repeats,
            tell=_tell,
        )
        for axis in args.sweep
    }
    record = {
        axis: [{**one._asdict(), 'parts': [p._asdict() for p in one.parts]} for one in points]
        for axis, points in found.items()
    }
    text = '\n\n'.join(growth_table(axis, points) for axis, points in found.items())
    if args.out:
        title = f'{args.config}, {"training" if args.train else "prediction"}, {lever}, {device}'
        text += ''.join(f'\n{path}' for path in _draw(args, found, title))
    return record, text, []


def growth_table(axis: str, points: Sequence[Point]) -> str:
    """A row for each value: milliseconds by part, and those of a sentence."""
    from ..tables import plain_table

    names = [part.name for part in points[0].parts]
    rows = [
        (
            one.value,
            *(f'{1000 * part.seconds:,.1f}' for part in one.parts),
            f'{1000 * one.parts[-1].seconds / one.sentences:,.2f}',
            f'{one.memory / 2**30:.2f}',
        )
        for one in points
    ]
    head = axis, *names, 'a sentence', 'peak GiB'
    return plain_table(head, rows, title=f'ms of a pass by {AXES[axis]}')


def _draw(args: argparse.Namespace, found: Mapping[str, list[Point]], title: str) -> list[str]:
    from ..visualization import Growth, plot_growth, save

    growths = [
        Growth(
            AXES[axis],
            [one.value for one in points],
            {
                part.name: [1000 * one.parts[k].seconds for one in points]
                for k, part in enumerate(points[0].parts)
            },
            [one.sentences for one in points],
        )
        for axis, points in found.items()
    ]
    return [str(p) for p in save(plot_growth(growths, title=title), args.out, overwrite=True)]


_MODES = {'bench': _bench, 'count': _count, 'sweep': _sweep}
