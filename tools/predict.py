"""Segment what one or more sentences refer to, in one's own image.

    python tools/predict.py IMAGE "a sentence" ["another" ...] --config CONFIG --checkpoint PTH
                            [--out DIR] [--device cpu] [--cfg-options KEY=VALUE ...]

Writes for sentence k: <image>_<k>_mask.png (0 and 255, the image's size) and <image>_<k>_panel.png.
"""
import argparse
from pathlib import Path

from mmengine.config import DictAction
from PIL import Image

from rsrefseg2.apis import Predictor, check_sentences
from rsrefseg2.datasets import read_image
from rsrefseg2.engine import explain_out_of_memory, load_config
from rsrefseg2.errors import make_folder, report_user_errors
from rsrefseg2.visualization import panel


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image', help='file to look at')
    parser.add_argument('sentences', nargs='+', help='what to look for')
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--out', default='predictions', help='folder to write to (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: a GPU if there is one)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
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
