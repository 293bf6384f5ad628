"""RRSIS-D (Liu et al., RMSIN): 20 categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..registry import DATASETS
from .refer import ReferDataset

CLASSES = (
    'Expressway-Service-area',
    'Expressway-toll-station',
    'airplane',
    'airport',
    'baseballfield',
    'basketballcourt',
    'bridge',
    'chimney',
    'dam',
    'golffield',
    'groundtrackfield',
    'harbor',
    'overpass',
    'ship',
    'stadium',
    'storagetank',
    'tenniscourt',
    'trainstation',
    'vehicle',
    'windmill',
)
# How the sentences write the names that the files write as one word.
SPACED = {
    'baseball field': 'baseballfield',
    'basketball court': 'basketballcourt',
    'golf field': 'golffield',
    'ground track field': 'groundtrackfield',
    'storage tank': 'storagetank',
    'tennis court': 'tenniscourt',
    'train station': 'trainstation',
}


@DATASETS.register_module()
class RRSISD(ReferDataset):
    """RRSIS-D in its released layout (`ReferDataset`).

    Args:
        classes: The category names that may occur. None: those that instances.json lists.
    """

    PUBLISHED = dict(train=12181, val=1740, test=3481)
    METAINFO = dict(classes=CLASSES)
    SYNONYMS = SPACED
    OTHER_NAMES = (
        '; of other data in this layout, take any name by --any-category (verify.py, '
        'browse.py) or type=ReferDataset (configs)'
    )

    def __init__(self, *, classes: Sequence[str] | None = CLASSES, **kwargs: Any) -> None:
        super().__init__(classes=classes, **kwargs)
