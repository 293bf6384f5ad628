"""Segment what one or more sentences refer to, in one's own images.

    rsrefseg2 predict IMAGE ... "a sentence" ["another" ...] --model rsrefseg2-rrsisd
                            [--out DIR] [--mode whole|zoom|sweep] [--device cpu]
    rsrefseg2 predict IMAGE ... --sentences FILE.txt --config CONFIG --checkpoint PTH
    rsrefseg2 predict --questions FILE.csv --config CONFIG --checkpoint PTH
    rsrefseg2 predict IMAGE ... "a sentence" --config configs/zero_shot/rrsisd_clipseg.py
    rsrefseg2 predict [IMAGE ... "a sentence" ...] --demo

IMAGE is a file, a folder or a pattern ('photos/*.jpg'). --demo: the tiny model in demo/, which knows
SynthRS's pictures and words, and ten kinds of objects on photographs; without IMAGE it is asked a
test scene's own sentences, and the scene is DIR/scene.png.

Every image is asked every sentence. Writes for sentence k: <image>_<k>_mask.png (0 and 255, the
image's size) and <image>_<k>_panel.png. A raster of any size that has coordinates or more than 8
bits (extra `raster`) becomes <image>_<k>_mask.tif with its CRS and transform, and
<image>_<k>_polygons.geojson with the area in m2. A photograph that viewers turn by its EXIF
orientation is turned; its mask lies on the turned one. DIR/answers.jsonl has a line for each answer,
and what it names is not asked again. Files that this tool did not write for the same image stay,
unless --overwrite is given.
"""

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, make_folder
from ..files import require_free, require_writable, write_text
from ..options import add_shared, positive
from ..shipped import shipped_root
from ..terminal import visible

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..apis import Predictor
    from ..apis.asked import Asked
    from ..apis.prediction_files import Done, Files
    from ..apis.sources import Source
    from ..apis.viewer import Answer
    from ..rasters import Stretch, Window

MODES = ('whole', 'zoom', 'sweep')
POLYGONS = ('geojson', 'gpkg', 'parquet')
INTERMIXED = True  # IMAGE --demo SENTENCE, too
SCENE = 1  # all three found (IoU above 0.6), as in 150 of the 250 scenes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        'given',
        nargs='*',
        metavar='IMAGE ... SENTENCE',
        help='files, folders or patterns to look at, then what to look for in each',
    )
    parser.add_argument('--sentences', metavar='FILE', help='a text file, one sentence a line')
    parser.add_argument(
        '--questions',
        metavar='FILE',
        help='a CSV or JSONL file of (image, sentence[, id]); a relative image is below its folder',
    )
    add_shared(parser, 'model')
    add_shared(parser, 'config')
    parser.add_argument('--checkpoint')
    parser.add_argument('--demo', action='store_true', help='the tiny model that is shipped')
    parser.add_argument(
        '--mode',
        choices=MODES,
        help="whole: the view in the towers' squares; zoom: look again, closer, where the first look "
        'points; sweep: ask every tile, for sentences without place (default: zoom where the view '
        "is over twice SAM's input and model.whole_view, else whole)",
    )
    parser.add_argument(
        '--window',
        nargs=4,
        type=int,
        metavar=('COLUMN', 'ROW', 'WIDTH', 'HEIGHT'),
        help='the part to look at, in pixels (default: all of it)',
    )
    add_raster_arguments(parser.add_argument_group('rasters'))
    add_output_arguments(parser.add_argument_group('answers'))
    add_shared(parser, 'device')
    add_shared(parser, 'cfg-options')


def add_raster_arguments(group: argparse._ArgumentGroup) -> None:
    """How a raster is read."""
    group.add_argument(
        '--bands',
        nargs='+',
        type=positive,
        metavar='BAND',
        help='one band, or red, green and blue (default: by its colours)',
    )
    group.add_argument(
        '--stretch',
        type=stretch,
        metavar='LOW,HIGH',
        help='what becomes black and white, percentiles (2%%,98%%, the default of deep bands) or '
        'values (0,3000)',
    )
    group.add_argument(
        '--bounds',
        nargs=4,
        type=float,
        metavar=('WEST', 'SOUTH', 'EAST', 'NORTH'),
        help='the part to look at, in its CRS; in degrees with --lon-lat',
    )
    group.add_argument('--lon-lat', action='store_true', help='--bounds is in degrees')
    group.add_argument(
        '--gsd',
        type=positive_float,
        metavar='METRES',
        help="a pixel's side at the finest look (default: the raster's own)",
    )
    group.add_argument(
        '--memory',
        type=positive_float,
        default=1.0,
        metavar='GIB',
        help="for a sweep's answers; more are kept in a temporary file (%(default)s)",
    )


def add_output_arguments(group: argparse._ArgumentGroup) -> None:
    """What is written."""
    group.add_argument(
        '--polygons',
        nargs='+',
        choices=(*POLYGONS, 'none'),
        default=['geojson'],
        help='of a raster with coordinates (default: geojson)',
    )
    group.add_argument('--probability', action='store_true', help='write the probabilities, too')
    group.add_argument(
        '--dump',
        metavar='FILE',
        help='JSONL of the masks of pictures: id, file, sentence, prediction (RLE)',
    )
    add_shared(group, 'out', default='predictions', help='folder to write to (%(default)s)')
    add_shared(group, 'overwrite')


def stretch(text: str) -> 'Stretch':
    """A display range, as an argument."""
    from ..rasters import parse_stretch

    try:
        return parse_stretch(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive_float(text: str) -> float:
    """A number above 0, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is no number above 0')
    return value


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with one line where options contradict each other."""
    if args.model and (args.config or args.checkpoint or args.demo):
        parser.error(
            '--model has its own config and checkpoint: drop --config, --checkpoint, --demo'
        )
    if args.demo and (args.config or args.checkpoint):
        parser.error('--demo has its own config and checkpoint')
    asked = args.given or args.questions
    if not args.demo and not (asked and (args.model or args.config)):
        parser.error('IMAGE and --model are needed, or --config and --checkpoint; or --demo')
    if args.window and args.bounds:
        parser.error('--window and --bounds both name the part to look at: give one')
    if args.lon_lat and not args.bounds:
        parser.error('--lon-lat says what --bounds is in: give --bounds, too')


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


def model_files(args: argparse.Namespace) -> tuple[str, str | None]:
    """Config and checkpoint, None for a zero-shot model; of a model by name they are fetched, and
    its source is printed."""
    from ..publishing import find_pretrained

    if args.demo:
        return demo_model()
    if not args.model:
        return args.config, args.checkpoint
    found = find_pretrained(args.model)
    print(found.source)
    return found.config, found.checkpoint


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..apis import Predictor
    from ..apis.prediction_files import Done, dump_lines
    from ..beside import read_ahead
    from ..engine import check_checkpoint, explain_out_of_memory, load_config

    # What can be wrong is looked at before the model is loaded.
    asked = what_is_asked(args)
    files = free_places(args, asked)
    config_file, checkpoint = model_files(args)
    config = load_config(config_file, options=args.cfg_options)
    require_writable(make_folder(args.out))
    check_checkpoint(config, checkpoint)
    model = model_mark(config, checkpoint)
    done = Done(Path(args.out), how(args, config, model, checkpoint), anew=args.overwrite)

    with explain_out_of_memory(config):
        predictor = Predictor(config, checkpoint, args.device)
        answers = [
            (one, own, [k for k, text in enumerate(one.sentences) if not done.find(own, k, text)])
            for one, own in zip(asked, files, strict=True)
        ]
        sources = read_ahead(
            lambda one: open_picture(args, one), [one for one, _, left in answers if left]
        )
        for one, own, left in answers:
            if len(asked) > 1:
                print(one.picture.path)
            if len(left) < len(one.sentences):
                print(f'{len(one.sentences) - len(left)} of {len(one.sentences)} answered before')
            if left:
                with next(sources) as source:
                    answer_all(args, predictor, source, one, own, left, done)
    if args.dump:
        write_text(args.dump, ''.join(f'{line}\n' for line in dump_lines(zip(asked, files))))


def free_places(args: argparse.Namespace, asked: 'list[Asked]') -> 'list[Files]':
    """The files that are written; every picture is opened once, and its part is found in it."""
    from ..apis.prediction_files import Outputs, free_files, names_of
    from ..apis.viewer import pixels_of
    from ..rasters import resolution

    polygons = tuple(f'.{name}' for name in dict.fromkeys(args.polygons) if name != 'none')
    outputs, names, made_of = Outputs(polygons, args.probability), [], []
    for one in asked:
        with open_picture(args, one) as source:
            pixels_of(source, window_of_arguments(args, source), args.gsd)
            ends = names_of(source, outputs)
            names.append(ends)
            made_of.append(source.files)
            if source.raster is not None and any(name.startswith('polygons') for name in ends):
                resolution(source.raster, source.whole)  # its place on the earth is found
    if args.dump:
        require_free(args.dump, mark='"prediction"', option='--dump', overwrite=args.overwrite)
    return free_files(asked, names, made_of, args.out, overwrite=args.overwrite)


def open_picture(args: argparse.Namespace, one: 'Asked') -> 'Source':
    """The picture as the arguments say."""
    from ..apis.sources import open_source

    on_map = args.bounds is not None or args.gsd is not None
    return open_source(one.picture.path, bands=args.bands, stretch=args.stretch, on_map=on_map)


def what_is_asked(args: argparse.Namespace) -> 'list[Asked]':
    """Pictures and sentences; of the demo without any its own scene, which is written."""
    from ..apis import check_sentences
    from ..apis.asked import Asked, Picture, find_questions
    from ..apis.prediction_files import write_scene
    from ..synthrs.generation.generate import make_scene

    if args.given or args.questions:
        asked = find_questions(args.given, sentences=args.sentences, questions=args.questions)
        for one in asked:
            check_sentences(one.sentences)
        return asked
    scene, spoken = make_scene(seed=0, split='test', index=SCENE, per_level=1)
    path = make_folder(args.out) / 'scene.png'
    write_scene(path, scene.image, overwrite=args.overwrite)
    sentences = [sentence.text for sentence in spoken]
    ids = [f'scene_{k}' for k in range(1, len(sentences) + 1)]
    return [Asked(Picture(str(path), 'scene'), sentences, ids)]


def window_of_arguments(args: argparse.Namespace, source: 'Source') -> 'Window | None':
    """The part to look at; None: all."""
    from ..rasters import Window, check_inside, window_of

    if args.window is not None:
        window = Window(*args.window)
        check_inside(window, source.shape, source.name)
        return window
    if args.bounds is not None and source.raster is not None:
        return window_of(source.raster, tuple(args.bounds), lon_lat=args.lon_lat)
    return None


def model_mark(config: 'Config', checkpoint: str | None) -> str:
    """By which an answer names its model: the first 12 hexadecimal digits of the checkpoint's
    SHA-256; the class of a zero-shot model, which has none."""
    from ..engine.calibration_files import checkpoint_digest

    if checkpoint is None:
        return config.model.type
    return checkpoint_digest(checkpoint)


def how(
    args: argparse.Namespace, config: 'Config', model: str, checkpoint: str | None
) -> dict[str, Any]:
    """What an answer depends on beside its picture and its sentence, as JSON holds it."""
    from ..engine import read_calibration

    options = ('mode', 'window', 'bounds', 'lon_lat', 'gsd', 'bands')
    calibration = None if checkpoint is None else read_calibration(checkpoint)
    return {
        **({} if calibration is None else {'calibration': list(calibration[:2])}),
        'model': model,
        'config': hashlib.sha256(config.pretty_text.encode()).hexdigest()[:12],
        'stretch': None if args.stretch is None else list(args.stretch),
        **{name: getattr(args, name) for name in options},
    }


def progress_bar() -> Callable[[int, int], None]:
    """Shows how many of a sweep's tiles are done, in a terminal."""
    from tqdm import tqdm

    bars: list[Any] = []

    def show(done: int, total: int) -> None:
        if not done:
            bars[:] = [tqdm(total=total, unit='tile', leave=False, disable=None)]
        else:
            bars[0].update()
        if done + 1 == total:
            bars[0].close()

    return show


def answer_all(
    args: argparse.Namespace,
    predictor: 'Predictor',
    source: 'Source',
    one: 'Asked',
    files: 'Files',
    left: Sequence[int],
    done: 'Done',
) -> None:
    """Asks the sentences `left` of a picture, writes and prints each answer."""
    from ..apis.prediction_files import as_text, write_answer
    from ..apis.viewer import Viewer, pixels_of

    window = window_of_arguments(args, source)
    viewer = Viewer(
        predictor,
        source,
        window,
        pixels=pixels_of(source, window, args.gsd),
        memory=round(args.memory * 2**30),
        progress=progress_bar(),
    )
    mode = args.mode or viewer.mode
    print(f'mode {mode}: {viewer.reason(mode)}')
    facts = {'source': as_text(Path(one.picture.path).name), 'model': done.how['model']}
    # A sweep asks all sentences of a tile; else one by one: a mask may be of 100 megapixels.
    for part in [left] if mode == 'sweep' else [[k] for k in left]:
        answers = viewer.ask([one.sentences[k] for k in part], mode)
        for k, answer in zip(part, answers, strict=True):
            own = {'sentence': answer.text, **facts}
            done.begin(files, k)
            found = write_answer(files, k, source, viewer.window, answer, own)
            found |= {'mode': mode, 'confidence': round(answer.confidence, 4)}
            if answer.verdict is not None:
                found['found'] = answer.found
            if answer.unknown:
                found['unknown'] = list(answer.unknown)
            done.add(files, k, answer.text, {**own, **found})
            print(f'"{visible(answer.text)}": {in_words(answer, found)}')
            for name, path in files.of_sentence[k].items():
                print(f'  {name:{max(map(len, files.of_sentence[k]))}}  {path}')


def in_words(answer: 'Answer', found: dict[str, Any]) -> str:
    """What was found, in a line."""
    said = []
    if answer.verdict is not None and not answer.found:
        said.append('not found')
        if answer.verdict.confidence is not None:
            said.append(f'confidence {answer.confidence:.2f}')
    elif not found['pixels']:
        said.append('nothing found')
    else:
        said.append(f'{found["pixels"]} of {found["of"]} pixels')
        if 'polygons' in found:
            said.append(f'{found["polygons"]} polygon{"s" * (found["polygons"] != 1)}')
        said.append(f'confidence {answer.confidence:.2f}')
    if len(answer.looks) > 1:
        said.append(f'{len(answer.looks)} looks')
    if answer.unknown:
        said.append(f'the model does not know {", ".join(map(repr, answer.unknown))}')
    return ', '.join(said)
