"""SynthRS, the generated benchmark, in RRSIS-D's layout."""

from __future__ import annotations

import os
from typing import Any

from ..registry import DATASETS
from .refer import ReferDataset


@DATASETS.register_module()
class SynthRS(ReferDataset):
    """What `tools/synthrs_generate.py` writes; `data_root` is its folder `rrsisd`."""

    def __init__(self, *, data_root: str, **kwargs: Any) -> None:
        out = os.path.dirname(data_root.rstrip('/')) or '.'
        super().__init__(
            data_root=data_root, **kwargs, made_by=f'python tools/synthrs_generate.py --out {out}'
        )
