"""Pretrain one tiny tower on SynthRS: python tools/synthrs_pretrain.py siglip --data data/synthrs

The towers in rsrefseg2/synthrs/towers were made so; one thread, so that a seed reproduces them.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import torch

from rsrefseg2.errors import report_user_errors
from rsrefseg2.synthrs.pretraining import pretrain


@report_user_errors()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('tower', choices=['siglip', 'sam2'])
    parser.add_argument('--data', default='data/synthrs', type=Path, help='a SynthRS folder')
    parser.add_argument('--out', type=Path, help='default: work_dirs/towers/<tower>')
    parser.add_argument('--steps', default=6000, type=int)
    parser.add_argument('--seed', default=0, type=int)
    parser.add_argument('--sentences', default=4, type=int, help='of one image in a batch')
    parser.add_argument('--image-size', default=192, type=int, help="SigLIP's")
    parser.add_argument('--layers', default=3, type=int, help="of SigLIP's image tower")
    parser.add_argument('--even', action='store_true', help='stage 1 of the shipped SigLIP tower')
    parser.add_argument('--start', type=Path, help="go on from this folder's weights")
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.set_num_threads(1)
    pretrain(args.tower, data_root=args.data, steps=args.steps, seed=args.seed,
             sentences=args.sentences, image_size=args.image_size,
             layers=args.layers, even=args.even, start=args.start, device=args.device,
             out=args.out or Path('work_dirs/towers') / args.tower)


if __name__ == '__main__':
    main()
