"""Exported graphs give the masks of `Predictor`; bad input is one clear line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config
from torch.utils._pytree import tree_leaves

from rsrefseg2.apis import Predictor
from rsrefseg2.deployment.export_graphs import graphs_of, write_graphs
from rsrefseg2.engine import load_config, load_model
from rsrefseg2.synthrs.generation.generate import make_scene

ROOT = Path(__file__).resolve().parents[2]
DEMO = str(ROOT / 'demo/demo_tiny.py'), str(ROOT / 'demo/demo_tiny-30318926.pth')


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """The demo's model, exported by the command."""
    pytest.importorskip('onnxruntime', reason="pip install 'rsrefseg2[onnx]'")
    pytest.importorskip('onnxscript', reason="pip install 'rsrefseg2[onnx]'")
    from rsrefseg2.cli import run_command

    folder = tmp_path_factory.mktemp('onnx') / 'demo'
    assert run_command('export', [*DEMO, '--out', str(folder)]) == 0
    return folder


def scenes(count):
    """(picture, its sentences) of scenes that the demo was not trained on."""
    for index in range(count):
        scene, sentences = make_scene(seed=77, split='test', index=index)
        yield scene.image, [one.text for one in sentences]


def test_the_masks_are_those_of_the_predictor(exported):
    from rsrefseg2.deployment.onnx_predictor import OnnxPredictor

    mine, theirs = OnnxPredictor(exported, threads=1, batch_size=4), Predictor(*DEMO, 'cpu')
    theirs.model.test_symmetries = None  # an exported model takes one pass
    pixels = equal = 0
    for image, sentences in scenes(4):
        picture = image[:, : 3 * image.shape[1] // 4]  # not square
        answers = mine.set_image(picture).predict(sentences)
        expected = theirs.set_image(picture).predict(sentences)
        for one, other in zip(answers, expected, strict=True):
            assert one.text == other.text and one.mask.shape == picture.shape[:2]
            for name in ('logits', 'dense_prompt'):
                a, b = getattr(one, name), getattr(other, name)
                assert a.shape == b.shape and a.dtype == b.dtype
                assert np.abs(a - b).max() <= 1e-3 * np.abs(b).max()
            pixels += one.mask.size
            equal += (one.mask == other.mask).sum()
    assert pixels - equal <= 1e-4 * pixels


def test_an_answer_does_not_depend_on_the_other_sentences(exported):
    from rsrefseg2.deployment.onnx_predictor import OnnxPredictor

    predictor = OnnxPredictor(exported, threads=1)
    ((image, sentences),) = scenes(1)
    together = predictor.set_image(image).predict(sentences)
    (alone,) = predictor.predict(sentences[0])
    largest = np.abs(alone.logits).max()
    assert np.abs(alone.logits - together[0].logits).max() <= 1e-4 * largest


def test_it_answers_in_a_process_without_torch(exported):
    code = (
        'import sys, numpy as np\n'
        "sys.modules.update({name: None for name in ('torch', 'mmengine', 'transformers')})\n"
        'from rsrefseg2.deployment.onnx_predictor import OnnxPredictor\n'
        f'predictor = OnnxPredictor({str(exported)!r}, threads=1)\n'
        'predictor.set_image(np.zeros((40, 50, 3), np.uint8))\n'
        "print(predictor.predict('the ship')[0].mask.shape)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '(40, 50)'


def test_a_folder_says_what_it_holds(exported):
    content = json.loads((exported / 'model.json').read_text())
    assert content['opset'] == 20 and content['size_sam'] == 256
    files = {graph['file'] for graph in content['graphs'].values()}
    others = {'model.json', 'tokenizer.json', 'README.md'}
    assert files | others <= {path.name for path in exported.iterdir()}


def test_bad_questions_are_one_line(exported):
    from rsrefseg2.deployment.onnx_predictor import OnnxPredictor
    from rsrefseg2.errors import UserError

    predictor = OnnxPredictor(exported, threads=1)
    with pytest.raises(RuntimeError, match='set_image'):
        predictor.predict('a ship')
    predictor.set_image(np.zeros((20, 30), np.uint8))
    with pytest.raises(UserError, match='at least one word'):
        predictor.predict(['a ship', ' '])
    with pytest.raises(UserError, match='no sentence'):
        predictor.predict([])
    with pytest.raises(UserError, match='float64'):
        predictor.set_image(np.zeros((20, 30)))
    with pytest.raises(UserError, match='cannot be read as an image'):
        predictor.set_image(exported / 'model.json')


@pytest.mark.parametrize('kind', ['tiny', 'tiny_without_dense'])
def test_torch_files_give_the_same_for_any_number_of_sentences(kind, tmp_path, request):
    paths = request.getfixturevalue(kind)
    model = load_model(load_config(paths.config), paths.checkpoint, 'cpu')
    written = write_graphs(model, tmp_path, 'torch')
    assert written['decoder'].outputs == ['mask_logits', 'p_dense'][: 1 + (kind == 'tiny')]
    generator = torch.Generator().manual_seed(0)
    for graph in graphs_of(model):
        program = torch.export.load(tmp_path / written[graph.name].file).module()
        for count in (1, 5):
            args = example(graph, count, generator)
            with torch.no_grad():
                expected = graph.module(*args)
                found = program(*args)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def example(graph, count, generator):
    """Inputs of a graph for `count` sentences."""
    if graph.name == 'text_encoder':
        return graph.args[0][:1].expand(count, -1), torch.arange(count) + 3

    def drawn(x):
        return torch.randn(x.shape, generator=generator)

    if graph.name == 'image_encoder':
        return tuple(map(drawn, graph.args))
    words, mask, sentence, *image, maps = graph.args
    mask = torch.arange(mask.shape[1]) <= torch.arange(count)[:, None]
    return (
        drawn(words[:1].expand(count, -1, -1)),
        mask,
        drawn(sentence[:1].expand(count, -1)),
        *map(drawn, image),
        [drawn(one) for one in maps],
    )


def of_whole_rows(graph):
    """The graph, which by AOTInductor takes its inputs for ones of whole rows, unlooked at."""

    def run(*fed):
        assert all(value.is_contiguous() for value in tree_leaves(fed))
        return graph(*fed)

    return run


@pytest.mark.parametrize('form', ['torch', pytest.param('aoti', marks=pytest.mark.slow)])
def test_torch_alone_gives_the_masks_of_the_predictor(form, run, tmp_path):
    """For one sentence and for several; loaded by a process without mmengine and transformers."""
    from rsrefseg2.deployment.torch_predictor import TorchPredictor

    folder = tmp_path / form
    code, _, err = run('export.py', *DEMO, '--out', folder, '--format', form)
    assert code in (0, None), err
    mine, theirs = TorchPredictor(folder, batch_size=2), Predictor(*DEMO, 'cpu')
    mine._graphs = {name: of_whole_rows(graph) for name, graph in mine._graphs.items()}
    theirs.model.test_symmetries = None  # an exported model takes one pass
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    sentences = ['the ship', 'the red car on the upper left', 'a plane']
    answers = mine.set_image(picture).predict(sentences)
    expected = theirs.set_image(picture).predict(sentences)
    for one, other in zip(answers, expected, strict=True):
        for name in ('logits', 'dense_prompt'):
            a, b = getattr(one, name), getattr(other, name)
            assert a.shape == b.shape and np.abs(a - b).max() <= 1e-3 * np.abs(b).max()
        assert (one.mask == other.mask).mean() > 0.999
    np.save(tmp_path / 'picture.npy', picture)
    code = (
        'import sys, numpy as np\n'
        "sys.modules.update({name: None for name in ('mmengine', 'transformers', 'peft')})\n"
        'from rsrefseg2.deployment.torch_predictor import TorchPredictor\n'
        f'predictor = TorchPredictor({str(folder)!r})\n'
        f'predictor.set_image(np.load({str(tmp_path / "picture.npy")!r}))\n'
        f'print(predictor.predict({sentences!r})[1].mask.sum())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == answers[1].mask.sum()


def test_every_example_is_of_whole_rows():
    model = load_model(load_config(DEMO[0]), DEMO[1], 'cpu', predicts=False)
    for graph in graphs_of(model):
        assert all(value.is_contiguous() for value in tree_leaves(graph.args)), graph.name


def test_each_predictor_names_its_formats(exported):
    from rsrefseg2.deployment.torch_predictor import TorchPredictor
    from rsrefseg2.errors import UserError

    with pytest.raises(UserError, match="format 'onnx': export with --format torch or aoti"):
        TorchPredictor(exported)


def test_without_a_compiler_aoti_is_one_line(run, tmp_path):
    with torch._inductor.config.patch({'cpp.cxx': ('no-such-compiler',)}):
        code, _, err = run('export.py', *DEMO, '--out', tmp_path / 'out', '--format', 'aoti')
    assert code and 'no working C++ compiler: install g++' in err
    assert len(err.strip().splitlines()) == 1 and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        (['--format', 'tflite'], "unknown format 'tflite': take onnx or torch or aoti"),
        (['--device', 'cuda'], 'ONNX graphs run anywhere: leave --device out'),
        (['--out', 'full'], 'is not empty: give a folder that is new or empty'),
        (['--out', 'file'], 'is a file: give a folder that is new or empty'),
        (['--format', 'torch', '--cfg-options', 'model.init=random'], 'have no tokenizer'),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, monkeypatch, tiny, options, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    (tmp_path / 'file').touch()
    model = (tiny.config, tiny.checkpoint)
    code, _, err = run('export.py', *model, '--out', 'out', *options)
    assert code and line in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_without_its_package_the_format_names_the_extra(run, tmp_path, monkeypatch, tiny):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    code, _, err = run('export.py', tiny.config, tiny.checkpoint, '--out', tmp_path / 'out')
    assert code and "pip install 'rsrefseg2[onnx]'" in err and '--format torch' in err
