"""One clear line and exit code 1, before any long work where that is possible."""
import re

import pytest
import torch

from rsrefseg2.engine.checkpoint import load_checkpoint
from rsrefseg2.errors import UserError
from tests.test_models.tiny_model import build
from tests.training import write_config


@pytest.fixture
def config(tmp_path, towers, rrsisd_root):
    return write_config(tmp_path / 'tiny.py', siglip=towers.siglip, sam=towers.sam2,
                        data_root=rrsisd_root)


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
    monkeypatch.setattr('rsrefseg2.models.rsrefseg2.DualModalityEncoder',
                        lambda **k: pytest.fail('a tower was built'))
    line = one_error_line(run('train.py', config, '--work-dir', tmp_path / 'run', '--cfg-options',
                              f'train_dataloader.dataset.data_root={tmp_path}/nowhere'))
    assert f'{tmp_path}/nowhere' in line and 'does not exist' in line


def test_an_unknown_key(run, config):
    line = one_error_line(run('train.py', config, '--cfg-options', 'model.promter.n_t=2'))
    assert "no option 'promter'" in line and 'did you mean prompter' in line


def test_a_checkpoint_that_is_not_there(run, config, tmp_path):
    line = one_error_line(run('test.py', config, tmp_path / 'none.pth'))
    assert 'none.pth does not exist' in line


def test_a_torn_checkpoint(run, config, tmp_path):
    whole = save(tmp_path / 'whole.pth', {'a': torch.zeros(9999)}).read_bytes()
    (tmp_path / 'torn.pth').write_bytes(whole[:len(whole) // 2])
    line = one_error_line(run('test.py', config, tmp_path / 'torn.pth'))
    assert 'torn.pth cannot be read' in line


def test_a_checkpoint_of_another_config(run, config, tmp_path):
    line = one_error_line(run('test.py', config, save(tmp_path / 'a.pth', {'x': torch.zeros(1)}),
                              '--work-dir', tmp_path / 'run'))
    assert re.search(r'\d+ missing \(encoder\.', line) and '1 unexpected (x)' in line


def test_missing_unexpected_and_reshaped_keys_are_counted(tmp_path):
    model = build()
    state = dict(model.state_dict())
    del state['prompter.visual_pe']
    state['prompter.more'] = torch.zeros(1)
    state['prompter.sparse.queries'] = torch.zeros(1, 2)
    with pytest.raises(UserError, match=(
            r'1 missing \(prompter\.visual_pe\); 1 unexpected \(prompter\.more\); '
            r'1 of another shape \(prompter\.sparse\.queries\)')):
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


@pytest.mark.parametrize('error', [
    MemoryError(), torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB'),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")])
def test_too_little_memory_says_what_to_lower(run, config, tmp_path, monkeypatch, error):
    from rsrefseg2.models import RSRefSeg2

    def forward(*args, **kwargs):
        raise error
    monkeypatch.setattr(RSRefSeg2, 'forward', forward)
    line = one_error_line(run('train.py', config, '--work-dir', tmp_path / 'run'))
    assert 'train_dataloader.batch_size=2' in line and 'accumulative_counts' in line


def test_another_runtime_error_keeps_its_traceback(run, config, tmp_path, monkeypatch):
    from rsrefseg2.models import RSRefSeg2

    def forward(*args, **kwargs):
        raise RuntimeError('our own fault')
    monkeypatch.setattr(RSRefSeg2, 'forward', forward)
    with pytest.raises(RuntimeError, match='our own fault'):
        run('train.py', config, '--work-dir', tmp_path / 'run')
