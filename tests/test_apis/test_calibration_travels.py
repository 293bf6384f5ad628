"""A calibration goes where its model goes: a published folder, the hub, exported graphs."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from rsrefseg2.apis import Predictor
from rsrefseg2.confidence import Calibration
from rsrefseg2.deployment.export_graphs import export
from rsrefseg2.deployment.exported_model import read_description
from rsrefseg2.engine import calibration_path, load_config, read_calibration, write_calibration
from rsrefseg2.engine.checkpoint import trained_keys
from rsrefseg2.errors import UserError
from rsrefseg2.models.towers.fingerprints import tower_sources
from rsrefseg2.publishing import publish
from rsrefseg2.registry import MODELS
from tests.stand_in_hub import serving
from tests.training import write_config

SENTENCES = ['the red car on the left', 'a ship', 'the plane', 'the dam', 'the bridge on the right']
WEIGHTS = (0.3, 1.2, 0.4, 0.8)
HEADS = """
_base_ = {base!r}
model = dict(sam=dict(score_heads=['iou', 'object']))
"""


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def run(tmp_path_factory, towers, rrsisd_root, image):
    """(config, checkpoint) of a model with both heads, calibrated so that it finds some of SENTENCES
    and not others."""
    folder = tmp_path_factory.mktemp('author')
    base = write_config(
        folder / 'base.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )
    config, checkpoint = folder / 'harbour.py', folder / 'harbour.pth'
    config.write_text(HEADS.format(base=str(base)))
    model = MODELS.build(load_config(str(config)).model)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    state = model.state_dict()
    sources = {name: source._asdict() for name, source in tower_sources(model).items()}
    kept = {key: state[key] for key in trained_keys(model)}
    torch.save(dict(state_dict=kept, meta={}, towers=sources), checkpoint)
    predictor = Predictor(str(config), checkpoint, 'cpu')
    found = predictor.segment_scored(SENTENCES, predictor.encode(image))
    presences = sorted(one.presence for one in found)
    assert presences[1] + 1e-4 < presences[2]  # graphs may differ by rounding
    threshold = (presences[1] + presences[2]) / 2
    write_calibration(Calibration(WEIGHTS, threshold, 100, 'val.jsonl'), checkpoint)
    return config, checkpoint


def verdicts(config, checkpoint, image):
    answers = Predictor(str(config), checkpoint, 'cpu').set_image(image).predict(SENTENCES)
    assert {answer.verdict.found for answer in answers} == {True, False}
    return answers


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.verdict.found == other.verdict.found
        assert one.verdict.confidence == pytest.approx(other.verdict.confidence, abs=1e-4)
        assert (one.mask != other.mask).mean() <= 1e-3
        assert one.mask.any() == one.verdict.found


@pytest.mark.parametrize('options', [{}, {'half': True}, {'merge_lora': True}], ids=str)
def test_a_published_folder(run, towers, image, tmp_path, options):
    config, checkpoint = run
    out = tmp_path / 'out'
    done = publish(load_config(str(config)), checkpoint, out, **options)
    weights = out / done.weights
    written = calibration_path(weights)
    assert written.name == done.weights.replace('.pth', '.calibration.json')
    content = json.loads(written.read_text())
    assert (
        content['checkpoint'] != json.loads(calibration_path(checkpoint).read_text())['checkpoint']
    )
    assert read_calibration(weights) == read_calibration(checkpoint)
    card = (out / 'README.md').read_text()
    assert f'`{written.name}`' in card and ('before they were rounded' in card) == (
        'half' in options
    )
    if not options:  # its towers are the author's folders
        (out / 'siglip').symlink_to(towers.siglip)
        (out / 'sam').symlink_to(towers.sam2)
    if 'half' not in options:
        answers = Predictor.from_pretrained(out, 'cpu').set_image(image).predict(SENTENCES)
        assert_same(answers, verdicts(config, checkpoint, image))


def test_without_one_nothing_is_written(run, tmp_path):
    config, checkpoint = run
    plain = tmp_path / 'harbour.pth'
    plain.write_bytes(checkpoint.read_bytes())
    publish(load_config(str(config)), plain, tmp_path / 'out')
    assert not list((tmp_path / 'out').glob('*.json'))
    assert 'calibration' not in (tmp_path / 'out/README.md').read_text()


def test_one_of_another_checkpoint_is_not_published(run, tmp_path):
    config, checkpoint = run
    other = tmp_path / 'harbour.pth'
    other.write_bytes(checkpoint.read_bytes())
    content = json.loads(calibration_path(checkpoint).read_text())
    calibration_path(other).write_text(json.dumps({**content, 'checkpoint': '0' * 12}))
    with pytest.raises(UserError, match='is of another checkpoint than .*: calibrate again'):
        publish(load_config(str(config)), other, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_the_hub(run, image, tmp_path, monkeypatch):
    config, checkpoint = run
    publish(load_config(str(config)), checkpoint, tmp_path / 'out', merge_lora=True)
    monkeypatch.chdir(tmp_path)
    with serving(monkeypatch, tmp_path / 'hub') as hub:
        hub.add_folder('me/model', tmp_path / 'out')
        answers = Predictor.from_pretrained('me/model', 'cpu').set_image(image).predict(SENTENCES)
        assert_same(answers, verdicts(config, checkpoint, image))


@pytest.fixture(scope='module')
def exported(run, tmp_path_factory):
    pytest.importorskip('onnxruntime', reason="pip install 'rsrefseg2[onnx]'")
    pytest.importorskip('onnxscript', reason="pip install 'rsrefseg2[onnx]'")
    config, checkpoint = run
    folder = tmp_path_factory.mktemp('onnx') / 'out'
    export(load_config(str(config)), checkpoint, folder, 'onnx')
    return folder


def test_exported_graphs_say_not_found_as_the_predictor(run, exported, image):
    from rsrefseg2.deployment.onnx_predictor import OnnxPredictor

    description = read_description(exported)
    assert description.calibration == read_calibration(run[1])
    outputs = description.graphs['decoder'].outputs
    assert outputs == ['mask_logits', 'p_dense', 'presence', 'predicted_iou']
    mine = OnnxPredictor(exported, threads=1, batch_size=2)
    assert_same(mine.set_image(image).predict(SENTENCES), verdicts(*run, image))


def test_the_scores_of_the_graphs_are_those_of_the_heads(run, exported, image):
    from rsrefseg2.deployment.onnx_predictor import OnnxPredictor

    theirs = Predictor(*map(str, run), 'cpu')
    expected = theirs.segment_scored(SENTENCES, theirs.encode(image))
    mine = OnnxPredictor(exported, threads=1)
    ids, lengths = mine.tokenize(SENTENCES)
    text = mine._run('text_encoder', {'input_ids': ids, 'lengths': lengths})
    found = mine._run('decoder', {**mine.encode(image).features, **text})
    for name in ('presence', 'predicted_iou'):
        scores = [getattr(one, name) for one in expected]
        np.testing.assert_allclose(found[name], scores, atol=1e-4)
        assert np.ptp(scores) > 1e-3


def test_the_exported_predictor_judges_without_torch(exported):
    code = (
        'import sys, numpy as np\n'
        "sys.modules.update({name: None for name in ('torch', 'mmengine', 'transformers')})\n"
        'from rsrefseg2.deployment.onnx_predictor import OnnxPredictor\n'
        f'predictor = OnnxPredictor({str(exported)!r}, threads=1)\n'
        'predictor.set_image(np.zeros((40, 50, 3), np.uint8))\n'
        "print(0 < predictor.predict('the ship')[0].verdict.confidence < 1)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'True'


def test_a_calibrated_model_without_its_heads_is_not_exported(run, tmp_path):
    config, checkpoint = run
    options = {'model.sam.score_heads': []}
    with pytest.raises(UserError, match='has not the heads that it is of'):
        export(load_config(str(config), options=options), checkpoint, tmp_path / 'out', 'torch')
    assert not (tmp_path / 'out').exists()
