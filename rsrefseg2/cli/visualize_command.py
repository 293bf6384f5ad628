"""Panels as in Fig. 7 for samples of a split, as PNG files and one self-contained HTML page.

    rsrefseg2 visualize CONFIG CHECKPOINT --out DIR [--split test] [--max 24] [--worst]

Without --worst the samples are spread evenly over the split; with it the whole split is predicted
and the panels are those with the lowest IoU.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import make_folder
from ..files import require_free
from ..options import add_model, add_shared, positive

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model(parser)
    add_shared(parser, 'out', required=True, help='folder to write to')
    add_shared(parser, 'overwrite')
    add_shared(parser, 'split')
    parser.add_argument(
        '--max', type=positive, default=24, metavar='N', help='panels (%(default)s)'
    )
    parser.add_argument('--worst', action='store_true', help='the N samples of lowest IoU')
    parser.add_argument(
        '--scores',
        metavar='JSON',
        help='scores.json of rsrefseg2 test, to stand on top of the page',
    )
    add_shared(parser, 'device')
    add_shared(parser, 'cfg-options')


def read_scores(path: str | None) -> dict[str, float]:
    """The paper's columns of a scores.json and the control's gIoU; empty without one."""
    if path is None:
        return {}
    from ..evaluation import COLUMNS
    from ..publishing.scores_files import percentages, read_scores_file

    scores = percentages(read_scores_file(path, needs=()))
    names = {**{key: key for key in COLUMNS}, 'shuffled': 'gIoU with exchanged sentences'}
    shown = {name: scores[key] for key, name in names.items() if key in scores}
    return {key: math.nan if value is None else value for key, value in shown.items()}


def read_levels(config: Config, split: str) -> dict[str, str] | None:
    """Sample id -> level, where the config scores SynthRS; None: the page filters by category."""
    from ..datasets.scene_files import read_scenes

    evaluator = config.get('test_evaluator')
    if not isinstance(evaluator, dict) or evaluator.get('type') != 'ObjectHitMetric':
        return None
    layout = evaluator.get('layout', 'rrsisd')
    return {
        sentence['keys'][layout]: sentence['level']
        for scene in read_scenes(evaluator.get('data_root', 'data/synthrs'), split)
        for sentence in scene['sentences']
    }


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from ..apis import gather_cases, load_split, write_gallery
    from ..engine import explain_out_of_memory, load_config, load_model
    from ..visualization import MARK

    scores = read_scores(args.scores)
    config = load_config(args.config, options=args.cfg_options)
    dataset = load_split(config, args.split)  # missing data are seen before the model is loaded
    levels = read_levels(config, args.split)
    out = make_folder(args.out)
    require_free(out / 'index.html', mark=MARK, overwrite=args.overwrite)
    with explain_out_of_memory(config):
        model = load_model(config, args.checkpoint, args.device)
        cases = gather_cases(model, dataset, n=args.max, worst=args.worst, groups=levels)
    kind = 'lowest IoU first' if args.worst else 'spread evenly over the split'
    page = write_gallery(
        out,
        cases,
        title=f'{len(cases)} samples of the {args.split} split',
        note=f'{Path(args.config).name} · {Path(args.checkpoint).name} · {kind} · scored at the '
        'original size, logits > 0 (protocol paper)',
        scores=scores,
        overwrite=args.overwrite,
    )
    print(f'{len(cases)} panels in {out}\nopen {page}')
