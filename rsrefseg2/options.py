"""Command lines: `--cfg-options`, types of arguments, and the choices that their help names.

Imports nothing heavy, so that `--help` and a wrong argument are answered at once: the tools import
what works after their arguments are parsed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

# The keys of the tables PROTOCOLS, BENCHMARKS, FURTHER, READERS and LAYOUTS; a test compares them.
PROTOCOLS = ('paper', 'rmsin', 'lisa', 'release', 'generalised')
BENCHMARKS = ('refsegrs', 'rrsisd', 'risbench')
FURTHER = ('nwpu_refer', 'earthreason', 'ris_lad', 'remotesam', 'lasers')
READERS = (*BENCHMARKS, *FURTHER, 'jsonl', 'refcoco', 'refcoco+', 'refcocog')
LAYOUTS = ('rrsisd', 'refsegrs', 'risbench', 'jsonl')
SPLITS = ('train', 'val', 'test')
SHARES = (0.7, 0.1, 0.2)  # of the pictures of a COCO file: train, val, test
PER_OBJECT, PER_IMAGE = 6, 24  # sentences made from a COCO file, at most
LEVELS = ('attribute', 'position', 'relation')  # of SynthRS's sentences
MORE_LEVELS = ('several', 'none')  # written where they are asked for
RELATIONS = (0.27, 0.27, 0.31, 0.15)  # how often each kind of relation is asked for
ABLATIONS = 'configs/ablations/index.json'  # the tables of the paper
RECORDS = 'docs/results/runs'  # shipped; the committed page is made of them alone
OWN_RECORDS = 'work_dirs/records'
MOST_SEED = 2**32 - 1  # NumPy's
MOST_DEPTH = 50  # brackets in brackets


class CfgOptions(argparse.Action):
    """`--cfg-options KEY=VALUE ...` as a dict, in the grammar of mmengine's DictAction.

    A value is a number, True, False, None, or else text; V1,V2 and [V1,V2] are lists, (V1,V2) is a
    tuple, to any depth. What is none of this is argparse's error, in one line.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, text = pair.partition('=')
            if not (equals and all(key.split('.'))):
                raise argparse.ArgumentError(
                    self, f'{pair!r} is not KEY=VALUE: write it as train_cfg.max_iters=100'
                )
            try:
                options[key] = parse_value(text)
            except ValueError as error:
                raise argparse.ArgumentError(self, f'{pair!r}: {error}') from None
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The value that `text` says; see `CfgOptions`.

    Raises:
        ValueError: brackets that do not match.
    """
    text = text.strip('\'"').replace(' ', '')
    bracketed = text[:1] + text[-1:] in ('()', '[]')
    if not bracketed and ',' not in text:
        return _parse_scalar(text)
    depths = list(_depths(text))
    if bracketed and 0 not in depths[:-1]:
        kind = tuple if text[0] == '(' else list
        return kind(map(parse_value, _split(text[1:-1])))
    parts = list(_split(text))
    if parts == [text]:  # (a)(b)
        return _parse_scalar(text)
    return list(map(parse_value, parts))


def _depths(text: str) -> Iterator[int]:
    """How many brackets are open after each character."""
    pending: list[str] = []
    for char in text:
        if char in '([':
            pending.append(')' if char == '(' else ']')
        elif char in ')]' and (not pending or pending.pop() != char):
            raise ValueError(f'no bracket is open where {char!r} closes one')
        if len(pending) > MOST_DEPTH:
            raise ValueError(f'more than {MOST_DEPTH} brackets within each other')
        yield len(pending)
    if pending:
        raise ValueError(f'{pending[-1]!r} is missing: every bracket needs its other half')


def _split(text: str) -> Iterator[str]:
    """The parts between commas outside of brackets; a comma at the end begins no part."""
    begin = 0
    for i, depth in enumerate(_depths(text)):
        if text[i] == ',' and depth == 0:
            yield text[begin:i]
            begin = i + 1
    if begin < len(text):
        yield text[begin:]


def _parse_scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {'true': True, 'false': False}.get(text.lower(), None if text == 'None' else text)


def add_shared(parser: argparse._ActionsContainer, *names: str, **changes: Any) -> None:
    """Adds options that several commands have, each spelt and described once, in `SHARED`.

    Args:
        parser: where they are added.
        names: 'device' for --device, and so on.
        changes: what differs in this command, of one name: default, required, metavar ...
            `note` is put behind the help text.

    Raises:
        ValueError: a name that is not in `SHARED`; changes of several names.
    """
    if unknown := set(names) - set(SHARED):
        raise ValueError(f'unknown shared options {sorted(unknown)}, expected of {sorted(SHARED)}')
    if changes and len(names) > 1:
        raise ValueError(f'changes {sorted(changes)} are of one option, not of {names}')
    note = changes.pop('note', '')
    for name in names:
        known = {**SHARED[name], **changes}
        if note:
            known['help'] = f'{known["help"]}; {note}'
        parser.add_argument(f'--{name}', **known)


def add_old_spelling(parser: argparse.ArgumentParser, old: str, dest: str, **how: Any) -> None:
    """An option's earlier name: still understood, no longer in the help."""
    parser.add_argument(old, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **how)


def add_model(
    parser: argparse.ArgumentParser, *, checkpoint: bool = True, zero_shot: bool = False
) -> None:
    """The arguments CONFIG and CHECKPOINT, the second one where it is wanted; with `zero_shot` it
    may be left out."""
    parser.add_argument('config', help=SHARED['config']['help'])
    if checkpoint:
        note = '; none for a config of configs/zero_shot' if zero_shot else ''
        parser.add_argument(
            'checkpoint',
            nargs='?' if zero_shot else None,
            help=f'a *.pth of training, or of a published folder{note}',
        )


def positive(text: str) -> int:
    """Type of an argument: a whole number, at least 1."""
    return _integer(text, 1)


def count(text: str) -> int:
    """Type of an argument: a whole number, at least 0."""
    return _integer(text, 0)


def seed(text: str) -> int:
    """Type of an argument: what NumPy and PyTorch take for a seed."""
    return _integer(text, 0, MOST_SEED)


def port(text: str) -> int:
    """Type of an argument: a port of TCP; 0 for a free one."""
    return _integer(text, 0, 65535)


def positive_float(text: str) -> float:
    """Type of an argument: a finite number above 0."""
    number = _number(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not above 0')
    return number


def weight(text: str) -> float:
    """Type of an argument: a finite number, at least 0."""
    number = _number(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not at least 0')
    return number


def fraction(text: str) -> float:
    """Type of an argument: a number from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not from 0 to 1')
    return number


def _integer(text: str, least: int, most: int | None = None) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number') from None
    if number < least or most is not None and number > most:
        limit = f'at least {least}' if most is None else f'from {least} to {most}'
        raise argparse.ArgumentTypeError(f'{text!r} is not {limit}')
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number')
    return number


# Shared options: name -> what argparse gets. Below the types that they name.
SHARED: dict[str, dict[str, Any]] = {
    'model': dict(
        metavar='NAME',
        help='rsrefseg2-rrsisd, -refsegrs or -risbench (fetched from the authors and converted '
        'once), a name of the hub (owner/name), or a folder of rsrefseg2 publish',
    ),
    'config': dict(metavar='CONFIG', help='config file; configs/... are found anywhere'),
    'cfg-options': dict(
        nargs='+',
        action=CfgOptions,
        metavar='KEY=VALUE',
        help='override config keys, e.g. train_dataloader.batch_size=8',
    ),
    'device': dict(help='cpu, cuda, cuda:1 ... (default: a GPU if there is one)'),
    'seed': dict(type=seed, default=0, help='of the random numbers (%(default)s)'),
    'split': dict(choices=SPLITS, default='test', help='split of the data (%(default)s)'),
    'out': dict(help='where the result is written'),
    'json': dict(action='store_true', help='print one JSON object, in percent, and nothing else'),
    'overwrite': dict(
        action='store_true', help='replace files there that this command did not write'
    ),
    'protocol': dict(
        choices=PROTOCOLS, default='paper', help='how masks are compared (%(default)s)'
    ),
}
