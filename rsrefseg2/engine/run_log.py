"""Each start of a run has a log folder and a logger of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from itertools import count
from typing import TYPE_CHECKING, TextIO

from mmengine.logging import MMLogger
from mmengine.logging.logger import MMFormatter

from ..errors import os_errors_explained
from ..terminal import visible

if TYPE_CHECKING:
    from mmengine.runner import FlexibleRunner

_claimed: set[str] = set()  # the time stamps of this process's runs, in whatever work dir


def claim_stamp(work_dir: str | os.PathLike, stamp: str) -> str:
    """`stamp`, or with a number behind it where another run has that: one of another process in
    `work_dir`, or one of this process anywhere, since mmengine keeps loggers by the stamp. The log
    folder of that name is made.

    Raises:
        UserError: the folder cannot be made.
    """
    names = (stamp if number == 1 else f'{stamp}_{number}' for number in count(1))
    for name in names:
        if name not in _claimed:
            folder = os.path.join(work_dir, name)
            with os_errors_explained(f'making {folder}'), contextlib.suppress(FileExistsError):
                os.mkdir(folder)
                break
    _claimed.add(name)
    return name


def release_earlier_logs() -> None:
    """Close the files of this process's earlier loggers; one that is used again opens its own."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()


def plain_log(logger: MMLogger) -> MMLogger:
    """The logger, whose files are UTF-8 and hold control characters as escapes, and whose terminal
    is what stdout is when a line is written."""
    for at, handler in enumerate(logger.handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()  # opens again, in this encoding, with the next line
            handler.encoding, handler.errors = 'utf-8', 'backslashreplace'
            handler.setFormatter(PlainFormatter(color=False, datefmt='%Y/%m/%d %H:%M:%S'))
        else:
            logger.handlers[at] = StdoutHandler(handler)
    return logger


def describe_training(runner: FlexibleRunner) -> str:
    """Where a training writes and what it trains, as one line for its start."""
    parameters = list(runner.model.parameters())
    total = sum(one.numel() for one in parameters)
    trained = sum(one.numel() for one in parameters if one.requires_grad)
    return (
        f'training in {runner.work_dir}, log in {os.path.basename(runner.log_dir)}/: '
        f'{total / 1e6:,.2f} M parameters, {trained / 1e6:,.2f} M ({100 * trained / total:.1f} %) '
        f'trainable, {runner.max_iters} iterations'
    )


class PlainFormatter(MMFormatter):
    """mmengine's, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """As mmengine's."""
        return visible(super().format(record))


class StdoutHandler(logging.StreamHandler):
    """Writes as `like` does, to the stdout of the moment: the one at its start may be closed."""

    def __init__(self, like: logging.Handler) -> None:
        logging.Handler.__init__(self, like.level)
        self.setFormatter(like.formatter)
        for one in like.filters:
            self.addFilter(one)

    @property
    def stream(self) -> TextIO:
        """stdout."""
        return sys.stdout
