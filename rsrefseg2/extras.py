"""Packages that only a part of the work needs, the extras of setup.py."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Literal

from .errors import UserError

Extra = Literal['deepspeed', 'plots', 'raster', 'tensorboard', 'wandb']
PACKAGES: dict[Extra, str] = {
    'deepspeed': 'deepspeed',
    'plots': 'matplotlib',
    'raster': 'rasterio',
    'tensorboard': 'tensorboard',
    'wandb': 'wandb',
}


def require_extra(extra: Extra, needed_by: str, *, otherwise: str = '') -> ModuleType:
    """Import the package of an extra.

    Args:
        needed_by: what does not work without it, the subject of the error.
        otherwise: what a user without it may do instead.
    Raises:
        UserError: it cannot be imported; the line names the extra.
    """
    try:
        return importlib.import_module(PACKAGES[extra])
    except ImportError as error:
        raise UserError(
            f'{needed_by} needs the package {PACKAGES[extra]} ({error}): '
            f"pip install 'rsrefseg2[{extra}]'{otherwise and f', or {otherwise}'}"
        ) from error
