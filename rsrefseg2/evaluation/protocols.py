"""What a score means: the sizes compared, the comparison of Pr@X, and the case of two empty masks.

In this field one name (gIoU, mIoU, Pr@0.5) stands for several numbers. They differ in these three
points, and in how sentences without a target count. A protocol is these points, and every table
names its protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError, suggest

TENTHS = (5, 6, 7, 8, 9)  # thresholds as integers: 0.1 * k is not exact in binary
PRESENCE = ('N-acc', 'T-acc')  # sentences without a target found empty, with one not found empty


@dataclass(frozen=True)
class Protocol:
    """How two binary masks become an intersection, a union and an IoU.

    Args:
        size: both masks are squashed to size x size before they are compared; None: both have the
            original size of the image, and another size is an error.
        inclusive: Pr@X counts IoU >= X; otherwise IoU > X.
        both_empty: the IoU of two empty masks: 0, 1, or NaN, which makes the mean NaN.
        rules: the same in words, for the line above a table.
        generalised: sentences may have no target. Then N-acc and T-acc are scored, Pr@X counts the
            sentences with a target alone, and a score over no sentence at all is NaN.
    """

    name: str
    size: int | None
    inclusive: bool
    both_empty: float
    rules: str
    generalised: bool = False

    def overlap(self, pred: np.ndarray, gt: np.ndarray, *, location: str) -> tuple[int, int]:
        """Intersection and union, in pixels, of two masks (H, W) bool.

        Raises:
            UserError: the masks differ in size, and the protocol compares original sizes.
        """
        if self.size is not None:
            pred, gt = squash(pred, self.size), squash(gt, self.size)
        if pred.shape != gt.shape:
            raise UserError(
                f'{location}: the predicted mask is {pred.shape}, the annotated one '
                f'{gt.shape}; protocol {self.name} compares both at the original '
                'size (H, W): resize the prediction to it'
            )
        intersection = int(np.count_nonzero(pred & gt))
        return intersection, int(np.count_nonzero(pred)) + int(np.count_nonzero(gt)) - intersection

    def iou(self, intersection: int, union: int) -> float:
        """0 to 1, or NaN."""
        return intersection / union if union else self.both_empty

    def in_precision(self, record: Mapping[str, Any]) -> bool:
        """Whether Pr@X counts a sample, by its `area`."""
        return not self.generalised or record['area'] > 0

    def presence(self, record: Mapping[str, Any]) -> dict[str, bool]:
        """{'N-acc': the prediction is empty} of a sample without a target, {'T-acc': it is not} of
        one with a target, by its `area`, `intersection` and `union`; {} under other protocols."""
        if not self.generalised:
            return {}
        area, union = record['area'], record['union']
        if not area:
            return {'N-acc': not union}
        return {'T-acc': union - area + record['intersection'] > 0}  # the prediction's pixels

    def passes(self, intersection: int, union: int, tenths: int) -> bool:
        """Whether the IoU passes the threshold tenths / 10, decided in integers."""
        if not union:
            return self.both_empty > 0.5  # NaN passes nothing
        if self.inclusive:
            return 10 * intersection >= tenths * union
        return 10 * intersection > tenths * union


def squash(mask: np.ndarray, size: int) -> np.ndarray:
    """(H, W) -> (size, size) by nearest neighbour, with Pillow, as RMSIN's transform does."""
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(image.resize((size, size), Image.Resampling.NEAREST)) > 0


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # RSRefSeg 2's tables; Pr@X and the rest as its release computes them, but for two empty masks
        Protocol(
            'paper', None, False, 0.0, 'original size, logits > 0, Pr@X with >, both masks empty: 0'
        ),
        # the LAVT family: LGCE, RMSIN, FIANet, RS2-SAM2
        Protocol(
            'rmsin',
            480,
            True,
            0.0,
            'binary masks squashed to 480 x 480 by nearest neighbour, Pr@X with >=, both masks '
            'empty: 0',
        ),
        # LISA, EVF-SAM, SegEarth-R1 (without their 1e-5 in the denominator)
        Protocol(
            'lisa', None, False, 1.0, 'original size, logits > 0, Pr@X with >, both masks empty: 1'
        ),
        # RSRefSeg 2's released code: 0 / 0 makes the mean NaN
        Protocol(
            'release',
            None,
            False,
            math.nan,
            'original size, logits > 0, Pr@X with >, both masks empty: NaN, and so is the mean',
        ),
        # gRefCOCO (GRES, CVPR 2023), as ReLA's gres_model/evaluation/refer_evaluation.py scores it
        Protocol(
            'generalised',
            None,
            True,
            1.0,
            'original size, logits > 0, both masks empty: 1; Pr@X with >=, over the sentences with '
            'a target; N-acc: found empty of those without, T-acc: not empty of those with',
            generalised=True,
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; an error with the near matches otherwise."""
    if name not in PROTOCOLS:
        raise UserError(
            f'protocol {name!r} is not one of {", ".join(PROTOCOLS)}{suggest(name, PROTOCOLS)}'
        )
    return PROTOCOLS[name]
