"""Segment what one or more sentences refer to, in one's own image.

    python tools/predict.py IMAGE "a sentence" ["another" ...] --config CONFIG --checkpoint PTH
                            [--out DIR] [--device cpu] [--cfg-options KEY=VALUE ...]
    python tools/predict.py [IMAGE "a sentence" ...] --demo

--demo: the tiny model in demo/, which knows SynthRS's pictures and words alone, and of those not
all; without IMAGE it is asked a test scene's own sentences, and the scene is DIR/scene.png.

Writes for sentence k: <image>_<k>_mask.png (0 and 255, the image's size) and <image>_<k>_panel.png.
"""
import argparse
from pathlib import Path

from mmengine.config import DictAction
from PIL import Image

from rsrefseg2.apis import Predictor, check_sentences
from rsrefseg2.datasets import read_image
from rsrefseg2.engine import explain_out_of_memory, load_config
from rsrefseg2.errors import UserError, make_folder, report_user_errors
from rsrefseg2.synthrs.generate import make_scene
from rsrefseg2.visualization import panel

DEMO = Path(__file__).resolve().parents[1] / 'demo'
SCENE = 1  # all three found (IoU above 0.6), as in 98 of the 250 scenes; of scene 0 one


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image', nargs='?', help='file to look at')
    parser.add_argument('sentences', nargs='*', help='what to look for')
    parser.add_argument('--config')
    parser.add_argument('--checkpoint')
    parser.add_argument('--demo', action='store_true', help='the tiny model that is shipped')
    parser.add_argument('--out', default='predictions', help='folder to write to (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: a GPU if there is one)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    if args.demo and (args.config or args.checkpoint):
        parser.error('--demo has its own config and checkpoint')
    if not args.demo and not (args.image and args.config and args.checkpoint):
        parser.error('IMAGE, --config and --checkpoint are needed; or --demo')
    return args


def demo_model() -> tuple[str, str]:
    """Config and checkpoint of the published folder in demo/."""
    configs, checkpoints = (sorted(DEMO.glob(name)) for name in ('*.py', '*.pth'))
    if (len(configs), len(checkpoints)) != (1, 1):
        raise UserError(f'{DEMO} holds {len(configs)} configs and {len(checkpoints)} checkpoints, '
                        'where it should hold one of each: it is a part of the repository')
    return str(configs[0]), str(checkpoints[0])


@report_user_errors()
def main() -> None:
    args = parse_args()
    if args.demo:
        args.config, args.checkpoint = demo_model()
    if args.image is None:
        scene, spoken = make_scene(seed=0, split='test', index=SCENE, per_level=1)
        args.image = make_folder(args.out) / 'scene.png'
        args.sentences = [sentence.text for sentence in spoken]
        Image.fromarray(scene.image).save(args.image)
    image = read_image(args.image)  # what can be wrong is looked at before the model is loaded
    sentences = check_sentences(args.sentences)
    config = load_config(args.config, options=args.cfg_options)
    out = make_folder(args.out)

    with explain_out_of_memory(config):
        predictor = Predictor(config, args.checkpoint, args.device).set_image(image)
        for k, answer in enumerate(predictor.predict(sentences), start=1):
            stem = out / f'{Path(args.image).stem}_{k}'
            Image.fromarray(answer.mask).convert('L').save(f'{stem}_mask.png')
            Image.fromarray(panel(image, answer.text, pred_mask=answer.mask, note=str(args.image),
                                  dense_prompt=answer.dense_prompt)).save(f'{stem}_panel.png')
            print(f'"{answer.text}": {int(answer.mask.sum())} of {answer.mask.size} pixels\n'
                  f'  mask   {stem}_mask.png\n  panel  {stem}_panel.png')


if __name__ == '__main__':
    main()
