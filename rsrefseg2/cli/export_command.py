"""Write a trained model as graphs that run without this framework.

    rsrefseg2 export CONFIG CHECKPOINT --out DIR [--format onnx]

DIR gets the image encoder, the text encoder, the prompter with the mask decoder, the tokenizer and
model.json. deployment/onnx_predictor.py reads them with onnxruntime alone. `--format torch` writes
torch.export's .pt2 files, `--format aoti` machine code of AOTInductor for --device, which takes a
C++ compiler; deployment/torch_predictor.py reads both with torch alone. Any number of sentences;
the sizes of the pictures are the towers'.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from ..options import add_model, add_shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser)
    add_shared(parser, 'out', required=True, metavar='DIR', help='a folder, new or empty')
    parser.add_argument(
        '--format', default='onnx', help='onnx, torch or aoti (default: %(default)s)'
    )
    add_shared(
        parser, 'device', default='cpu', help='of torch and aoti: where they run (%(default)s)'
    )
    add_shared(parser, 'cfg-options')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    with contextlib.redirect_stdout(sys.stderr):  # libraries' notices
        from ..deployment.export_graphs import export
        from ..engine import load_config

        cfg = load_config(args.config, options=args.cfg_options)
        description = export(cfg, args.checkpoint, args.out, args.format, args.device)
    opset = '' if description.opset is None else f', opset {description.opset}'
    files = ', '.join(graph.file for graph in description.graphs.values())
    print(f'written: {args.out} ({files}; format {description.format}{opset})')
