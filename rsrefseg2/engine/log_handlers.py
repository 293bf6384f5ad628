"""What a run's log does where it cannot be written, and what of it the console shows."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

from mmengine.logging import MMLogger

from ..errors import UserError, explain_os_error

# How the entries begin that nobody acts on while a run starts: for the log file alone.
FILE_ONLY = (
    '\n' + '-' * 60 + '\nSystem environment:',
    'Config:\n',
    'Hooks will be executed',
    'Distributed training is not used',
)


def watch_log(logger: MMLogger) -> None:
    """A log file that cannot be written ends the run in one line; a console that is gone is done
    without. The console does not show `FILE_ONLY`."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _FileFault(handler)  # type: ignore[method-assign]
        else:
            handler.addFilter(_is_for_console)
            handler.handleError = _ConsoleFault(logger, handler)


def _is_for_console(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(FILE_ONLY)


class _FileFault:
    """In place of `Handler.handleError`, which prints a traceback for each line."""

    def __init__(self, handler: logging.FileHandler) -> None:
        self._handler = handler

    def __call__(self, record: logging.LogRecord) -> NoReturn:
        error = sys.exc_info()[1]
        line = isinstance(error, OSError) and explain_os_error(
            error, doing=f'writing the log {self._handler.baseFilename}'
        )
        if line:
            raise UserError(line) from error
        raise


class _ConsoleFault:
    """As `_FileFault`, for the console."""

    def __init__(self, logger: MMLogger, handler: logging.Handler) -> None:
        self._logger, self._handler = logger, handler

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) or len(self._logger.handlers) == 1:
            raise
        # a list of its own: this entry's way through the handlers goes on
        self._logger.handlers = [
            other for other in self._logger.handlers if other is not self._handler
        ]
        self._logger.warning(
            f'the console cannot be written ({error.strerror}): the log goes on in its file alone'
        )
