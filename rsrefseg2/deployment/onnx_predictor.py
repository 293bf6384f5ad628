"""Ask an exported model about a picture, without torch.

    predictor = OnnxPredictor('work_dirs/onnx')  # of rsrefseg2 export --format onnx
    predictor.set_image('harbour.png')
    for answer in predictor.predict(['the ship at the lower left', 'a storage tank']):
        print(answer.text, answer.mask.sum())

It needs numpy, Pillow, tokenizers and onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import require_extra
from .exported_model import GRAPHS
from .exported_predictor import ExportedPredictor


class OnnxPredictor(ExportedPredictor):
    """One exported model by onnxruntime, any number of images and sentences.

    Args:
        folder: of `rsrefseg2 export --format onnx`.
        threads: that onnxruntime may use; 0: its choice, one a core.
        batch_size: sentences per pass. Answers do not depend on it, memory does.
        providers: of onnxruntime, the preferred one first.
    Raises:
        UserError: the folder holds no such export; onnxruntime is missing.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int = 0,
        batch_size: int = 16,
        providers: Sequence[str] = ('CPUExecutionProvider',),
    ) -> None:
        runtime = require_extra('onnx', 'OnnxPredictor')
        super().__init__(folder, formats=['onnx'], batch_size=batch_size)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # the sessions run in turn: idle threads of one must not hold a core while another runs
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._sessions: dict[str, Any] = {}
        for name in GRAPHS:
            path = Path(folder) / self.description.graphs[name].file
            try:
                self._sessions[name] = runtime.InferenceSession(
                    str(path), options, providers=list(providers)
                )
            except Exception as error:  # onnxruntime's own classes, none public
                line = str(error).splitlines()[0]
                raise UserError(
                    f'{path} cannot be loaded ({line}): export the model again'
                ) from error

    def _run(self, graph: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a graph by name; it is fed what it reads of `given`."""
        session = self._sessions[graph]
        fed = {one.name: given[one.name] for one in session.get_inputs()}
        outputs = self.description.graphs[graph].outputs
        return dict(zip(outputs, session.run(outputs, fed), strict=True))
