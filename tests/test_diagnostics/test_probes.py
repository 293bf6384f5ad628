"""Linear probes: against least squares and pairs counted by hand, on features in which the answer
was planted, and the tool on a model of this project."""

import itertools
import json

import numpy as np
import pytest
import torch

from rsrefseg2.diagnostics.probes import (
    PLACE_WORDS,
    Read,
    Ridge,
    named_objects,
    probe,
    probe_tables,
    roc_area,
)
from rsrefseg2.synthrs.generation.build import build
from rsrefseg2.synthrs.generation.language import Phrase, Relation
from rsrefseg2.synthrs.generation.wording import NAMES, say
from tests.synthrs_data import recipe

H = W = 6


def test_ridge_is_regularised_least_squares():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, generator=g) * torch.tensor([1, 10, 0.1, 3, 1]) + 4
    y = torch.randn(40, 2, generator=g)
    ridge = Ridge(strength=0.3)
    for part in range(0, 40, 8):
        ridge.add(x[part : part + 8], y[part : part + 8])
    ridge.solve()
    a, b = x.double().numpy(), y.double().numpy()
    scaled = (a - a.mean(0)) / a.std(0)
    # rows sqrt(n strength) I with target 0 are the penalty
    w = np.linalg.lstsq(
        np.vstack([scaled, np.sqrt(40 * 0.3) * np.eye(5)]),
        np.vstack([b - b.mean(0), np.zeros((5, 2))]),
        rcond=None,
    )[0]
    np.testing.assert_allclose(ridge(x), scaled @ w + b.mean(0), atol=1e-10)


def test_roc_area_counts_pairs():
    scores = torch.tensor([0.1, 0.4, 0.4, 0.8, 0.2, 0.4])
    positive = torch.tensor([False, True, False, True, False, False])
    pairs = [
        (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
        for i, j in itertools.product(range(6), range(6))
        if positive[i] and not positive[j]
    ]
    assert roc_area(scores, positive) == pytest.approx(float(sum(pairs)) / len(pairs))


def planted(seed, scenes=40):
    """'knows' holds position, target and words besides noise; 'noise' nothing."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid((torch.arange(H) + 0.5) / H, (torch.arange(W) + 0.5) / W, indexing='ij')
    position = torch.stack([x, y], -1).flatten(0, 1)
    for scene in range(scenes):
        target = torch.randint(H * W, (3,), generator=g)
        area = torch.nn.functional.one_hot(target, H * W).float() * 0.7
        said = (torch.rand(3, len(PLACE_WORDS), generator=g) < 0.3).float()
        said[:, PLACE_WORDS.index('above')] = 0  # never said: not asked for
        noise = torch.randn(3, H * W, 8, generator=g)
        mix = torch.linalg.qr(torch.randn(11, 11, generator=torch.Generator().manual_seed(1)))[0]
        knows = torch.cat([noise, position.expand(3, -1, 2), area[..., None]], -1) @ mix
        dense = torch.randn(3, 2 * H, 2 * W, generator=g)
        named = torch.randint(12, (3, 2), generator=g)
        named[0] = -1  # no relation
        planted = torch.nn.functional.one_hot(named[:, 1].clamp(min=0), 12)  # the anchor alone
        yield Read(
            dict(knows=knows, noise=noise),
            dict(knows=torch.cat([said, planted, noise[:, 0]], -1), noise=noise[:, 1]),
            dense,
            area,
            torch.ones_like(dense) if scene % 2 else torch.zeros_like(dense),
            position,
            said,
            named,
            ['position', 'relation', 'position'],
        )


def test_what_was_planted_is_found_and_nothing_else():
    result = probe(planted(0), planted(1))
    assert result['position']['knows'] > 99 and abs(result['position']['noise']) < 3
    target = result['target']
    assert target['knows'] == {'all': 100, 'position': 100, 'relation': 100}
    assert target['chance']['all'] == pytest.approx(100 / 36) and target['noise']['all'] < 15
    assert target['p_dense']['all'] == 50  # every other scene was the target's
    words = result['words']
    assert set(words['knows']) == {'all', *PLACE_WORDS} - {'above'}
    assert words['knows']['all'] > 99 and 35 < words['noise']['all'] < 65
    named = result['named']
    assert named['knows']['anchor'] == 100 and named['knows']['target'] < 30
    assert max(named['noise'].values()) < 30 and min(named['most frequent'].values()) >= 100 / 12
    printed = '\n'.join(probe_tables(result))
    assert 'R^2' in printed and 'p_dense' in printed and 'rightmost' in printed
    assert 'names first' in printed


def test_a_relation_names_its_target_first_and_its_anchor_last():
    names = list(NAMES)
    ship, tank = names.index('ship'), names.index('storage tank')
    assert named_objects('boat closest to the red tank at the top') == (ship, tank)
    assert named_objects('the storage tank that is above the ship') == (tank, ship)
    assert named_objects('the ship on the left') == (-1, -1)  # no relation
    assert named_objects('the chimney above the ship') == (-1, -1)  # one of the two is not known
    rng = np.random.default_rng(0)
    for first, second in itertools.permutations(names, 2):
        said = say(Relation(Phrase(first), 'closest', Phrase(second, colour='red')), rng)
        assert named_objects(said) == (names.index(first), names.index(second)), said


@pytest.fixture(scope='module')
def few(tmp_path_factory):
    out = tmp_path_factory.mktemp('few') / 'synthrs'
    build(out, recipe(scenes={'train': 6, 'val': 1, 'test': 4}, layouts=('rrsisd',)))
    return out


@pytest.mark.parametrize(('kind', 'stages'), [('CascadedPrompter', 4), ('SingleStagePrompter', 3)])
def test_the_tool_reads_every_stage(few, monkeypatch, run, kind, stages):
    from rsrefseg2.registry import MODELS

    monkeypatch.setenv('RSREFSEG2_DATA', str(few.parent))
    option = f'model.prompter.type={kind}'

    def untrained(config, checkpoint, device):
        return MODELS.build(config.model).eval()

    monkeypatch.setattr('rsrefseg2.engine.load_model', untrained)
    torch.manual_seed(0)
    arguments = 'analysis/probe.py', 'configs/synthrs_tiny.py', 'none.pth', '--cfg-options', option
    code, printed, _ = run(*arguments, '--json', '--scenes', '6')
    result = json.loads(printed)
    assert code == 0 and (result['fitted_to'], result['split']) == ('train', 'test')
    assert len(result['position']) == stages
    # the shipped SigLIP has position embeddings; 6 scenes x 144 patches fit them on 96 numbers
    assert result['position']['v'] > 50
    assert set(result['words']) == {
        't_sent',
        't_word, mean',
        *(('t1', 't2', 't1_act', 't2_act') if kind == 'CascadedPrompter' else ()),
    }
    assert set(result['named']) == {*result['words'], 'most frequent'}

    code, _, error = run(*arguments, '--split', 'train')
    assert code == 2 and 'another split' in error
