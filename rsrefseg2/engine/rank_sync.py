"""What the ranks of a run have to decide together, and a rank that is gone."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UserError

# A rank that is alive but does not answer: long enough for the slowest validation of one rank.
PATIENCE = timedelta(minutes=10)
# What gloo and NCCL say when the other side of a connection is gone.
GONE = (
    'closed by peer',
    'reset by peer',
    'Broken pipe',
    'Connection refused',
    'Timed out',
    'timed out',
    'timeout',
    'remote process exited',
    'NCCL error',
    'recvValue failed',
    'Gloo',
    'gloo/transport',
)


class Agreement:
    """Small decisions of all ranks, over gloo, so that a GPU is never waited for.

    On one process every answer is its own.
    """

    def __init__(self) -> None:
        self._group: Any = None
        self.several = _several()
        if self.several and dist.get_backend() != 'gloo':
            self._group = dist.new_group(backend='gloo', timeout=PATIENCE)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set on any rank."""
        if not self.several:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self._group)
        return tuple(map(bool, raised.tolist()))

    def from_main(self, value: Any) -> Any:
        """The main process's value, on every rank."""
        if not self.several:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def main_does(self, action: Callable[[], Any]) -> Any:
        """What `action` returns on the main process, on every rank.

        Raises:
            UserError: on every rank, where the action ends in one.
        """
        value = fault = None
        if not self.several or dist.get_rank() == 0:
            try:
                value = action()
            except UserError as error:
                fault = error
        value, message = self.from_main((value, fault and str(fault)))
        if message is not None:
            raise fault or UserError(message)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""
        if not self.several:
            return [value]
        values = [None] * dist.get_world_size()
        dist.all_gather_object(values, value, group=self._group)
        return values


def mean_over_ranks(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scalars by name, in one collective operation; themselves on one process.

    Losses are weighted by each rank's share of the batch, so that this is the loss of the whole
    batch, whichever rank writes the log.
    """
    if not _several():
        return values
    together = torch.stack([value.detach().float() for value in values.values()])
    dist.all_reduce(together)
    return dict(zip(values, together / dist.get_world_size(), strict=True))


@contextlib.contextmanager
def ranks_end_together() -> Iterator[None]:
    """Around a run: all ranks leave the process group at its end; a rank that died becomes one line
    on the others.

    Raises:
        UserError: in place of the error of a collective operation whose other side is gone.
    """
    try:
        yield
        if _several():
            dist.barrier()
    except RuntimeError as error:
        message = str(error)
        if not (_several() and any(words in message for words in GONE)):
            raise
        # gloo begins with a line of its source and ends with advice
        reason = re.sub(r'^\[\S+:\d+\] ', '', message.splitlines()[0]).split('. ')[0][:200]
        raise UserError(
            f'rank {dist.get_rank()} of {dist.get_world_size()} (process {os.getpid()}) lost '
            f'another rank ({reason}): see what that rank said last, then go on from the newest '
            'checkpoint with --resume'
        ) from error
    finally:
        # A process that ends with a group's threads alive is aborted.
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
