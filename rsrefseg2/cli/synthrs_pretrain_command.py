"""Pretrain tiny towers on SynthRS: a SigLIP, a SAM 2, or LAVT's Swin and BERT.

    rsrefseg2 synthrs pretrain siglip --data data/synthrs

The towers in rsrefseg2/synthrs/towers were made so; one thread, so that a seed reproduces them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..options import add_shared, positive, positive_float, weight

# Options of these towers alone.
SIGLIP = ('patch_size', 'layers', 'width', 'positions')
POINTING = ('reading',)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('tower', choices=['siglip', 'sam2', 'lavt'])
    parser.add_argument('--data', default='data/synthrs', type=Path, help='a SynthRS folder')
    add_shared(parser, 'out', type=Path, help='default: work_dirs/towers/<tower>')
    add_shared(parser, 'overwrite')
    parser.add_argument('--steps', default=6000, type=positive)
    add_shared(parser, 'seed')
    parser.add_argument('--images', type=positive, help='in a batch (12; 4 for SAM)')
    parser.add_argument('--sentences', type=positive, help='of one image in a batch, SAM alone (4)')
    parser.add_argument('--lr', type=positive_float, help='highest rate (2e-3; 1e-3 for SAM)')
    parser.add_argument('--start', type=Path, help="go on from this folder's weights")
    add_shared(parser, 'device', default='cpu', help='cpu, cuda, cuda:1 ... (%(default)s)')
    parser.add_argument(
        '--patches',
        default='whitened',
        choices=['whitened', 'random'],
        help='what the patch embedding starts from',
    )
    parser.add_argument(
        '--image-size', default=192, type=positive, help='side of what the tower sees (%(default)s)'
    )
    parser.add_argument(
        '--photographs',
        type=Path,
        metavar='FOLDER',
        help='every second batch: the training pictures of convert coco --to rrsisd',
    )
    parser.add_argument(
        '--reading',
        default=0.2,
        type=weight,
        help='weight of reading the words from t_sent; not of SAM',
    )
    siglip = parser.add_argument_group('SigLIP alone')
    siglip.add_argument('--patch-size', default=16, type=positive)
    siglip.add_argument('--layers', default=3, type=positive, help='of the image tower')
    siglip.add_argument(
        '--width', default=96, type=positive, help='of both towers, a multiple of 24'
    )
    siglip.add_argument(
        '--positions',
        default='sine',
        choices=['sine', 'random'],
        help="what the image tower's position embeddings start from",
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    for name in (*SIGLIP, *POINTING):
        theirs = 'siglip' if name in SIGLIP else 'siglip and lavt'
        if args.tower not in theirs.split() and getattr(args, name) != parser.get_default(name):
            parser.error(f'--{name.replace("_", "-")} is for {theirs} alone')
    if args.tower != 'sam2' and args.sentences is not None:
        parser.error(
            "--sentences is for sam2 alone: the others' are drawn at every visit of a scene"
        )
    if args.tower == 'lavt' and args.start is not None:
        parser.error('--start is for siglip and sam2 alone')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    import torch

    from ..synthrs.pretraining.train_towers import pretrain

    named = {'siglip': (*SIGLIP, *POINTING), 'lavt': POINTING, 'sam2': ('sentences',)}
    options = {
        name: getattr(args, name) for name in named[args.tower] if getattr(args, name) is not None
    }
    torch.set_num_threads(1)
    pretrain(
        args.tower,
        data_root=args.data,
        steps=args.steps,
        seed=args.seed,
        images=args.images,
        lr=args.lr,
        start=args.start,
        photographs=args.photographs,
        image_size=args.image_size,
        device=args.device,
        patches=args.patches,
        overwrite=args.overwrite,
        **options,
        out=args.out or Path('work_dirs/towers') / args.tower,
    )
