"""A full disk: one line that names the file, whoever writes, and logs are no exception."""

import contextlib
import logging
import os

import pytest

from rsrefseg2.engine.log_handlers import watch_log
from rsrefseg2.errors import report_user_errors

FULL = '/dev/full'
pytestmark = pytest.mark.skipif(not os.path.exists(FULL), reason=f'there is no {FULL} here')


def write():
    with open(FULL, 'w') as file:
        file.write('text')


def append_unbuffered():
    with open(FULL, 'ab', buffering=0) as file:
        file.write(b'text')


def log():
    logger = logging.Logger('full')
    logger.addHandler(logging.FileHandler(FULL))
    watch_log(logger)
    try:
        logger.info('a line')
    finally:
        with contextlib.suppress(OSError):  # as logging.shutdown does
            logger.handlers[0].close()


def write_to_a_handler():
    handler = logging.FileHandler(FULL)  # as mmengine's initialisation does
    handler.stream.write('x' * 100_000)


@pytest.mark.parametrize('doing', [write, append_unbuffered, log, write_to_a_handler])
def test_one_line_names_the_file(doing, capsys):
    with pytest.raises(SystemExit) as stop, report_user_errors():
        doing()
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and line.startswith('error: ') and f'{FULL}: ' in line
    assert 'free some space' in line
