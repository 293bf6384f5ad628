"""tools/predict.py and tools/visualize.py, and the gallery that the second one calls."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from rsrefseg2.apis import gather_cases, load_split
from rsrefseg2.engine import load_config, load_model
from rsrefseg2.errors import UserError, make_folder, report_user_errors
from rsrefseg2.synthrs.generation.generate import make_scene


def test_predict_writes_masks_and_panels(run, tiny, root, tmp_path):
    image = root / 'images/rrsisd/JPEGImages/00021.jpg'
    code, printed, _ = run(
        'predict.py',
        image,
        'a red car',
        'a ship',
        '--config',
        tiny.config,
        '--checkpoint',
        tiny.checkpoint,
        '--out',
        tmp_path / 'new/out',
        '--device',
        'cpu',
    )
    assert code == 0
    written = sorted((tmp_path / 'new/out').iterdir())
    assert [path.name for path in written] == [
        '00021_1_mask.png',
        '00021_1_panel.png',
        '00021_2_mask.png',
        '00021_2_panel.png',
        'answers.jsonl',
    ]
    assert all(str(path) in printed for path in written[:4])
    mask = Image.open(written[0])
    assert mask.mode == 'L' and mask.size == (64, 48)
    assert set(np.unique(mask)) <= {0, 255}


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(image='missing.png'), "'missing.png': the image does not exist"),
        (dict(sentence=' '), 'sentence 1 of 1 is empty'),
        (dict(config='missing.py'), 'missing.py'),
        (dict(checkpoint='missing.pth'), 'missing.pth'),
        (dict(out=__file__), 'cannot make the folder'),
        (dict(device='abacus'), 'abacus'),
    ],
)
def test_predict_reports_bad_input_in_one_line(run, tiny, root, tmp_path, change, message):
    given = dict(
        image=root / 'images/rrsisd/JPEGImages/00021.jpg',
        sentence='a car',
        device='cpu',
        config=tiny.config,
        checkpoint=tiny.checkpoint,
        out=tmp_path / 'out',
    )
    given.update(change)
    code, _, error = run(
        'predict.py',
        given.pop('image'),
        given.pop('sentence'),
        *(part for key, value in given.items() for part in (f'--{key}', value)),
    )
    assert code == 1
    (line,) = error.strip().splitlines()
    assert line.startswith('error: ') and message in line


@pytest.fixture(scope='module')
def model(tiny):
    return load_model(load_config(tiny.config), tiny.checkpoint, 'cpu')


@pytest.fixture
def ask(run, tiny, model, root, tmp_path, monkeypatch):
    """predict.py in a folder with the picture x.jpg: exit code, stdout, stderr."""
    shutil.copy(root / 'images/rrsisd/JPEGImages/00021.jpg', tmp_path / 'x.jpg')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('rsrefseg2.engine.load_model', lambda *_: model)
    return lambda *given: run(
        'predict.py',
        *given,
        '--config',
        tiny.config,
        '--checkpoint',
        tiny.checkpoint,
        '--device',
        'cpu',
    )


def put_file(path):
    path.write_text('mine')


def put_link(path):
    path.symlink_to('x.jpg')


def put_answer_of_another(path):
    Image.new('L', (3, 3)).save(path)


def identity(path):
    """What a replaced file changes; not the time of access, which reading changes."""
    status = os.lstat(path)
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


@pytest.mark.parametrize('put', [put_file, put_link, put_answer_of_another, Path.mkdir, os.mkfifo])
@pytest.mark.parametrize('name', ['x_1_mask.png', 'x_2_panel.png'])
def test_predict_replaces_nothing_of_others(ask, tmp_path, put, name, monkeypatch):
    monkeypatch.setattr('rsrefseg2.engine.load_model', lambda *_: pytest.fail('too late'))
    put(tmp_path / name)
    before = identity(tmp_path / name)
    code, _, error = ask('x.jpg', 'a car', 'a ship', '--out', '.')
    assert code == 1 and name in error and len(error.splitlines()) == 1
    assert identity(tmp_path / name) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(['x.jpg', name])


def test_predict_replaces_its_own_and_what_it_may(ask, tmp_path):
    picture = (tmp_path / 'x.jpg').read_bytes()
    (tmp_path / 'x_1_mask.png').symlink_to('x.jpg')
    assert ask('x.jpg', 'a car', '--out', '.', '--overwrite')[0] == 0
    assert not (tmp_path / 'x_1_mask.png').is_symlink()
    assert ask('x.jpg', 'a ship', '--out', '.')[0] == 0
    Image.open('x.jpg').rotate(90).save('x.png')
    code, _, error = ask('x.png', 'a ship', '--out', '.')
    assert code == 1 and 'x_1_mask.png is there' in error
    assert (tmp_path / 'x.jpg').read_bytes() == picture


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        (('x.jpg', 'sub/x.png', 'a ship'), 'would both write'),
        (('x.jpg', 'x_1_mask.png', 'a ship'), 'is one of the pictures'),
        (('x.jpg', 'a ship', 'sub/x.png'), 'behind the sentence'),
        (('x.jpg', 'notes', 'a ship'), "'notes', is the name of a file"),
        (('*.tif', 'a ship'), "no file fits the pattern '*.tif'"),
        (('x.jpg', 'pipe.png', 'a ship'), 'FIFO'),
        (('x.jpg', 'torn.jpg', 'a ship'), 'torn.jpg'),
        (('x.jpg', 'sub/x.png'), 'no sentence'),
    ],
)
def test_predict_says_what_is_wrong_with_its_pictures(ask, tmp_path, given, says, monkeypatch):
    monkeypatch.setattr('rsrefseg2.engine.load_model', lambda *_: pytest.fail('too late'))
    (tmp_path / 'sub').mkdir()
    for name in ('sub/x.png', 'x_1_mask.png'):
        Image.new('RGB', (9, 9)).save(tmp_path / name)
    (tmp_path / 'notes').write_text('of mine')
    (tmp_path / 'torn.jpg').write_bytes((tmp_path / 'x.jpg').read_bytes()[:-400])
    os.mkfifo(tmp_path / 'pipe.png')
    code, _, error = ask(*given, '--out', '.' if 'x_1_mask.png' in given else 'out')
    assert code == 1 and says in error and len(error.splitlines()) == 1


def test_predict_asks_every_picture_whatever_its_name(ask, tmp_path):
    names = [b'caf\xff', 'é'.encode() * 120, b'a\x1b[31mb', 'é'.encode() * 119 + b'ab']
    pictures = [os.fsdecode(name + b'.jpg') for name in names]
    for picture in pictures:
        shutil.copy('x.jpg', picture)
    code, printed, error = ask(
        *(f'./{picture}' for picture in pictures), 'a \x1b[31m car', '--out', 'out'
    )
    assert code == 0, error
    assert len(list((tmp_path / 'out').glob('*.png'))) == 2 * len(pictures)
    lines = (tmp_path / 'out/answers.jsonl').read_text(encoding='utf-8').splitlines()
    assert [json.loads(line)['sentence'] for line in lines] == ['a \x1b[31m car'] * len(pictures)
    assert '\x1b' not in printed and '\udcff' not in printed
    assert 'a \\x1b[31m car' in printed and 'caf\\xff_1_mask.png' in printed


def test_predict_on_a_full_disk(ask, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, 'save', full)
    code, _, error = ask('x.jpg', 'a car', '--out', 'out')
    assert code == 1 and 'x_1_mask.png: No space left' in error
    assert not list((tmp_path / 'out').iterdir())


def test_the_demo_finds_the_objects_of_its_scene(run, tmp_path):
    """The targets' masks are the scene's own; the demo reads the saved picture the same way."""
    code, printed, error = run('predict.py', '--demo', '--out', tmp_path, '--device', 'cpu')
    assert code == 0, error
    scene, sentences = make_scene(seed=0, split='test', index=1, per_level=1)
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'scene.png')), scene.image)
    for k, sentence in enumerate(sentences, start=1):
        assert f'"{sentence.text}"' in printed
        mask = np.asarray(Image.open(tmp_path / f'scene_{k}_mask.png')) > 0
        target = coco_mask.decode(scene.things[sentence.target].rle) > 0
        assert (mask & target).sum() > 0.6 * (mask | target).sum(), sentence.text
    code, _, error = run(
        'predict.py',
        tmp_path / 'scene.png',
        sentences[1].text,
        '--demo',
        '--out',
        tmp_path / 'own',
        '--device',
        'cpu',
    )
    assert code == 0, error
    assert (tmp_path / 'own/scene_1_mask.png').read_bytes() == (
        tmp_path / 'scene_2_mask.png'
    ).read_bytes()


@pytest.mark.parametrize(
    'arguments',
    [
        ('x.png', 'a ship'),
        ('x.png', 'a ship', '--checkpoint', 'x.pth'),
        (),
        ('--demo', '--config', 'x.py'),
        ('--demo', '--checkpoint', 'x.pth'),
    ],
)
def test_predict_says_what_it_needs(run, arguments):
    code, _, error = run('predict.py', *arguments)
    assert code == 2 and '--demo' in error.splitlines()[-1]


@pytest.mark.parametrize('tool', ['predict.py', 'visualize.py'])
@pytest.mark.parametrize(
    'error',
    [
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB'),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_little_memory_for_a_prediction(run, tiny, root, tmp_path, monkeypatch, tool, error):
    def segment(*args, **kwargs):
        raise error

    monkeypatch.setattr('rsrefseg2.models.RSRefSeg2.segment', segment)
    given = (
        [
            root / 'images/rrsisd/JPEGImages/00021.jpg',
            'a car',
            '--config',
            tiny.config,
            '--checkpoint',
            tiny.checkpoint,
        ]
        if tool == 'predict.py'
        else [tiny.config, tiny.checkpoint]
    )
    code, _, printed = run(tool, *given, '--out', tmp_path, '--device', 'cpu')
    (line,) = [line for line in printed.splitlines() if line.startswith('error: ')]
    assert code == 1 and 'Traceback' not in printed
    assert 'out of memory in prediction' in line and '--device' in line


def test_other_errors_pass(tmp_path):
    with pytest.raises(KeyError), report_user_errors():
        raise KeyError('ours')
    assert make_folder(tmp_path / 'a/b').is_dir()


def test_panels_writes_pictures_and_page(run, tiny, tmp_path, tmp_path_factory):
    scores = tmp_path_factory.mktemp('scores') / 'scores.json'
    scores.write_text('{"gIoU": 12.34, "shuffled": 5.6, "by_level": {}}')
    code, printed, _ = run(
        'visualize.py',
        tiny.config,
        tiny.checkpoint,
        '--out',
        tmp_path,
        '--split',
        'train',
        '--max',
        3,
        '--device',
        'cpu',
        '--scores',
        scores,
    )
    assert code == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 4 and names[-1] == 'index.html' and str(tmp_path / names[-1]) in printed
    page = (tmp_path / 'index.html').read_text(encoding='utf-8')
    assert page.count('<figure') == 3 and 'protocol paper' in page
    assert '<dt>gIoU</dt><dd>12.34</dd>' in page
    assert '<dt>gIoU with exchanged sentences</dt><dd>5.60</dd>' in page


def test_panels_reports_bad_input_in_one_line(run, tiny, tmp_path):
    (tmp_path / 'scores.json').write_text('{')
    for options, message in (
        (('--split', 'val'), 'no val_dataloader'),
        (('--scores', tmp_path / 'scores.json'), 'scores.json: no JSON'),
        (('--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}/x'), 'does not exist'),
    ):
        code, _, error = run(
            'visualize.py', tiny.config, tiny.checkpoint, '--out', tmp_path, *options
        )
        (line,) = error.strip().splitlines()
        assert code == 1 and line.startswith('error: ') and message in line


def test_worst_are_the_lowest(tiny, model):
    dataset = load_split(load_config(tiny.config), 'train')
    every = gather_cases(model, dataset, n=100, batch_size=3)
    assert [case.sample_id for case in every] == ['1040', '1003', '1004', '1011']
    assert len({case.iou for case in every}) > 1
    worst = gather_cases(model, dataset, n=2, worst=True, batch_size=3)
    assert [case.iou for case in worst] == sorted(case.iou for case in every)[:2]
    assert every[0].group == 'vehicle'
    levels = {'1040': 'relation'}
    grouped = gather_cases(model, dataset, n=2, groups=levels)
    assert [case.group for case in grouped] == ['relation', '']


def test_a_split_that_the_config_lacks(tiny):
    with pytest.raises(UserError, match='no val_dataloader'):
        load_split(load_config(tiny.config), 'val')
