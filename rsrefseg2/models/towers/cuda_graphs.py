"""Less time for one picture at a time: the many small kernels of an image tower as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

WARM_UP = 3  # passes before the recording, in which libraries choose their kernels


class Recorded(NamedTuple):
    """One pass: `replay` reads `images` and writes `outputs`, where they lie."""

    images: Tensor
    outputs: Any  # a tree of tensors
    replay: Callable[[], object]


def record(function: Callable[[Tensor], Any], images: Tensor) -> Recorded:
    """`function` of pictures of this shape, as a CUDA graph.

    It is recorded outside of inference mode, so that later calls may be in it or not, and without
    autocast's cache, whose weights would be the graph's own.
    """
    device = images.device
    autocast = torch.autocast(
        device.type,
        torch.get_autocast_dtype(device.type),
        enabled=torch.is_autocast_enabled(device.type),
        cache_enabled=False,
    )
    with torch.cuda.device(device), torch.inference_mode(False), torch.no_grad(), autocast:
        own = images.clone()
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                function(own)
        torch.cuda.current_stream(device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(own)
    return Recorded(own, outputs, graph.replay)


class Graphed:
    """`function` of pictures (U, 3, H, W); one picture is recorded at its first call, once for each
    shape, type and precision, and replayed from then on. More are computed as they come.

    What it gives are copies, which later calls leave alone. Weights may change in place.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        record: Callable[[Callable[[Tensor], Any], Tensor], Recorded] = record,
    ) -> None:
        self._function, self._record = function, record
        self._recorded: dict[Any, Recorded] = {}

    def __call__(self, images: Tensor) -> Any:
        """As `function`."""
        if len(images) != 1:
            return self._function(images)
        device = images.device
        precision = (torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type))
        key = images.shape, images.dtype, device, precision
        if key not in self._recorded:
            self._recorded[key] = self._record(self._function, images)
        recorded = self._recorded[key]
        recorded.images.copy_(images)
        recorded.replay()
        return tree_map(torch.clone, recorded.outputs)
