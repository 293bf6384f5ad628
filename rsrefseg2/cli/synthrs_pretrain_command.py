"""Pretrain one tiny tower on SynthRS.

    rsrefseg2 synthrs pretrain siglip --data data/synthrs

The towers in rsrefseg2/synthrs/towers were made so; one thread, so that a seed reproduces them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..options import add_shared, positive, positive_float, weight

# Options of this tower alone.
SIGLIP = ('patch_size', 'layers', 'width', 'positions', 'reading')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('tower', choices=['siglip', 'sam2'])
    parser.add_argument('--data', default='data/synthrs', type=Path, help='a SynthRS folder')
    add_shared(parser, 'out', type=Path, help='default: work_dirs/towers/<tower>')
    add_shared(parser, 'overwrite')
    parser.add_argument('--steps', default=6000, type=positive)
    add_shared(parser, 'seed')
    parser.add_argument('--images', type=positive, help='in a batch (12 for SigLIP, 4 for SAM)')
    parser.add_argument('--sentences', type=positive, help='of one image in a batch, SAM alone (4)')
    parser.add_argument(
        '--lr', type=positive_float, help='highest rate (2e-3 for SigLIP, 1e-3 for SAM)'
    )
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
    siglip.add_argument(
        '--reading', default=0.2, type=weight, help='weight of reading the words from t_sent'
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.tower != 'siglip':
        for name in SIGLIP:
            if getattr(args, name) != parser.get_default(name):
                parser.error(f'--{name.replace("_", "-")} is for siglip alone')
    elif args.sentences is not None:
        parser.error("--sentences is for sam2 alone: SigLIP's are drawn at every visit of a scene")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    import torch

    from ..synthrs.pretraining.train_towers import pretrain

    if args.tower == 'siglip':
        options = {name: getattr(args, name) for name in SIGLIP}
    else:
        options = {} if args.sentences is None else {'sentences': args.sentences}
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
