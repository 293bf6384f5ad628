"""Serve a web page: drop a picture or a GeoTIFF, ask in words, see where and how.

    rsrefseg2 demo [--model NAME | --config CONFIG --checkpoint PTH] [--host 127.0.0.1]
                   [--port 7860] [--device cpu]

Needs the extra `demo`; the extra `raster` adds coordinates. Without a model the tiny one in demo/
answers, which knows SynthRS's scenes and words alone. Every visitor has a session of his own: its
picture and its answers are seen by nobody else, and go with it. Nothing is sent elsewhere. There is no login: --host 0.0.0.0 serves everybody who reaches the machine.
"""

import argparse

from ..options import add_shared, port
from .predict_command import SCENE, model_files, model_mark

PORT = 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_shared(parser, 'model')
    add_shared(parser, 'config')
    parser.add_argument('--checkpoint', help='the weights that belong to CONFIG')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to serve (%(default)s: this machine alone)'
    )
    parser.add_argument(
        '--port', type=port, default=PORT, help='port to serve, 0 for a free one (%(default)s)'
    )
    add_shared(parser, 'device')
    add_shared(parser, 'cfg-options')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.model and (args.config or args.checkpoint):
        parser.error('--model names its own config and checkpoint: leave these out')
    if bool(args.config) != bool(args.checkpoint):
        parser.error('--config and --checkpoint belong together; without both, the shipped model')


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..extras import PACKAGES, require_extra

    for package in PACKAGES['demo']:  # before the model is loaded
        require_extra('demo', 'the web page', package=package)
    from ..apis import Predictor
    from ..apis.web_page.server import serve
    from ..engine import explain_out_of_memory, load_config
    from ..synthrs.generation.generate import make_scene

    args.demo, example = not (args.config or args.model), None
    about = f'Model: {args.model or args.config}'
    config_file, checkpoint = model_files(args)
    if args.demo:
        scene, spoken = make_scene(seed=0, split='test', index=SCENE, per_level=1)
        example = scene.image, [sentence.text for sentence in spoken]
        about = 'A tiny model that knows generated scenes alone. Open the example to try it.'
    config = load_config(config_file, options=args.cfg_options)
    with explain_out_of_memory(config):
        predictor = Predictor(config, checkpoint, args.device)
    serve(
        predictor,
        host=args.host,
        port=args.port,
        model=model_mark(config, checkpoint),
        about=about,
        example=example,
        ready=lambda address: print(f'{address} (Ctrl-C ends it)', flush=True),
    )
