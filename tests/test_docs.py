"""The documentation: its commands exist, its examples run, its site builds without a warning."""

import argparse
import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from rsrefseg2.cli import COMMANDS, main
from rsrefseg2.engine.launch import load_config
from rsrefseg2.registry import DATASETS, MODELS
from tests import tiny_towers
from tests.fabricate import fabricate, write_refer
from tests.test_models.tiny_model import batch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / 'README.md',
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'projects').glob('*/*.md')),
]
PAGES = [page for page in PAGES if page.name != 'model_zoo.md']  # generated; its own test
NOTEBOOKS = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))
EXAMPLES = ROOT / 'docs/examples'
STARTS = ('python tools/', 'bash tools/', 'torchrun ', 'rsrefseg2 ')  # of a command within a line


def shell_lines(page):
    """The lines of a page's shell blocks, the commands within its text, a notebook's shell cells."""
    text = page.read_text(encoding='utf-8')
    if page.suffix == '.ipynb':
        cells = (''.join(cell['source']) for cell in json.loads(text)['cells'])
        blocks, inline = [cell for cell in cells if cell.startswith('%%bash')], []
    else:
        blocks = re.findall(r'```bash\n(.*?)```', text, re.S)
        text = re.sub(r'```.*?```', '', text, flags=re.S)
        inline = [code for code in re.findall(r'`([^`]+)`', text) if code.startswith(STARTS)]
    return [
        *(line for block in blocks for line in block.replace('\\\n', ' ').splitlines()),
        *(' '.join(code.split()) for code in inline),
    ]


def commands(page):
    """The words of every line that runs one of our scripts or the console command."""
    for line in shell_lines(page):
        if ' | ' in line:  # a list of commands, tested below
            continue
        words = shlex.split(line.partition(' > ')[0], comments=True)
        ours = [i for i, word in enumerate(words) if re.match('tools/|rsrefseg2$', word)]
        if ours:
            yield words[ours[0] :]


class ParsedError(BaseException):
    """Raised where a program has parsed its arguments; nothing catches it on the way."""


def start(words, monkeypatch):
    """Starts the program in this process; it ends behind its parser."""

    def ending(parse):
        def parse_and_end(*args, **kwargs):
            parse(*args, **kwargs)
            raise ParsedError

        return parse_and_end

    with monkeypatch.context() as patched:
        for name in ('parse_args', 'parse_intermixed_args'):
            parse = getattr(argparse.ArgumentParser, name)
            patched.setattr(argparse.ArgumentParser, name, ending(parse))
        patched.setattr(sys, 'argv', words)
        if words[0] == 'rsrefseg2':
            return main(words[1:])
        patched.syspath_prepend(str((ROOT / words[0]).parent))
        return runpy.run_path(str(ROOT / words[0]), run_name='__main__')


@pytest.mark.parametrize('page', [*PAGES, *NOTEBOOKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_can_be_typed(page, monkeypatch, capsys):
    """Each program exists and takes the arguments that the page gives it."""
    for words in commands(page):
        if words[0].endswith('.sh'):
            assert (ROOT / words[0]).is_file(), words
            continue
        try:
            with pytest.raises(ParsedError):
                start(words, monkeypatch)
        except SystemExit:
            pytest.fail(f'{page.name}: {shlex.join(words)}\n{capsys.readouterr().err}')


def test_the_commands_are_found():
    """What the test above reads; and a list such as `rsrefseg2 train | test | ...` names commands."""
    assert len(list(commands(ROOT / 'README.md'))) > 15
    notebook = ROOT / 'docs/notebooks/explain_errors.ipynb'
    assert {words[0] for words in commands(notebook)} == {'rsrefseg2'}
    lists = [
        line.removeprefix('rsrefseg2 ').split(' | ')
        for page in PAGES
        for line in shell_lines(page)
        if line.startswith('rsrefseg2 ') and ' | ' in line
    ]
    assert lists and set(sum(lists, [])) <= {*COMMANDS, '...'}


def test_the_configs_of_the_pages_exist():
    """Those of `configs/` and of `projects/`; in a page of a project also relative to it."""
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for path in re.findall(r'(?<![\w/])(?:projects/\w+/)?configs/[\w/]+\.(?:py|json)', text):
            if path != 'configs/mine.py':  # the reader's own
                assert (ROOT / path).is_file(), f'{page.name}: {path}'


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 130


def test_the_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r'\]\(([^)#\s]+)', page.read_text(encoding='utf-8')):
            if '://' not in link:
                assert (page.parent / link).exists(), f'{page.name}: {link}'


@pytest.fixture(scope='module')
def examples():
    """The modules of docs/examples, imported and registered once."""
    found = {}
    for path in sorted(EXAMPLES.glob('*.py')):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        found[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[path.stem])
    yield found
    for registry, name in (
        (MODELS, 'FocalLoss'),
        (DATASETS, 'CSVDataset'),
        (DATASETS, 'Harbours'),
        (MODELS, 'PlainPrompter'),
    ):
        registry.module_dict.pop(name)


def pages_of_examples():
    return ''.join(
        (ROOT / 'docs' / name).read_text(encoding='utf-8') for name in ('extend.md', 'data_sets.md')
    )


def test_the_pages_show_the_examples():
    pages = pages_of_examples()
    for path in EXAMPLES.glob('*.py'):
        assert path.read_text(encoding='utf-8').rstrip() in pages, path.name


def test_a_loss_and_a_prompter_of_ones_own(examples):
    config = dict(
        type='RSRefSeg2',
        init='random',
        siglip=dict(checkpoint=tiny_towers.siglip_config()),
        sam=dict(checkpoint=tiny_towers.sam2_config()),
        prompter=dict(type='PlainPrompter', blocks=1, inner=16, heads=2, mlp_hidden=16),
        losses=dict(focal=dict(type='FocalLoss')),
    )
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = MODELS.build(config)
    given = batch(model, [0, 1])
    losses = model(given['inputs'], given['data_samples'], mode='loss')
    assert set(losses) == {'loss_focal'} and torch.isfinite(losses['loss_focal'])
    losses['loss_focal'].backward()
    assert model.prompter.sparse.queries.grad.abs().sum() > 0


def test_the_pages_configs_are_accepted(examples, tmp_path):
    """The blocks of the two pages that set config keys, each on the tiny config."""
    found = re.findall(r'```python\n(.*?)```', pages_of_examples(), re.S)
    blocks = [b for b in found if '"""' not in b and '_base_ = [' not in b and 'import ' not in b]
    assert len(blocks) == 3
    for i, block in enumerate(blocks):
        block = re.sub(r'(?m)^(_base_|custom_imports) = .*\n', '', block)
        path = tmp_path / f'own_{i}.py'
        path.write_text(f"_base_ = '{ROOT}/configs/synthrs_tiny.py'\n{block}")
        load_config(str(path))


def test_a_data_set_of_ones_own(examples, tmp_path):
    root = fabricate('risbench', tmp_path)
    image = next((root / 'img_rgb').glob('train*.png'))
    (root / 'triplets_train.csv').write_text(
        f'id,image,mask,sentence\n7,img_rgb/{image.name},mask/{image.name},a ship\n'
    )
    data = DATASETS.build(dict(type='CSVDataset', data_root=str(root), split='train'))
    (record,) = (data.get_data_info(i) for i in range(len(data)))
    assert (record['sample_id'], record['text']) == ('7', 'a ship')


def test_a_variant_of_a_layout(examples, tmp_path, monkeypatch, capsys):
    """docs/examples/harbours.py, and the lines of the page that verify it."""
    root = tmp_path / 'data/harbours'
    write_refer(
        root,
        (('train', 3, 5, {8: 'the pier'}), ('val', 4, 6, {9: 'it'}), ('test', 7, 8, {10: 'it'})),
        refs='annotations/refs.p',
        instances='annotations/instances.json',
        images='pictures',
        segmentations=3 * [[[5, 3, 15, 3, 15, 11, 5, 11]]],
    )
    pipeline = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]
    data = DATASETS.build(
        dict(type='Harbours', data_root=str(root), split='train', pipeline=pipeline)
    )
    sample = data[0]['data_samples']
    assert (sample.sample_id, sample.text, sample.category) == ('8', 'the pier', 'class 0')
    mask = np.zeros((48, 64), bool)
    mask[3:11, 5:15] = True
    assert (sample.gt_mask.numpy() == mask).all()
    page = (ROOT / 'docs/data_sets.md').read_text(encoding='utf-8')
    block = next(b for b in re.findall(r'```python\n(.*?)```', page, re.S) if 'as_text' in b)
    module = types.ModuleType('my_modules')
    module.harbours = examples['harbours']
    monkeypatch.setitem(sys.modules, 'my_modules', module)
    monkeypatch.setitem(sys.modules, 'my_modules.harbours', examples['harbours'])
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    said = capsys.readouterr().out.splitlines()
    assert said[2].split() == ['samples', '1', '1', '1'] and said[-1].startswith('clean'), said


def test_the_config_of_a_further_benchmark(tmp_path):
    page = (ROOT / 'docs/data_sets.md').read_text(encoding='utf-8')
    (block,) = (b for b in re.findall(r'```python\n(.*?)```', page, re.S) if '_base_ = [' in b)
    path = tmp_path / 'nwpu_refer.py'
    path.write_text(block.replace("'_base_/", f"'{ROOT}/configs/_base_/"))
    config = load_config(str(path))
    assert config.train_dataloader.dataset.type.endswith('NWPURefer')
    assert config.test_evaluator.protocol == 'generalised'


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs', reason='pip install -r requirements/docs.txt')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', str(tmp_path / 'site')],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
