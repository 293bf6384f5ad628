"""A log that cannot be written ends the run in one line; what nobody acts on is in the file
alone."""

import errno
import logging

import pytest
from mmengine.logging import MMLogger

from rsrefseg2.engine.log_handlers import FILE_ONLY, training_console, watch_log
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import PROTOCOLS, Report


class Refusing:
    """A stream that cannot be written."""

    def __init__(self, number):
        self.number = number

    def write(self, text):
        raise OSError(self.number, 'refused')

    def flush(self):
        pass


@pytest.fixture
def log(tmp_path):
    """A logger with a file and a console, and the two handlers."""
    logger = MMLogger(tmp_path.name, log_file=str(tmp_path / 'a.log'))
    watch_log(logger)
    console, file = logger.handlers
    yield logger, console, file
    file.close()


def test_a_full_disk_ends_the_run(log, capsys):
    logger, _, file = log
    file.stream.close()
    file.stream = Refusing(errno.ENOSPC)
    with pytest.raises(UserError, match=r'writing the log .*a\.log: No space left on device'):
        logger.info('a line')
    file.stream = None
    assert 'Traceback' not in capsys.readouterr().err


def test_a_fault_of_ours_is_no_matter_of_the_user(log):
    logger, *_ = log
    with pytest.raises(TypeError):
        logger.info('%d', 'no number')


def test_a_console_that_is_gone_is_done_without(log, tmp_path):
    logger, console, file = log
    console.stream = Refusing(errno.EPIPE)
    logger.info('first')
    logger.info('second')
    assert logger.handlers == [file]
    text = (tmp_path / 'a.log').read_text()
    assert 'first' in text and 'second' in text and 'the console cannot be written' in text


def test_the_console_shows_no_lists(log, tmp_path):
    logger, console, _ = log
    shown = []
    console.emit = lambda record: shown.append(record.getMessage())
    for start in FILE_ONLY:
        logger.info(start + ' and more')
    logger.warning('a warning')
    assert shown == ['a warning']
    assert all(start.strip() in (tmp_path / 'a.log').read_text() for start in FILE_ONLY)
    assert logger.level <= logging.INFO


def test_a_training_shows_no_table_of_each_validation(log, tmp_path):
    logger, console, _ = log
    shown = []
    console.emit = lambda record: shown.append(record.getMessage())
    table = Report(PROTOCOLS['paper']).title('all')
    with training_console(logger):
        logger.info('\n' + table)  # as RefSegMetric writes it
    assert not shown and table in (tmp_path / 'a.log').read_text()
    logger.info('\n' + table)
    assert shown == ['\n' + table]
