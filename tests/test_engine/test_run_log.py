"""Each start of a run has a log folder and a logger of its own, with plain text in its files."""

import io
from types import SimpleNamespace

from mmengine.logging import MMLogger
from torch import nn

from rsrefseg2.engine.run_log import claim_stamp, describe_training, plain_log, release_earlier_logs


def test_two_starts_within_a_second_have_each_their_own(tmp_path):
    one, other = tmp_path / 'one', tmp_path / 'other'
    stamps = []
    for work_dir in (one, one, other):
        work_dir.mkdir(exist_ok=True)
        stamps.append(claim_stamp(work_dir, '20260101_000000'))
        assert (work_dir / stamps[-1]).is_dir()
    assert len(set(stamps)) == 3
    (one / '20260101_000001').mkdir()  # another process's
    assert claim_stamp(one, '20260101_000001') == '20260101_000001_2'


def test_a_log_file_is_plain_and_an_earlier_logger_still_works(tmp_path, monkeypatch, capsys):
    path, begun, later = tmp_path / 'a.log', io.StringIO(), io.StringIO()
    monkeypatch.setattr('sys.stdout', begun)
    logger = plain_log(MMLogger(name='a', log_file=str(path), file_mode='a'))
    logger.info('a sentence \x1b[31mof \udce9 \u8239')
    release_earlier_logs()
    begun.close()  # as a test's or a tool's stdout, at its end
    monkeypatch.setattr('sys.stdout', later)
    logger.info('later')
    lines = path.read_text(encoding='utf-8').splitlines()
    assert r'\x1b[31mof \xe9 ' in lines[0] and '\u8239' in lines[0] and 'later' in lines[1]
    assert 'later' in later.getvalue() and 'Logging error' not in capsys.readouterr().err


def test_the_first_line_of_a_training():
    model = nn.Sequential(nn.Linear(1000, 3000, bias=False), nn.Linear(3000, 1000, bias=False))
    model[0].requires_grad_(False)
    runner = SimpleNamespace(model=model, work_dir='runs/a', log_dir='runs/a/b', max_iters=7)
    line = describe_training(runner)
    assert line.startswith('training in runs/a, log in b/: ')
    assert '6.00 M parameters, 3.00 M (50.0 %) trainable, 7 iterations' in line
