"""Segment what one or more sentences refer to, in one's own images.

    rsrefseg2 predict IMAGE ... "a sentence" ["another" ...] --config CONFIG --checkpoint PTH
                            [--out DIR] [--device cpu] [--cfg-options KEY=VALUE ...]
    rsrefseg2 predict [IMAGE ... "a sentence" ...] --demo

--demo: the tiny model in demo/, which knows SynthRS's pictures and words alone, and of those not
all; without IMAGE it is asked a test scene's own sentences, and the scene is DIR/scene.png.

Every image is asked every sentence. Writes for sentence k: <image>_<k>_mask.png (0 and 255, the
image's size) and <image>_<k>_panel.png. A raster of any size that has coordinates or more than 8
bits (extra `raster`) becomes <image>_<k>_mask.tif with its CRS and transform, and
<image>_<k>_polygons.geojson with the area in m2. A photograph that viewers turn by its EXIF
orientation is turned; its mask lies on the turned one. Files that this tool did not write for the same image stay,
unless --overwrite is given.
"""

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, make_folder
from ..files import require_writable
from ..options import add_shared, positive
from ..shipped import shipped_root

if TYPE_CHECKING:
    from ..rasters import Stretch

INTERMIXED = True  # IMAGE --demo SENTENCE, too
SCENE = 1  # all three found (IoU above 0.6), as in 98 of the 250 scenes; of scene 0 one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        'given',
        nargs='*',
        metavar='IMAGE ... SENTENCE',
        help='files to look at, then what to look for in each',
    )
    add_shared(parser, 'config')
    parser.add_argument('--checkpoint')
    parser.add_argument('--demo', action='store_true', help='the tiny model that is shipped')
    parser.add_argument(
        '--bands',
        nargs='+',
        type=positive,
        metavar='BAND',
        help='of a raster: one band, or red, green and blue (default: by its colours)',
    )
    parser.add_argument(
        '--stretch',
        type=stretch,
        metavar='LOW,HIGH',
        help='of a raster: what becomes black and white, percentiles (2%%,98%%, the default of deep '
        'bands) or values (0,3000)',
    )
    parser.add_argument(
        '--window',
        nargs=4,
        type=int,
        metavar=('COLUMN', 'ROW', 'WIDTH', 'HEIGHT'),
        help='the part of a raster to look at, in pixels (default: all of it)',
    )
    add_shared(parser, 'out', default='predictions', help='folder to write to (%(default)s)')
    add_shared(parser, 'overwrite')
    add_shared(parser, 'device')
    add_shared(parser, 'cfg-options')


def stretch(text: str) -> 'Stretch':
    """A display range, as an argument."""
    from ..rasters import parse_stretch

    try:
        return parse_stretch(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.demo and (args.config or args.checkpoint):
        parser.error('--demo has its own config and checkpoint')
    if not args.demo and not (args.given and args.config and args.checkpoint):
        parser.error('IMAGE, --config and --checkpoint are needed; or --demo')


def demo_model() -> tuple[str, str]:
    """Config and checkpoint of the published folder in demo/."""
    demo = shipped_root() / 'demo'
    configs, checkpoints = (sorted(demo.glob(name)) for name in ('*.py', '*.pth'))
    if (len(configs), len(checkpoints)) != (1, 1):
        raise UserError(
            f'{demo} holds {len(configs)} configs and {len(checkpoints)} checkpoints, '
            'where it should hold one of each: it is a part of the repository'
        )
    return str(configs[0]), str(checkpoints[0])


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..apis import Predictor, check_sentences
    from ..apis.prediction_files import (
        free_pictures,
        read_source,
        split_arguments,
        write_answer,
        write_scene,
    )
    from ..engine import explain_out_of_memory, load_config
    from ..synthrs.generation.generate import make_scene

    if args.demo:
        args.config, args.checkpoint = demo_model()
    paths, sentences = split_arguments(args.given)
    if not paths:
        scene, spoken = make_scene(seed=0, split='test', index=SCENE, per_level=1)
        paths = [str(make_folder(args.out) / 'scene.png')]
        sentences = [sentence.text for sentence in spoken]
        write_scene(Path(paths[0]), scene.image, overwrite=args.overwrite)
    # What can be wrong is looked at before the model is loaded; the first image stays in memory.
    sentences = check_sentences(sentences)
    window = None if args.window is None else tuple(args.window)
    read = functools.lru_cache(maxsize=1)(
        functools.partial(read_source, bands=args.bands, stretch=args.stretch, window=window)
    )
    names = {path: read(path).names() for path in reversed(paths)}
    pictures = free_pictures(
        paths, len(sentences), args.out, names=names.__getitem__, overwrite=args.overwrite
    )
    config = load_config(args.config, options=args.cfg_options)
    require_writable(make_folder(args.out))

    with explain_out_of_memory(config):
        predictor = Predictor(config, args.checkpoint, args.device)
        for picture in pictures:
            source = read(picture.path)
            predictor.set_image(source.image)
            if len(pictures) > 1:
                print(picture.path)
            for k, sentence in enumerate(sentences):  # one by one: a mask may be of 100 megapixels
                (answer,) = predictor.predict(sentence)
                print(f'"{answer.text}": {write_answer(picture, k, source, answer)}')
                for name, file in picture.files[k].items():
                    print(f'  {name:{max(map(len, picture.files[k]))}}  {file}')
