"""Is the anchor of a relation looked for? A reader without it, beside what a model answered."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.scene_files import read_scenes, targets_of
from ..errors import UserError
from ..evaluation import read_dump, score_table
from ..rle import decode
from ..synthrs.generation.solver import NotUnderstood, solve_without_anchor
from .object_metric import hit_object

COLUMNS = (
    'samples',
    'no anchor',
    'model',
    'needing it',
    'model there',
    'chance there',
    'misleading',
    'misled',
)


def anchor_scores(
    dump: str | Path, data_root: str | Path, *, split: str = 'test', layout: str = 'rrsisd'
) -> dict[str, dict[str, float]]:
    """Object hits in percent on level relation, beside those of `solve_without_anchor`.

    Args:
        dump: of `tools/test.py --dump`.
        data_root: the SynthRS folder that was tested on.
    Returns:
        {'all' or a kind of sentence: row}, with these entries. 'no anchor': hits expected of the
        reader without an anchor; 'model': the model's. 'needing it': how many sentences that reader
        does not answer by the target alone; 'model there' its hits on them, 'chance there' those of
        a random object of the category. 'misleading': how many it answers by one other object;
        'misled': in how many of these the model gives that answer.
    Raises:
        UserError: a sample is not in the scenes, a sentence is not one of the generator's, or none
            is of level relation.
    """
    known = {
        sentence['keys'].get(layout): (scene, sentence)
        for scene in read_scenes(Path(data_root), split)
        for sentence in scene['sentences']
    }
    groups: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for record in read_dump(dump):
        if record['id'] not in known:
            raise UserError(
                f"{record['location']}: sample '{record['id']}' is not in {data_root}, "
                f'split {split}, layout {layout}: name the dataset that was tested on'
            )
        scene, sentence = known[record['id']]
        if sentence['level'] == 'relation':
            row = _compare(record, scene, sentence, source=f'{data_root}, split {split}')
            groups['all'].append(row)
            groups[sentence['kind']].append(row)
    if not groups:
        raise UserError(f'{dump} has no sentence of level relation')
    return {kind: _row(np.array(rows, float)) for kind, rows in groups.items()}


def _compare(
    record: dict[str, Any], scene: dict[str, Any], sentence: dict[str, Any], *, source: str
) -> tuple[float, ...]:
    """One sentence, what `_row` takes the mean of: the share of the reader's answers that are
    right; is the model's right; is the anchor needed; the chance; does the reader name one other
    object; does the model give the reader's only answer."""
    place, objects = record['location'], scene['objects']
    (target,) = targets_of(sentence)  # level relation has one
    pred = decode(record['prediction'], location=f'{place} prediction')
    masks = [decode(thing['rle'], location=source) for thing in objects]
    if pred.shape != masks[target].shape:
        raise UserError(
            f"{place}: the prediction is {pred.shape}, the scene's masks are "
            f'{masks[target].shape}: name the dataset that was tested on'
        )
    hit = hit_object(pred, masks)
    try:
        without = solve_without_anchor(sentence['text'], objects, scene['size'])
    except NotUnderstood as error:
        raise UserError(
            f'{place}: {error}: only the sentences of tools/synthrs_generate.py are understood'
        ) from None
    same = sum(thing['category'] == objects[target]['category'] for thing in objects)
    return (
        (target in without) / len(without),
        hit == target,
        without != {target},
        1 / same,
        len(without) == 1 and without != {target},
        without == {hit},
    )


def _row(samples: np.ndarray) -> dict[str, float]:
    without, hit, needing, chance, misleading, same_answer = samples.T
    there, led = needing > 0, misleading > 0
    values = (
        len(samples),
        without.mean(),
        hit.mean(),
        there.sum(),
        hit[there].mean() if there.any() else None,
        chance[there].mean() if there.any() else None,
        led.sum(),
        same_answer[led].mean() if led.any() else None,
    )
    counts = ('samples', 'needing it', 'misleading')
    return {
        name: int(value) if name in counts else 100 * float(value)
        for name, value in zip(COLUMNS, values, strict=True)
        if value is not None
    }


def anchor_table(scores: dict[str, dict[str, float]]) -> str:
    """`anchor_scores` as text."""
    return score_table(
        scores,
        'Object hits on level relation, %: of a reader who never looks for '
        'the anchor, and of the model',
        head='kind',
        columns=COLUMNS,
    )
