"""Make a folder of a trained model that can be given away.

    rsrefseg2 publish CONFIG CHECKPOINT --out DIR --scores work_dirs/RUN/scores.json
    rsrefseg2 publish CONFIG CHECKPOINT --out DIR --dump TEST.jsonl --merge-lora --adapters

DIR holds the stripped weights under a name that ends in their hash, the whole config without
paths of this machine, and a model card. rsrefseg2 test and rsrefseg2 predict read them as they are.
"""

from __future__ import annotations

import argparse

from ..options import add_model, add_shared

FAMILIES = ('siglip', 'sam', 'swin', 'bert')  # a test compares them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser)
    add_shared(parser, 'out', required=True, metavar='DIR', help='a folder, new or empty')
    tested = parser.add_mutually_exclusive_group()
    tested.add_argument(
        '--scores',
        metavar='JSON',
        help='of rsrefseg2 test, or of rsrefseg2 analysis score --json, which has intervals',
    )
    tested.add_argument(
        '--dump', metavar='JSONL', help='of rsrefseg2 test: scored here, with 95 %% intervals'
    )
    add_shared(
        parser, 'protocol', default=None, help="of --dump (default: the config's, which is paper)"
    )
    parser.add_argument(
        '--merge-lora',
        action='store_true',
        help='write the towers too, LoRA merged, as plain folders of transformers',
    )
    parser.add_argument(
        '--adapters', action='store_true', help="write the adapters alone, too, in PEFT's format"
    )
    parser.add_argument(
        '--half',
        action='store_true',
        help='weights in float16, half the size: '
        'test the folder, and publish again with what that found',
    )
    for family in FAMILIES:
        parser.add_argument(
            f'--{family}',
            metavar='OWNER/NAME',
            help=f'the hub name of {family}, where the config names a folder',
        )
    add_shared(parser, 'cfg-options')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.protocol and not args.dump:
        parser.error('--protocol is for --dump: a file of scores names its own')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..engine import load_config, read_checkpoint
    from ..evaluation import find_protocol
    from ..publishing import publish, read_scores, score_dump

    cfg = load_config(args.config, options=args.cfg_options)
    read_checkpoint(args.checkpoint)  # before a dump is scored
    scores = read_scores(args.scores) if args.scores else None
    if args.dump:
        evaluator = cfg.get('test_evaluator')
        own = evaluator.get('protocol') if isinstance(evaluator, dict) else None
        scores = score_dump(args.dump, find_protocol(args.protocol or own or 'paper'))
    done = publish(
        cfg,
        args.checkpoint,
        args.out,
        scores=scores,
        merge_lora=args.merge_lora,
        adapters=args.adapters,
        half=args.half,
        names={family: name for family in FAMILIES if (name := getattr(args, family))},
    )
    for note in done.notes:
        print(f'note: {note}')
    print(
        f'written: {done.folder}\n  weights  {done.weights}\n  config   {done.config}\n'
        '  card     README.md'
    )
