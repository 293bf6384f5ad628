"""Files that come with the package: configs and the demo.

They lie at the top of a checkout; a wheel holds copies of them in `rsrefseg2/shipped_files`.
"""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UserError

PACKAGE = Path(__file__).resolve().parent
FOLDERS = ('configs', 'demo')  # setup.py copies these


def shipped_root() -> Path:
    """The folder that holds `configs` and `demo`: of the wheel, or the checkout's own.

    Raises:
        UserError: neither is there.
    """
    for root in (PACKAGE / 'shipped_files', PACKAGE.parent):
        if all((root / name).is_dir() for name in FOLDERS):
            return root
    raise UserError(
        f'neither {PACKAGE / "shipped_files"} nor {PACKAGE.parent} holds {" and ".join(FOLDERS)}: '
        'install the package again'
    )


def find_shipped(path: str, *, what: str = 'config') -> str:
    """`path` where it exists, else the file of that relative path among the shipped ones.

    Args:
        path: such as 'configs/rrsisd_tiny.py'; relative to the working folder, or else shipped.
        what: what the file is, for the message.

    Raises:
        UserError: neither is a file; the message names both places.
    """
    if os.path.isfile(path):
        return path
    if os.path.isabs(path) or Path(path).parts[:1] not in [(name,) for name in FOLDERS]:
        raise UserError(f'{what} {path} does not exist')
    shipped = shipped_root() / path
    if not shipped.is_file():
        raise UserError(
            f'{what} {path} does not exist: looked in {os.getcwd()} and {shipped_root()}'
        )
    return str(shipped)
