"""Packages that only a part of the work needs, the extras of setup.py."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Literal

from .errors import UserError

Extra = Literal['deepspeed', 'demo', 'onnx', 'plots', 'raster', 'tensorboard', 'wandb']
PACKAGES: dict[Extra, tuple[str, ...]] = {
    'deepspeed': ('deepspeed',),
    'demo': ('gradio', 'fastapi', 'uvicorn'),
    'onnx': ('onnxruntime', 'onnx', 'onnxscript'),
    'plots': ('matplotlib',),
    'raster': ('rasterio', 'shapely', 'pyogrio', 'pyarrow'),
    'tensorboard': ('tensorboard',),
    'wandb': ('wandb',),
}


def require_extra(
    extra: Extra, needed_by: str, *, package: str | None = None, otherwise: str = ''
) -> ModuleType:
    """Import a package of an extra.

    Args:
        needed_by: what does not work without it, the subject of the error.
        package: one of `PACKAGES[extra]`; None: the first.
        otherwise: what a user without it may do instead.
    Raises:
        UserError: it cannot be imported; the line names the extra.
    """
    package = PACKAGES[extra][0] if package is None else package
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f'{needed_by} needs the package {package} ({error}): '
            f"pip install 'rsrefseg2[{extra}]'{otherwise and f', or {otherwise}'}"
        ) from error
