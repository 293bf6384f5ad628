"""The trained baselines from their configs to a mask: train, test, resume, ask, publish."""

import json

import numpy as np
import pytest
import torch

from rsrefseg2.apis import Predictor
from rsrefseg2.cli import main, publish_command
from rsrefseg2.engine import read_checkpoint
from rsrefseg2.errors import UserError
from rsrefseg2.models import LAVT
from rsrefseg2.publishing import load_pretrained
from rsrefseg2.publishing.card_facts import FAMILIES
from rsrefseg2.synthrs.generation.build import build
from tests.shipped import ROOT
from tests.synthrs_data import recipe
from tests.training import train

METHODS = ('lavt', 'lgce', 'rmsin', 'rsrefseg1')
SENTENCES = ['the small red car', 'the large ship on the left', 'the bridge']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('synthrs') / 'data'
    scenes = {'train': 4, 'val': 1, 'test': 2}
    build(out, recipe(scenes=scenes, layouts=('rrsisd',)))
    return out


def options(data):
    loaders = {
        f'{split}_dataloader.dataset.data_root': str(data / 'rrsisd')
        for split in ('train', 'val', 'test')
    }
    return {
        **loaders,
        'train_dataloader.batch_size': 6,
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 2,
        'test_evaluator.data_root': str(data),
    }


def config_of(method):
    return ROOT / f'configs/baselines/synthrs_{method}_tiny.py'


@pytest.fixture(scope='module')
def runs(data, tmp_path_factory):
    """Method -> (record, work dir), each trained once."""
    found = {}

    def run(method):
        if method not in found:
            folder = tmp_path_factory.mktemp(method)
            found[method] = (
                train(config_of(method), folder / method, **options(data)),
                (folder / method),
            )
        return found[method]

    return run


@pytest.mark.parametrize('method', METHODS)
def test_it_is_trained_and_tested(method, runs, data, tmp_path, capsys):
    record, work_dir = runs(method)
    assert len(record.losses) == 2
    assert set(record.losses[0]) == {'loss', 'loss_ce', 'loss_dice'}
    same = [n for n in record.trained if torch.equal(record.start[n], record.end[n])]
    # of a softmax over keys, and of LoRA's A while B is 0
    assert not [
        n for n in same if 'key.bias' not in n and 'k_proj.bias' not in n and 'lora_A' not in n
    ]

    checkpoint = work_dir / 'iter_2.pth'
    given = [f'{key}={value}' for key, value in options(data).items()]
    arguments = ['--work-dir', str(tmp_path), '--dump', str(tmp_path / 'dump.jsonl')]
    main(['test', str(config_of(method)), str(checkpoint), *arguments, '--cfg-options', *given])
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert 0 <= scores['gIoU'] <= 100 and 'object_hit' in str(scores)
    lines = (tmp_path / 'dump.jsonl').read_text().splitlines()
    assert len(lines) >= 6


@pytest.mark.parametrize('method', ['lavt', 'rmsin'])
def test_it_learns_from_data_with_sentences_that_name_nothing(method, tmp_path):
    data = tmp_path / 'data'
    levels = ('attribute', 'position', 'relation', 'none')
    build(
        data, recipe(scenes={'train': 2, 'val': 1, 'test': 1}, layouts=('rrsisd',), levels=levels)
    )
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    given = {**options(data), **{f'{loader}.dataset.no_target': True for loader in loaders}}
    given |= {
        'train_dataloader.batch_size': 8,
        'train_dataloader.batch_sampler.sentences_per_image': 8,
    }
    found = [
        train(
            config_of(method), tmp_path / str(len(names)), **given, **{'model.with_target': names}
        )
        for names in ([], ['seg'])
    ]
    every, with_target = (record.losses[0] for record in found)
    assert np.isfinite([*every.values(), *with_target.values()]).all()
    # Dice of a mask with nothing in it is 1, more than of the others; both draw the same batch
    assert every['loss_dice'] > with_target['loss_dice'] + 0.001


@pytest.mark.parametrize('method', ['rmsin', 'rsrefseg1'])
def test_many_sentences_are_answered_as_one_at_a_time(method, runs):
    predictor = Predictor(
        str(config_of(method)), str(runs(method)[1] / 'iter_2.pth'), 'cpu', batch_size=2
    )
    image = np.random.default_rng(0).integers(0, 255, (150, 200, 3), dtype=np.uint8)
    together = predictor.set_image(image).predict(SENTENCES)
    for sentence, answer in zip(SENTENCES, together, strict=True):
        (alone,) = predictor.predict(sentence)
        np.testing.assert_allclose(alone.logits, answer.logits, rtol=1e-3, atol=1e-3)
        assert answer.mask.shape == (150, 200)
        assert (answer.dense_prompt is None) == (method == 'rmsin')


def test_a_published_baseline_answers_the_same(runs, tmp_path):
    config, checkpoint = str(config_of('rmsin')), runs('rmsin')[1] / 'iter_2.pth'
    main(['publish', config, str(checkpoint), '--out', str(tmp_path / 'model')])
    card = (tmp_path / 'model/README.md').read_text()
    assert 'LAVT, arXiv 2112.02244, with the interactions of RMSIN' in card
    assert 'trained whole' in card and 'shipped with the code' in card
    model = load_pretrained(tmp_path / 'model')
    assert isinstance(model, LAVT)
    held = read_checkpoint(checkpoint)['state_dict']
    assert set(held) == set(model.state_dict())
    assert all(torch.equal(value, held[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        (['--merge-lora'], 'the towers of LAVT are trained whole, without LoRA: drop --merge-lora'),
        (['--adapters'], 'no tower of this model is adapted with LoRA: drop --adapters'),
        (['--sam', 'a/b'], 'this model has no sam: drop it'),
    ],
)
def test_what_a_baseline_has_not_is_not_published(argument, message, runs, tmp_path):
    from rsrefseg2.engine import load_config
    from rsrefseg2.publishing import publish

    given = dict(merge_lora='--merge-lora' in argument, adapters='--adapters' in argument)
    names = {'sam': 'a/b'} if '--sam' in argument else {}
    with pytest.raises(UserError, match=message):
        publish(
            load_config(str(config_of('lavt'))),
            runs('lavt')[1] / 'iter_2.pth',
            tmp_path / 'out',
            names=names,
            **given,
        )
    assert not (tmp_path / 'out').exists()


def test_another_variant_does_not_take_the_checkpoint(runs):
    with pytest.raises(UserError, match=r"here is model\.cross_scale='on' instead of None"):
        Predictor(str(config_of('rmsin')), str(runs('lavt')[1] / 'iter_2.pth'), 'cpu')


def test_the_command_offers_every_family():
    assert publish_command.FAMILIES == FAMILIES
