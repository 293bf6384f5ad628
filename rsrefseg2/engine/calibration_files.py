"""The calibration of a checkpoint lies beside it: CHECKPOINT.calibration.json for CHECKPOINT.pth."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, TypedDict

from msgspec import Meta

from ..confidence import Calibration
from ..errors import UserError
from ..files import open_regular, write_text
from ..models import RefSegModel
from ..records import convert, read_json, to_json

ENDING = '.calibration.json'


class Entry(TypedDict):
    """`Calibration` in a file, and the checkpoint that it belongs to."""

    checkpoint: str  # `checkpoint_digest`
    weights: tuple[float, float, float, float]
    presence_threshold: Annotated[float, Meta(ge=0, le=1)]
    samples: Annotated[int, Meta(ge=1)]
    source: str


def calibration_path(checkpoint: str | Path) -> Path:
    """Where the calibration of a checkpoint lies."""
    return Path(checkpoint).with_suffix(ENDING)


def checkpoint_digest(checkpoint: str | Path) -> str:
    """The first 12 hexadecimal digits of the file's SHA-256."""
    with open_regular(checkpoint, what='the checkpoint') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()[:12]


def write_calibration(calibration: Calibration, checkpoint: str | Path) -> Path:
    """Writes it beside the checkpoint, in the place of an earlier one; -> the file.

    Raises:
        UserError: the checkpoint cannot be read, or the file not written.
    """
    path = calibration_path(checkpoint)
    entry = {'checkpoint': checkpoint_digest(checkpoint), **calibration._asdict()}
    write_text(path, to_json(entry, indent=2) + '\n')
    return path


def read_calibration(checkpoint: str | Path) -> Calibration | None:
    """The one beside the checkpoint; None where there is none.

    Raises:
        UserError: it is damaged, or of another checkpoint.
    """
    path = calibration_path(checkpoint)
    if not path.exists():
        return None
    entry = convert(read_json(path, what='the calibration'), Entry, location=str(path))
    if entry['checkpoint'] != checkpoint_digest(checkpoint):
        raise UserError(
            f'{path} is of another checkpoint than {checkpoint}: calibrate again (rsrefseg2 analysis '
            'calibrate), or remove it'
        )
    return Calibration(
        entry['weights'], entry['presence_threshold'], entry['samples'], entry['source']
    )


def calibration_of(model: RefSegModel, checkpoint: str | Path) -> Calibration | None:
    """`read_calibration`, for a model that gives the scores that it is of.

    Raises:
        UserError: it does not; see `read_calibration`.
    """
    calibration = read_calibration(checkpoint)
    if calibration is not None and set(model.score_heads) < {'iou', 'object'}:
        raise UserError(
            f'{checkpoint} is calibrated, but its config has not the heads that it is '
            "of: set model.sam.score_heads=['iou', 'object']"
        )
    return calibration


def threshold_of(model: RefSegModel, calibration: Calibration | None) -> float | None:
    """Below which presence an object is not found: the calibration's, else the config's, else
    None."""
    if calibration is not None:
        return calibration.presence_threshold
    return model.presence_threshold
