"""The documentation: its commands exist, its examples run, its site builds without a warning."""

import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from rsrefseg2.registry import DATASETS, MODELS
from tests import tiny_towers
from tests.fabricate import fabricate
from tests.test_models.tiny_model import batch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
PAGES = [page for page in PAGES if page.name != 'model_zoo.md']  # generated; its own test
EXAMPLES = ROOT / 'docs/examples'


def commands():
    """(page, words) of every line of a shell block that runs one of our scripts."""
    for page in PAGES:
        for block in re.findall(r'```bash\n(.*?)```', page.read_text(encoding='utf-8'), re.S):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                scripts = [i for i, word in enumerate(words) if word.startswith('tools/')]
                if scripts:
                    yield page.name, words[scripts[0] :]


@cache
def help_of(script):
    done = subprocess.run(
        [sys.executable, script, '--help'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize('script', sorted({words[0] for _, words in commands()}))
def test_the_commands_exist(script):
    assert (ROOT / script).is_file()
    if not script.endswith('.py') or 'benchmarks' in script:
        return
    known = help_of(script)
    for page, words in commands():
        if words[0] == script:
            for option in (word.partition('=')[0] for word in words[1:] if word.startswith('--')):
                assert re.search(rf'{option}\b', known), f'{page}: {script} has no {option}'


def test_the_configs_of_the_pages_exist():
    for page in PAGES:
        for path in re.findall(r'(?<![\w/])configs/[\w/]+\.py', page.read_text(encoding='utf-8')):
            assert (ROOT / path).is_file() or path == 'configs/mine.py', f'{page.name}: {path}'


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 130


def test_the_links_lead_somewhere():
    for page in (*PAGES, *sorted((ROOT / 'projects').glob('*/*.md'))):
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
        (MODELS, 'PlainPrompter'),
    ):
        registry.module_dict.pop(name)


def test_the_page_shows_the_examples():
    page = (ROOT / 'docs/extend.md').read_text(encoding='utf-8')
    for path in EXAMPLES.glob('*.py'):
        assert path.read_text(encoding='utf-8').rstrip() in page, path.name


def test_a_loss_and_a_prompter_of_ones_own(examples):
    config = dict(
        type='RSRefSeg2',
        init='random',
        siglip=dict(checkpoint=tiny_towers.siglip_config()),
        sam=dict(checkpoint=tiny_towers.sam2_config()),
        prompter=dict(
            type='PlainPrompter',
            sparse=dict(blocks=1, inner=16, heads=2, mlp_hidden=16),
            dense=dict(),
        ),
        losses=dict(focal=dict(type='FocalLoss')),
    )
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = MODELS.build(config)
    given = batch(model, [0, 1])
    losses = model(given['inputs'], given['data_samples'], mode='loss')
    assert set(losses) == {'loss_focal'} and torch.isfinite(losses['loss_focal'])
    losses['loss_focal'].backward()
    assert model.prompter.sparse.queries.grad.abs().sum() > 0


def test_a_data_set_of_ones_own(examples, tmp_path):
    root = fabricate('risbench', tmp_path)
    image = next((root / 'img_rgb').glob('train*.png'))
    (root / 'triplets_train.csv').write_text(
        f'id,image,mask,sentence\n7,img_rgb/{image.name},mask/{image.name},a ship\n'
    )
    data = DATASETS.build(dict(type='CSVDataset', data_root=str(root), split='train'))
    (record,) = (data.get_data_info(i) for i in range(len(data)))
    assert (record['sample_id'], record['text']) == ('7', 'a ship')


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs', reason='pip install -r requirements/docs.txt')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', str(tmp_path / 'site')],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
