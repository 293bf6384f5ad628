"""What a run's log does where it cannot be written, and what of it the console shows."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import NoReturn

from mmengine.logging import MMLogger

from ..errors import UserError, explain_os_error

# How the entries begin that nobody acts on while a run starts: for the log file alone.
FILE_ONLY = (
    '\n' + '-' * 60 + '\nSystem environment:',
    'Config:\n',
    'Hooks will be executed',
    'Distributed training is not used',
    'Exp name: ',
)
# ... and while it trains: a validation's scores are in its own line, and in the table at the end.
FILE_ONLY_IN_TRAINING = ('\nScores in percent',)


def watch_log(logger: MMLogger) -> None:
    """A log file that cannot be written ends the run in one line; a console that is gone is done
    without. The console does not show `FILE_ONLY`."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _FileFault(handler)  # type: ignore[method-assign]
        else:
            handler.addFilter(_LeaveOut(FILE_ONLY))
            handler.handleError = _ConsoleFault(logger, handler)


@contextlib.contextmanager
def training_console(logger: MMLogger) -> Iterator[None]:
    """Meanwhile the console does not show `FILE_ONLY_IN_TRAINING` either."""
    leave_out = _LeaveOut(FILE_ONLY_IN_TRAINING)
    consoles = [one for one in logger.handlers if not isinstance(one, logging.FileHandler)]
    for handler in consoles:
        handler.addFilter(leave_out)
    try:
        yield
    finally:
        for handler in consoles:
            handler.removeFilter(leave_out)


class _LeaveOut(logging.Filter):
    """Stops the entries that begin in one of these ways."""

    def __init__(self, beginnings: tuple[str, ...]) -> None:
        super().__init__()
        self._beginnings = beginnings

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the entry is shown."""
        return not record.getMessage().startswith(self._beginnings)


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
