"""What is printed cannot control the terminal, and every tool ends in a line and an exit code."""

import errno
import io
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from rsrefseg2.errors import ADVICE, UserError, explain_os_error, report_user_errors
from rsrefseg2.terminal import PlainStream, plain_terminal, visible
from tests.training import ROOT

CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
HOSTILE = st.text(
    st.sampled_from('a\t\n\r\x07\x1b[]0;31mJA\x9b\x7f\u202e\u2066\udcff\ud800ü火'), max_size=12
) | st.text(max_size=12)


class Stream(io.TextIOWrapper):
    """A terminal, or a file, of some encoding."""

    def __init__(self, encoding, terminal):
        super().__init__(io.BytesIO(), encoding=encoding, newline='')
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@given(HOSTILE)
@settings(max_examples=60)
def test_visible_text_has_no_control_characters_and_nothing_is_lost(text):
    found = visible(text)
    assert not CONTROL.search(found) and visible(found) == found
    assert [c for c in found if c in '\t\n'] == [c for c in text if c in '\t\n']
    if (
        not CONTROL.search(text)
        and '\u2028' not in text
        and '\u2029' not in text
        and not re.search('[\u061c\u200e\u200f]', text)
    ):
        assert found == text


@given(HOSTILE, st.sampled_from(['utf-8', 'ascii', 'latin-1']), st.booleans())
@settings(max_examples=80)
def test_a_stream_takes_any_text(text, encoding, terminal):
    stream = Stream(encoding, terminal)
    plain = PlainStream(stream)
    assert plain.write(text) == len(text)
    plain.writelines([text, 'end'])
    found = stream.text()
    assert found.endswith('end')
    left = re.sub('\x1b\\[A|\x1b\\[K', '', found) if terminal else found
    left = left.replace('\r', '')
    assert not CONTROL.search(left)


def test_progress_bars_and_the_logs_colours_work_on_a_terminal_alone():
    level = '\x1b[5m\x1b[4m\x1b[33mWARNING\x1b[0m'
    for terminal in (True, False):
        stream = Stream('ascii', terminal)
        for _ in tqdm(range(3), file=PlainStream(stream), mininterval=0):
            pass
        PlainStream(stream).write(f'{level} - of \x1b[31mred.png\x1b[0m')
        found = stream.text()
        assert '3/3' in found and '\r' in found and '\\x0d' not in found
        assert found.endswith(
            (level if terminal else visible(level)) + ' - of \\x1b[31mred.png\\x1b[0m'
        )


def test_the_streams_are_put_back(monkeypatch):
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), plain_terminal(), plain_terminal():
        assert isinstance(sys.stdout, PlainStream)
        assert not isinstance(sys.stdout._stream, PlainStream)
        raise KeyError
    assert (sys.stdout, sys.stderr) == before
    monkeypatch.setattr(sys, 'stdout', None)  # no console at all
    with plain_terminal():
        print('nothing')


# ---- the frame of every tool --------------------------------------------------------------------


@pytest.mark.parametrize(
    ('error', 'code', 'says'),
    [
        (UserError('one\ntwo \x1b[2J'), 1, 'error: one two \\x1b[2J'),
        (OSError(errno.ENOSPC, 'No space left on device', 'a/b'), 1, 'error: a/b: No space left'),
        (PermissionError(errno.EACCES, 'Permission denied', 'x'), 1, 'error: x: Permission denied'),
        (OSError(errno.EMFILE, 'Too many open files'), 1, 'num_workers'),
        (KeyboardInterrupt(), 130, 'interrupted'),
        (BrokenPipeError(), 141, ''),
        (SystemExit(2), 2, ''),
    ],
)
def test_the_end_of_a_tool(capfd, error, code, says):
    with pytest.raises(SystemExit) as stop, report_user_errors():
        raise error
    assert stop.value.code == code
    printed = capfd.readouterr().err
    assert says in printed and printed.count('\n') == bool(says)
    assert 'Traceback' not in printed and '\x1b' not in printed


@pytest.mark.parametrize(
    'error', [KeyError('ours'), OSError(errno.EINVAL, 'ours'), ValueError('ours')]
)
def test_a_fault_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)), report_user_errors():
        raise error


@pytest.mark.parametrize('number', ADVICE)
def test_every_refusal_of_the_system_has_a_way_out(number):
    told = explain_os_error(OSError(number, 'x', 'file', None, 'other'))
    assert told.startswith('other: ') and told.endswith(ADVICE[number])


FRAME = """
import argparse, sys, types
# the package without its __init__, which takes seconds
package = sys.modules['rsrefseg2'] = types.ModuleType('rsrefseg2')
package.__path__ = ['rsrefseg2']
from rsrefseg2.errors import UserError, report_user_errors
with report_user_errors():
    if sys.argv[1:] == ['--help']:
        argparse.ArgumentParser().parse_args()
    if sys.argv[1:] == ['wrong']:
        raise UserError('one\\ntwo')
    print('few, so that they stay in the buffer')
"""


def test_the_exit_code_of_a_process():
    done = subprocess.run(
        [sys.executable, '-c', FRAME, 'wrong'], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, '', 'error: one two\n')


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_a_full_disk_and_a_closed_pipe_behind_stdout(arguments):
    """Of real processes: what stdout still holds would be tried again when the interpreter ends."""
    command = [sys.executable, '-c', FRAME, *arguments]
    buffered = {**os.environ, 'PYTHONUNBUFFERED': ''}
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, env=buffered
        )
    assert done.returncode == 1, done.stderr
    assert done.stderr == 'error: a file: No space left on device: ' + ADVICE[errno.ENOSPC] + '\n'
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ''
    assert process.returncode == 141
