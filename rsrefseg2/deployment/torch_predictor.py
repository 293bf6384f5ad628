"""Ask an exported model about a picture by torch alone, on the device that it was exported for.

    predictor = TorchPredictor('work_dirs/aoti')  # of rsrefseg2 export --format aoti, or torch
    predictor.set_image('harbour.png')
    for answer in predictor.predict(['the ship at the lower left', 'a storage tank']):
        print(answer.text, answer.mask.sum())

It needs numpy, Pillow, tokenizers and torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from .exported_model import GRAPHS
from .exported_predictor import ExportedPredictor


class TorchPredictor(ExportedPredictor):
    """One exported model by torch: graphs of torch.export, run operator by operator, or machine
    code of AOTInductor.

    Args:
        folder: of `rsrefseg2 export --format torch` or `--format aoti`.
        batch_size: sentences per pass. Answers do not depend on it, memory does.
    Raises:
        UserError: the folder holds no such export, or one for a device that is not here.
    """

    def __init__(self, folder: str | Path, *, batch_size: int = 16) -> None:
        super().__init__(folder, formats=['torch', 'aoti'], batch_size=batch_size)
        self.device = torch.device(self.description.device)
        if self.device.type == 'cuda' and not torch.cuda.is_available():
            raise UserError(
                f'{folder} was exported for a GPU, and there is none: export with --device cpu'
            )
        self._graphs: dict[str, Callable] = {}
        for name in GRAPHS:
            path = Path(folder) / self.description.graphs[name].file
            try:
                self._graphs[name] = self._load(path)
            except Exception as error:  # of several classes, none documented
                line = (str(error) or type(error).__name__).splitlines()[0]
                raise UserError(
                    f'{path} cannot be loaded ({line}): export the model again'
                ) from error

    def _load(self, path: Path) -> Callable:
        if self.description.format == 'torch':
            return torch.export.load(path).module()
        return torch._inductor.aoti_load_package(str(path))

    def _run(self, graph: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a graph by name; it is fed what it reads of `given`."""
        names = self.description.graphs[graph].inputs
        # AOTInductor's code takes every input for one of whole rows, as its example was
        fed = [
            torch.from_numpy(np.ascontiguousarray(given[name])).to(self.device) for name in names
        ]
        maps = [value for name, value in zip(names, fed, strict=True) if name.startswith('map_')]
        if graph == 'decoder':  # the maps are one argument, a list
            fed = [*fed[: len(fed) - len(maps)], maps]
        with torch.no_grad():
            outputs = self._graphs[graph](*fed)
        values = [
            value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
            for value in outputs
        ]
        return dict(zip(self.description.graphs[graph].outputs, values, strict=True))
