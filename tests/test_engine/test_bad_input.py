"""One clear line and exit code 1, before any long work where that is possible."""

import json
import re

import pytest
import torch
from mmengine.registry import DefaultScope

from rsrefseg2.engine import load_config
from rsrefseg2.engine.checkpoint import load_checkpoint
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import RefSegMetric
from rsrefseg2.models.towers.tokenizers import TowerTokenizer
from rsrefseg2.registry import DATASETS, MODELS
from tests.test_models.tiny_model import build
from tests.tiny_towers import write_siglip
from tests.training import ROOT, write_config


@pytest.fixture
def config(tmp_path, towers, rrsisd_root):
    return write_config(
        tmp_path / 'tiny.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )


@pytest.fixture
def checkpoint(config, tmp_path):
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        state = MODELS.build(load_config(str(config)).model).state_dict()
    return save(tmp_path / 'right.pth', state)


def one_error_line(outcome):
    """The tool's only line on stderr that is an error; no traceback."""
    code, _, stderr = outcome
    assert code == 1
    assert 'Traceback' not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith('error: ')]
    return line


def save(path, state_dict):
    torch.save(dict(state_dict=state_dict), path)
    return path


def test_a_data_root_that_does_not_exist(run, config, tmp_path, monkeypatch):
    monkeypatch.setattr(
        'rsrefseg2.models.rsrefseg2.DualModalityEncoder',
        lambda **k: pytest.fail('a tower was built'),
    )
    line = one_error_line(
        run(
            'train.py',
            config,
            '--work-dir',
            tmp_path / 'run',
            '--cfg-options',
            f'train_dataloader.dataset.data_root={tmp_path}/nowhere',
        )
    )
    assert f'{tmp_path}/nowhere' in line and 'does not exist' in line


def test_an_unknown_key(run, config):
    line = one_error_line(run('train.py', config, '--cfg-options', 'model.promter.n_t=2'))
    assert "no option 'promter'" in line and 'did you mean prompter' in line


@pytest.mark.parametrize(
    ('tool', 'content', 'says'),
    [
        ('test.py', None, 'does not exist'),
        ('train.py', None, 'does not exist'),
        ('test.py', 'torn', 'cannot be read'),
        ('train.py', 'torn', 'cannot be read'),
        ('train.py', 'alone', 'a_optim.pth, which holds the optimizer, is not beside it'),
    ],
)
def test_a_checkpoint_to_start_from_is_read_before_a_tower(
    run, config, tmp_path, monkeypatch, tool, content, says
):
    """Tested, or resumed by name."""
    monkeypatch.setattr(
        'rsrefseg2.models.rsrefseg2.DualModalityEncoder',
        lambda **k: pytest.fail('a tower was built'),
    )
    work_dir, path = tmp_path / 'run', tmp_path / 'a.pth'
    work_dir.mkdir()
    if content == 'torn':
        path.write_bytes(save(path, {'a': torch.zeros(9999)}).read_bytes()[:5000])
    elif content == 'alone':
        save(path, {'a': torch.zeros(1)})
    start = [path] if tool == 'test.py' else ['--resume', path]
    line = one_error_line(run(tool, config, *start, '--work-dir', work_dir))
    assert says in line


def test_a_checkpoint_of_other_towers(run, config, towers, rrsisd_root, tmp_path):
    """Wider towers: other shapes, counted, before the first image."""
    wide = write_siglip(tmp_path / 'wide', width=48)
    other = write_config(tmp_path / 'other.py', siglip=wide, sam=towers.sam2, data_root=rrsisd_root)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        state = MODELS.build(load_config(str(other)).model).state_dict()
    line = one_error_line(
        run('test.py', config, save(tmp_path / 'a.pth', state), '--work-dir', tmp_path / 'run')
    )
    assert re.search(r'\d+ of another shape \(encoder\.', line) and 'missing' not in line


def test_a_checkpoint_of_another_config(run, config, tmp_path):
    line = one_error_line(
        run(
            'test.py',
            config,
            save(tmp_path / 'a.pth', {'x': torch.zeros(1)}),
            '--work-dir',
            tmp_path / 'run',
        )
    )
    assert re.search(r'\d+ missing \(encoder\.', line) and '1 unexpected (x)' in line


def test_missing_unexpected_and_reshaped_keys_are_counted(tmp_path):
    model = build()
    state = dict(model.state_dict())
    del state['prompter.visual_pe']
    state['prompter.more'] = torch.zeros(1)
    state['prompter.sparse.queries'] = torch.zeros(1, 2)
    with pytest.raises(
        UserError,
        match=(
            r'1 missing \(prompter\.visual_pe\); 1 unexpected \(prompter\.more\); '
            r'1 of another shape \(prompter\.sparse\.queries\)'
        ),
    ):
        load_checkpoint(model, save(tmp_path / 'a.pth', state))


def test_no_state_dict(tmp_path):
    torch.save({'weights': 1}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='holds no "state_dict"'):
        load_checkpoint(build(), tmp_path / 'a.pth')


def test_a_checkpoint_executes_nothing(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / 'executed'), 'w'))

    torch.save({'state_dict': Malicious()}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='cannot be read'):
        load_checkpoint(build(), str(tmp_path / 'a.pth'))
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB'),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. '),
    ],
)
def test_too_little_memory_says_what_to_lower(run, config, tmp_path, monkeypatch, error):
    from rsrefseg2.models import RSRefSeg2

    def forward(*args, **kwargs):
        raise error

    monkeypatch.setattr(RSRefSeg2, 'forward', forward)
    line = one_error_line(run('train.py', config, '--work-dir', tmp_path / 'run'))
    assert 'train_dataloader.batch_size=2' in line and 'accumulative_counts' in line
    assert 'zero2_bf16' in line
    assert ('train_dataloader.num_workers' in line) == ('worker' in str(error))


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_a_work_dir_below_a_file(run, config, checkpoint, tmp_path, tool):
    (tmp_path / 'file').write_text('')
    given = [checkpoint] if tool == 'test.py' else []
    line = one_error_line(run(tool, config, *given, '--work-dir', tmp_path / 'file/run'))
    assert 'cannot make the folder' in line and 'file/run' in line


def test_scenes_that_were_not_generated(monkeypatch):
    monkeypatch.setenv('RSREFSEG2_DATA', '/nowhere')
    with pytest.raises(
        UserError, match='run python tools/synthrs_generate.py --out /nowhere/synthrs, or set'
    ) as caught:
        DATASETS.build(load_config(str(ROOT / 'configs/synthrs_tiny.py')).train_dataloader.dataset)
    assert 'RRSIS-D' not in str(caught.value)


def test_cut_sentences_are_counted_and_the_control_has_the_tests_protocol(
    run, config, checkpoint, tmp_path, monkeypatch
):
    """At most 3 tokens a sentence: every split's cuts are told, a test's are in scores.json."""
    protocols, cut, encode, init = [], [], TowerTokenizer.encode, RefSegMetric.__init__

    def short(self, texts, max_length):
        cut.append(sum(len(self.sentence_ids(text)) > 3 for text in texts))
        return encode(self, texts, 4)

    def spy(self, **options):
        init(self, **options)
        protocols.append(self.protocol.name)

    monkeypatch.setattr(TowerTokenizer, 'encode', short)
    monkeypatch.setattr(RefSegMetric, '__init__', spy)
    code, shown, printed = run(
        'test.py',
        config,
        checkpoint,
        '--work-dir',
        tmp_path / 'test',
        '--protocol',
        'lisa',
        '--cfg-options',
        'test_cfg.exchanged=True',
        'test_dataloader.dataset.split=train',
    )
    assert code == 0, printed
    assert set(protocols) == {'lisa'} and len(protocols) == 2
    half = len(cut) // 2  # the test, then its control
    scores = json.loads((tmp_path / 'test/scores.json').read_text())
    assert scores['cut_sentences'] == sum(cut[:half]) > 0 and 'shuffled' in scores
    assert_ends_in_one_table(shown, scores)
    assert not list((tmp_path / 'test').glob('*.py'))  # a config there is that of a training

    cut.clear()
    code, _, printed = run(
        'train.py', config, '--work-dir', tmp_path / 'train', '--cfg-options', 'experiment_name=cut'
    )
    assert code == 0, printed
    log = ''.join(path.read_text() for path in (tmp_path / 'train').glob('*/*.log'))
    told = {mode: int(n) for mode, n in re.findall(r'(train|val): (\d+) sentences were', log)}
    assert told == {'train': sum(cut[:2]), 'val': sum(cut[2:])} and min(told.values()) > 0


def assert_ends_in_one_table(shown, scores):
    """The last Iter(test) or Epoch(test) is the model's, and the last table names whose it is."""
    last = re.findall(r'(?:Iter|Epoch)\(test\) .*', shown)[-1]
    assert f'gIoU: {scores["gIoU"]:.4f}' in last
    model, control = shown.strip().splitlines()[-3:-1]  # then: scores written to ...
    assert model.startswith('the model') and f'{scores["gIoU"]:.2f}' in model
    assert control.startswith('the control') and f'{scores["shuffled"]:.2f}' in control


def test_another_runtime_error_keeps_its_traceback(run, config, tmp_path, monkeypatch):
    from rsrefseg2.models import RSRefSeg2

    def forward(*args, **kwargs):
        raise RuntimeError('our own fault')

    monkeypatch.setattr(RSRefSeg2, 'forward', forward)
    with pytest.raises(RuntimeError, match='our own fault'):
        run('train.py', config, '--work-dir', tmp_path / 'run')
