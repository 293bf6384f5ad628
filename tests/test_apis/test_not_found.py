"""A calibrated model says "not found" and how sure it is: Predictor, Viewer, predict, the web page, and
the test; without a calibration nothing changes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.apis import Predictor, Viewer
from rsrefseg2.apis.predictor import Verdict
from rsrefseg2.apis.sources import open_source
from rsrefseg2.apis.viewer import confidence_of, surer
from rsrefseg2.apis.web_page.session import Reply
from rsrefseg2.apis.web_page.words import reply_html
from rsrefseg2.cli import run_command
from rsrefseg2.engine import calibration_path, load_config, read_calibration, write_calibration
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import Calibration

HEADS = {'model.sam.score_heads': ['iou', 'object']}
SENTENCES = ['the red car on the left', 'a ship', 'the plane', 'the dam', 'the bridge on the right']
WEIGHTS = (0.3, 1.2, 0.4, 0.8)


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def checkpoint(tiny, tmp_path):
    """A copy, so that each test calibrates its own."""
    return shutil.copy(tiny.checkpoint, tmp_path / 'model.pth')


def predictor_of(tiny, checkpoint, options=HEADS):
    return Predictor(load_config(tiny.config, options=options), checkpoint, 'cpu')


@pytest.fixture
def threshold(tiny, checkpoint, image):
    """Between the presences of the second and the third of five sentences."""
    predictor = predictor_of(tiny, checkpoint)
    found = predictor.segment_scored(SENTENCES, predictor.encode(image))
    presences = sorted(one.presence for one in found)
    assert presences[1] < presences[2]
    return (presences[1] + presences[2]) / 2


def calibrate(checkpoint, threshold):
    return write_calibration(Calibration(WEIGHTS, threshold, 100, 'val.jsonl'), checkpoint)


def test_the_file_lies_beside_the_checkpoint(checkpoint, tmp_path):
    assert read_calibration(checkpoint) is None
    path = calibrate(checkpoint, 0.25)
    assert path == tmp_path / 'model.calibration.json' == calibration_path(checkpoint)
    assert read_calibration(checkpoint) == Calibration(WEIGHTS, 0.25, 100, 'val.jsonl')
    other = tmp_path / 'other.pth'
    other.write_bytes(b'another')
    shutil.copy(path, calibration_path(other))
    with pytest.raises(UserError, match='is of another checkpoint than .*: calibrate again'):
        read_calibration(other)
    path.write_text(json.dumps(dict(json.loads(path.read_text()), presence_threshold=2)))
    with pytest.raises(UserError, match='presence_threshold'):
        read_calibration(checkpoint)


def test_the_predictor(tiny, checkpoint, image, threshold):
    plain = predictor_of(tiny, checkpoint, {}).set_image(image).predict(SENTENCES)
    heads = predictor_of(tiny, checkpoint).set_image(image).predict(SENTENCES)
    for before, after in zip(plain, heads, strict=True):
        assert before.verdict is after.verdict is None  # without a calibration nothing changes
        assert np.array_equal(before.mask, after.mask)
    calibrate(checkpoint, threshold)
    predictor = predictor_of(tiny, checkpoint)
    scored = predictor.segment_scored(SENTENCES, predictor.encode(image))
    answers = predictor.set_image(image).predict(SENTENCES)
    assert sum(one.presence < threshold for one in scored) == 2
    for before, answer, one in zip(plain, answers, scored, strict=True):
        found = one.presence >= threshold
        assert np.array_equal(answer.mask, before.mask & found)
        assert np.array_equal(answer.logits, before.logits)
        assert answer.verdict.found == (found and bool(before.mask.any()))
        p = np.array([one.presence, one.predicted_iou])
        mean = (1 / (1 + np.exp(-before.logits[before.mask].astype(float)))).mean()
        p = np.append(p, mean)
        z = WEIGHTS[0] + np.dot(WEIGHTS[1:], np.log(p / (1 - p)))
        assert answer.verdict.confidence == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-4)
    with pytest.raises(UserError, match='has not the heads that it is of'):
        predictor_of(tiny, checkpoint, {})


@pytest.mark.parametrize('mode', ['whole', 'zoom', 'sweep'])
def test_the_viewer(tiny, checkpoint, image, mode):
    large = np.kron(image, np.ones((4, 4, 1), np.uint8))
    before = Viewer(predictor_of(tiny, checkpoint), open_source(large)).ask(SENTENCES, mode)
    for threshold in (0.0, 1.0):
        calibrate(checkpoint, threshold)
        viewer = Viewer(predictor_of(tiny, checkpoint), open_source(large))
        for plain, answer in zip(before, viewer.ask(SENTENCES, mode), strict=True):
            whole = slice(0, 240), slice(0, 320)
            logits = answer.surface.at(*whole)
            assert 0 <= answer.confidence == answer.verdict.confidence <= 1
            if threshold:
                assert not answer.found and not (logits > 0).any() and len(answer.looks) == 1
            else:
                assert answer.found == plain.found and answer.looks == plain.looks
                assert np.array_equal(logits, plain.surface.at(*whole))
        calibration_path(checkpoint).unlink()


def test_of_a_sweeps_tiles_the_surest_counts():
    sure, unsure, none = Verdict(True, 0.4), Verdict(True, 0.3), Verdict(False, 0.9)
    assert surer(None, sure) == surer(sure, unsure) == surer(none, sure) == sure
    assert surer(none, Verdict(False, 0.1)) == none
    assert confidence_of(np.full((2, 2), -1.0), np.ones((2, 2), bool)) == 0


def predict(tiny, checkpoint, picture, out, capsys, *options):
    arguments = [str(picture), *SENTENCES[:1], '--config', tiny.config, '--device', 'cpu']
    arguments += ['--checkpoint', str(checkpoint), '--out', str(out)]
    run_command('predict', [*arguments, '--cfg-options', *options])
    line = json.loads((out / 'answers.jsonl').read_text().splitlines()[-1])
    return capsys.readouterr().out, line


def test_predict(tiny, checkpoint, image, tmp_path, capsys):
    picture = tmp_path / 'picture.png'
    Image.fromarray(image).save(picture)
    options = ['model.sam.score_heads=[iou,object]']
    out = tmp_path / 'out'
    said, line = predict(tiny, checkpoint, picture, out, capsys, *options)
    assert 'not found' not in said and 'found' not in line
    mask = np.asarray(Image.open(out / 'picture_1_mask.png'))
    assert mask.any()
    calibrate(checkpoint, 1.0)  # asked anew: the answer depends on it
    said, line = predict(tiny, checkpoint, picture, out, capsys, *options)
    assert f'not found, confidence {line["confidence"]:.2f}' in said and line['found'] is False
    assert line['pixels'] == 0 and not np.asarray(Image.open(out / 'picture_1_mask.png')).any()
    calibrate(checkpoint, 0.0)
    said, line = predict(tiny, checkpoint, picture, out, capsys, *options)
    assert f'confidence {line["confidence"]:.2f}' in said and line['found'] is True
    assert np.array_equal(np.asarray(Image.open(out / 'picture_1_mask.png')), mask)


def test_the_web_page(tiny, checkpoint, image):
    calibrate(checkpoint, 1.0)
    viewer = Viewer(predictor_of(tiny, checkpoint), open_source(image))
    (answer,) = viewer.ask('a ship', 'whole')
    said = reply_html(Reply(answer, 'whole', []))
    assert '<b>Not found.</b>' in said
    assert f'Confidence of a mask {round(100 * answer.confidence)} %.' in said


LOADER = """
    batch_size=4, collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'), """
TESTED = """
test_evaluator = dict(type='RefSegMetric')
test_cfg = dict(type='RefSegTestLoop')
"""
RUNTIME = Path(__file__).resolve().parents[2] / 'configs/_base_/default_runtime.py'


def test_the_test_takes_the_threshold(tiny, checkpoint, tmp_path, capsys):
    config = tmp_path / 'tested.py'
    own = Path(tiny.config).read_text().replace("default_scope = 'rsrefseg2'", '')
    own = own.partition('train_dataloader')[0].replace(
        'test_dataloader = dict(', 'test_dataloader = dict(' + LOADER
    )
    config.write_text(f'_base_ = {str(RUNTIME)!r}{own}{TESTED}')

    def lines(*options):
        dump = tmp_path / 'dump.jsonl'
        arguments = [str(config), str(checkpoint), '--work-dir', str(tmp_path), '--dump', str(dump)]
        options = ['model.sam.score_heads=[iou,object]', *options]
        run_command('test', [*arguments, '--overwrite', '--cfg-options', *options])
        capsys.readouterr()
        found = [json.loads(line) for line in dump.read_text().splitlines()]
        found[0].pop('test')  # names the config
        return found

    before = lines()
    assert all('drawn' not in line and 0 < line['presence'] < 1 for line in before)
    calibrate(checkpoint, 1.0)
    found = lines()
    for plain, line in zip(before, found, strict=True):
        assert line['drawn'] == plain['prediction'] and line['intersection'] == 0
        assert line['presence'] == plain['presence']
    assert [line['prediction'] for line in found] != [line['prediction'] for line in before]
    assert lines('model.presence_threshold=None') == before
