"""mmengine's evaluator, whose metrics score a batch while the model predicts the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from ..beside import WorkBehind


class EvaluatorBeside(Evaluator):
    """As mmengine's, but `process` hands its batch to a thread; the next one, `evaluate` and `wait`
    raise what was wrong with it. The samples are read, not changed, until then."""

    def __init__(self, metrics: Sequence[Any]) -> None:
        super().__init__(metrics)
        self._behind = WorkBehind(self._process)

    def process(
        self, data_samples: Sequence[BaseDataElement], data_batch: Any | None = None
    ) -> None:
        """Each metric's `process`, beside what the caller does next."""
        self._behind(data_samples, data_batch)

    def _process(self, data_samples: Sequence[BaseDataElement], data_batch: Any | None) -> None:
        with torch.no_grad():  # a thread's own setting
            super().process(data_samples, data_batch)

    def wait(self) -> None:
        """Until every batch is scored."""
        self._behind.wait()

    def evaluate(self, size: int) -> dict:
        """The metrics' scores, once every batch is scored."""
        self.wait()
        return super().evaluate(size)
