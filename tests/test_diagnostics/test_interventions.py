"""Interventions on answers that are known, the oracle on a decoder that is known, and the tool."""

import itertools
import json
import zlib
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.diagnostics.interventions import (
    PIXELS,
    Answer,
    dilate,
    erode,
    intervention_tables,
    measure_interventions,
    run_scenes,
    shift,
)
from rsrefseg2.diagnostics.oracle import MAGNITUDES, oracle_scores, oracle_table
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import Thresholds
from rsrefseg2.models.ref_seg_model import RefSegModel
from rsrefseg2.synthrs.generation.build import build
from tests.synthrs_data import recipe

LIMITS = Thresholds(0.5, 0.5, 100, 'by hand')
HOW = ('erode', 'dilate', 'shift')


# ---------------------------------------------------------------------- the changes


@pytest.mark.parametrize('pixels', [1, 2, 5])
def test_erode_and_dilate_by_the_definition(pixels):
    logits = np.random.default_rng(pixels).normal(size=(13, 17)).astype(np.float32)
    for (i, j), _ in np.ndenumerate(logits):
        near = [
            logits[k, n]
            for k, n in itertools.product(range(13), range(17))
            if (k - i) ** 2 + (n - j) ** 2 <= pixels**2
        ]
        assert erode(logits, pixels, 'a')[i, j] == min(near)
        assert dilate(logits, pixels, 'a')[i, j] == max(near)


def test_shift_moves_by_its_length_and_keeps_its_direction():
    logits = np.full((101, 101), -7, np.float32)
    logits[50, 50] = 3
    moved = set()
    for name in 'abcdef':
        turns = []
        for pixels in (8, 30):
            found = shift(logits, pixels, name)
            (place,) = np.argwhere(found == 3)
            assert set(np.unique(found)) == {-7, 3}
            assert np.hypot(*(place - 50)) == pytest.approx(pixels, abs=1)
            turns.append(np.arctan2(*(place - 50)))
        assert np.cos(turns[0] - turns[1]) > 0.98
        moved.add(round(turns[1], 1))
    assert len(moved) > 3
    assert (shift(logits, 90, 'a') == -7).all()  # out of the image: the lowest logit moves in


# ---------------------------------------------------------------------- measured on known answers


def scenes(dataset, *, points_at=lambda a, others: a, wrong=()):
    """Answers that draw every target but those of `wrong`; the dense prompt marks the object that
    points_at(target, other targets of the scene) names."""
    for scene in read_scenes(dataset, 'test'):
        masks = {
            s['keys']['rrsisd']: coco_mask.decode(scene['objects'][s['target']]['rle']) > 0
            for s in scene['sentences']
        }
        found = []
        for name, gt in masks.items():
            others = [m for m in masks.values() if not (m & gt).any()]
            marked = points_at(gt, others)
            small = marked.reshape(32, 4, 32, 4).mean((1, 3))
            drawn = -np.ones(gt.shape) if name in wrong else 2.0 * gt - 1
            found.append(Answer(name, gt, drawn.astype(np.float32), (8 * small - 4).astype('f')))
        yield found


def rows_of(result, definition, *names):
    return [row for row in result['interventions'][definition] if row['intervention'] in names]


def test_a_model_that_points_right_is_attributed_right(dataset):
    answers = list(scenes(dataset))
    result = measure_interventions(answers, LIMITS)
    total = sum(map(len, answers))
    assert result['samples'] == result['right'] == total
    assert (
        result['pairs']
        == sum(
            not (a.gt & b.gt).any()
            for scene in answers
            for a, b in itertools.permutations(scene, 2)
        )
        > 5
    )
    for row in rows_of(result, 'dense prompt', *HOW):
        assert row['changed'] == total and row['failures'] <= total
        assert row['how'] == row['failures'] and row['correct'] in (100, None)
    for definition in ('dense prompt', 'prediction'):
        exchanged = rows_of(result, definition, 'exchange')
        assert sum(row['changed'] for row in exchanged) == result['pairs']
        assert all(row['failures'] == row['where'] == row['changed'] for row in exchanged)
    strongest = {
        row['intervention']: row
        for row in rows_of(result, 'prediction', *HOW)
        if row['pixels'] == max(PIXELS)
    }
    # what is gone or lies elsewhere cannot be seen in the prediction
    assert strongest['erode']['undecided'] == strongest['erode']['failures'] == total
    assert strongest['shift']['where'] > 0
    # a wrong place and a mask that is gone
    both = rows_of(result, 'dense prompt', 'exchange + erode')
    assert both[-1]['pixels'] == max(PIXELS) and both[-1]['both'] == result['pairs']
    assert not rows_of(result, 'prediction', 'exchange + erode')


def test_what_was_wrong_before_is_not_changed(dataset):
    answers = list(scenes(dataset))
    wrong = {a.sample_id for scene in answers for a in scene[:2]}
    result = measure_interventions(scenes(dataset, wrong=wrong), LIMITS)
    assert result['right'] == result['samples'] - len(wrong)
    assert result['pairs'] == 0  # one sentence a scene is left
    assert all(row['changed'] == result['right'] for row in rows_of(result, 'prediction', *HOW))


def test_a_dense_prompt_that_misleads_is_not_told_right(dataset):
    """The measurement can fail: the model draws the target while it marks something else."""

    def elsewhere(gt, others):
        return others[0] if others else np.roll(gt, 64, axis=0)

    result = measure_interventions(scenes(dataset, points_at=elsewhere), LIMITS)
    rows = rows_of(result, 'dense prompt', *HOW)
    assert sum(row['failures'] for row in rows) > 50
    assert sum(row['how'] for row in rows) == 0


# ---------------------------------------------------------------------- a model that is known


class Squashing:
    """A preprocessor that passes samples on, and puts no border around them."""

    def __call__(self, batch):
        return dict(inputs=batch['data_samples'], data_samples=batch['data_samples'])

    def crop_border(self, maps, shape):
        return maps

    def add_border(self, mask):
        return mask


class Knows(torch.nn.Module):
    """Points and draws from the annotation, with noise; one sample in six is drawn empty. Its mask
    generator returns the dense prompt, less one for each sparse token."""

    def __init__(self, dense=True):
        super().__init__()
        self.prompter = SimpleNamespace(dense=dense or None)
        self.data_preprocessor = Squashing()
        parts = SimpleNamespace(
            upsample_via_sam_input=False, data_preprocessor=self.data_preprocessor
        )
        parts.without_border = partial(RefSegModel.without_border, parts)
        self.masks = partial(RefSegModel.masks, parts)

    def forward(self, samples, mode):
        dense, drawn = [], []
        for sample in samples:
            key = zlib.crc32(sample.sample_id.encode())
            noise = torch.randn(32, 32, generator=torch.Generator().manual_seed(key))
            gt = sample.gt_mask.float()
            dense.append(8 * gt.reshape(32, 4, 32, 4).mean((1, 3)) - 4 + noise)
            drawn.append(-torch.ones_like(gt) if key % 6 == 0 else 2 * gt - 1)
        images = SimpleNamespace(
            image_embeddings=torch.zeros(1, 2, 8, 8),
            high_resolution_features=[torch.zeros(1, 1, 32, 32)],
        )
        prompts = SimpleNamespace(p_dense=torch.stack(dense), p_sparse=torch.ones(len(dense), 3, 2))
        return SimpleNamespace(
            images=images,
            image_index=torch.zeros(len(dense), dtype=int),
            prompts=prompts,
            mask_logits=torch.stack(drawn),
        )

    def precision(self, device):
        return nullcontext()

    def mask_generator(self, embeddings, features, p_sparse, p_dense):
        assert len(embeddings) == len(features[0]) == len(p_sparse) == len(p_dense)
        return p_dense - p_sparse.shape[1]


@pytest.fixture(scope='module')
def many(tmp_path_factory):
    """Enough of the val split for thresholds."""
    out = tmp_path_factory.mktemp('many') / 'synthrs'
    build(out, recipe(scenes={'train': 1, 'val': 18, 'test': 5}, layouts=('rrsisd',)))
    return out


def load(root, split, monkeypatch):
    from rsrefseg2.apis import load_split
    from rsrefseg2.engine import load_config

    monkeypatch.setenv('RSREFSEG2_DATA', str(root.parent))
    return load_split(load_config('configs/synthrs_tiny.py'), split)


def test_oracle_prompts_with_the_target(many, monkeypatch):
    data = load(many, 'test', monkeypatch)
    rows = {
        (row['sparse'], row['dense']): row
        for row in oracle_scores(Knows(), run_scenes(Knows(), data))
    }
    assert set(rows) == {(s, d) for s in ('own', 'none') for d in ('own', *MAGNITUDES)}
    # without sparse tokens the target comes back, but for the coarseness of its cells
    expected = []
    for scene in read_scenes(many, 'test'):
        for sentence in scene['sentences']:
            gt = coco_mask.decode(scene['objects'][sentence['target']]['rle'])
            small = gt.reshape(32, 4, 32, 4).mean((1, 3))
            drawn = (
                np.asarray(
                    torch.nn.functional.interpolate(
                        torch.from_numpy(2 * small - 1)[None, None], (128, 128), mode='bilinear'
                    )[0, 0]
                )
                > 0
            )
            expected.append((drawn & (gt > 0)).sum() / (drawn | (gt > 0)).sum())
    for m in MAGNITUDES:
        assert rows['none', m]['gIoU'] == pytest.approx(100 * np.mean(expected), abs=0.5)
    assert rows['none', 1]['gIoU'] > 75
    # three tokens take 3 from the logits: no magnitude below it draws anything
    assert [rows['own', m]['gIoU'] == 0 for m in MAGNITUDES] == [m < 3 for m in MAGNITUDES]
    assert set(rows['none', 4]['gIoU_by_kind']) == {'attribute', 'position', 'relation'}


def test_intervene_tool(many, monkeypatch, run, tmp_path):
    monkeypatch.setenv('RSREFSEG2_DATA', str(many.parent))
    monkeypatch.setattr('rsrefseg2.engine.load_model', lambda *args: Knows())
    arguments = 'analysis/failure_drill.py', 'configs/synthrs_tiny.py', 'none.pth'
    code, printed, _ = run(*arguments, '--json', '--plot', tmp_path / 'new/curves.png')
    result = json.loads(printed)
    assert code == 0 and result['split'] == 'test' and result['samples'] == 15
    assert 40 <= result['thresholds']['successes'] < 54
    assert 8 < result['right'] < 15
    for row in rows_of(result, 'dense prompt', *HOW, 'exchange'):
        assert row['correct'] is None or row['correct'] > 80
    picture = np.asarray(Image.open(tmp_path / 'new/curves.png').convert('RGB'))
    assert (picture == (213, 94, 0)).all(-1).any() and (picture == (0, 158, 115)).all(-1).any()

    printed = '\n'.join([*intervention_tables(result), oracle_table(result['oracle'])])
    assert 'exchange, any distance' in printed and 'none, 0.5' in printed
    code, _, error = run(*arguments, '--split', 'val')
    assert code == 2 and 'another split' in error


def test_a_model_without_dense_prompt_is_refused(many, monkeypatch):
    with pytest.raises(UserError, match='no dense prompt'):
        next(run_scenes(Knows(dense=False), load(many, 'test', monkeypatch)))
