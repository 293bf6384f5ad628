"""What an exported folder holds: its description, `model.json`, and the pixels and ids it asks for.

Without torch: `onnx_predictor` reads it, `export_graphs` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..confidence import Calibration
from ..errors import UserError
from .numpy_resize import resize

DESCRIPTION, TOKENIZER = 'model.json', 'tokenizer.json'
GRAPHS = ('image_encoder', 'text_encoder', 'decoder')


class GraphFile(NamedTuple):
    """One graph: its file in the folder, and the names of its inputs and outputs, in order."""

    file: str
    inputs: list[str]
    outputs: list[str]


class Description(NamedTuple):
    """`model.json`: everything that the graphs do not say themselves."""

    name: str
    format: Literal['onnx', 'torch', 'aoti']
    opset: int | None  # of ONNX
    graphs: dict[str, GraphFile]  # one for each of GRAPHS
    size_siglip: int  # H1 = W1
    size_sam: int  # H2 = W2
    mean_siglip: list[float]
    std_siglip: list[float]
    mean_sam: list[float]
    std_sam: list[float]
    siglip_from: Literal['original', 'sam_input']
    sam_resize: Literal['float32', 'uint8']
    fit: Literal['squash', 'pad']
    upsample_via_sam_input: bool
    max_length: int  # positions of the text tower
    padding: Literal['full', 'longest']
    lower_case: bool
    pad_id: int
    eos_id: int
    bos_id: int | None
    device: str = 'cpu'  # 'cuda': torch's graphs, which run there alone
    presence_threshold: float | None = None  # of 'not found'; None: every mask as drawn
    calibration: Calibration | None = None  # of the confidence

    # -------------------------------------------------------------- pixels

    def images(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB -> I_1 (1, 3, H1, H1), I_2 (1, 3, H2, H2) float32, normalised, as
        `RefSegDataPreprocessor.images` makes them."""
        large = self._square(image, self.size_sam, self.sam_resize)
        if self.size_siglip == self.size_sam and self.sam_resize == 'float32':
            small = large  # the same square, by either way
        elif self.siglip_from == 'original':
            small = self._square(image, self.size_siglip, 'float32')
        else:
            small = resize(large, (self.size_siglip, self.size_siglip), antialias=False)
        return (
            _normalise(small, self.mean_siglip, self.std_siglip),
            _normalise(large, self.mean_sam, self.std_sam),
        )

    def _square(self, image: np.ndarray, side: int, how: str) -> np.ndarray:
        """(H, W, 3) uint8 -> (3, side, side) float32 in [0, 1], as `fit` says."""
        height, width = self.content_size(image.shape[:2], side)
        if how == 'uint8':
            import cv2

            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        square = np.zeros((3, side, side), np.float32)  # black
        square[:, :height, :width] = resize(pixels, (height, width), antialias=True)
        return square

    def content_size(self, shape: Sequence[int], side: int) -> tuple[int, int]:
        """Height and width of an image of `shape` (H, W) within its square of `side`."""
        if self.fit == 'squash':
            return side, side
        scale = side / max(shape)
        height, width = (max(1, int(length * scale + 0.5)) for length in shape)
        return height, width

    def masks(self, mask_logits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """(B, H2/4, W2/4) of the decoder -> (B, H, W) logits of an image of `shape`."""
        if self.upsample_via_sam_input:
            mask_logits = resize(mask_logits, (self.size_sam, self.size_sam), antialias=False)
        return resize(self.without_border(mask_logits, shape), shape, antialias=False)

    def without_border(self, maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Maps (..., side, side) of an image of `shape` (H, W) without the border of `fit`."""
        height, width = self.content_size(shape, maps.shape[-1])
        return maps[..., :height, :width]

    # ----------------------------------------------------------------- ids

    def pad(self, sentences: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of B sentences, without marks -> ids (B, max_length) int64, each followed by eos,
        CLIP's after its bos, padded on the right; lengths (B,) int64 with the marks. With padding
        'longest' ids (B, the longest length). What is too long is cut and keeps its eos."""
        bos = [] if self.bos_id is None else [self.bos_id]
        room = self.max_length - 1 - len(bos)
        rows = [[*bos, *tokens[:room], self.eos_id] for tokens in sentences]
        lengths = np.array([len(row) for row in rows], np.int64)
        width = int(lengths.max()) if self.padding == 'longest' else self.max_length
        ids = np.full((len(rows), width), self.pad_id, np.int64)
        for line, row in zip(ids, rows, strict=True):
            line[: len(row)] = row
        return ids, lengths


def _normalise(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(3, h, w) in [0, 1] -> (1, 3, h, w) of zero mean and unit variance by channel."""
    means, stds = (np.array(values, np.float32)[:, None, None] for values in (mean, std))
    return ((image - means) / stds)[None]


def write_description(description: Description, folder: Path) -> None:
    """`model.json` of a folder."""
    content = description._asdict()
    content['graphs'] = {name: graph._asdict() for name, graph in description.graphs.items()}
    if description.calibration is not None:
        content['calibration'] = description.calibration._asdict()
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')


def read_description(folder: str | Path) -> Description:
    """`model.json` of a folder.

    Raises:
        UserError: there is none, or it is not one of `rsrefseg2 export`.
    """
    path = Path(folder) / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        graphs = {name: GraphFile(**content['graphs'][name]) for name in GRAPHS}
        calibration = content.get('calibration')
        if calibration is not None:
            constant, presence, iou, mean = calibration['weights']
            weights = constant, presence, iou, mean
            calibration = Calibration(**{**calibration, 'weights': weights})
        return Description(**{**content, 'graphs': graphs, 'calibration': calibration})
    except OSError as error:
        raise UserError(
            f'{path} cannot be read ({error.strerror}): name a folder of rsrefseg2 export'
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} is not a description of rsrefseg2 export ({error}): export the model again'
        ) from None
