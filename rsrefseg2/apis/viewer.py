"""Ask a view of any size: whole at once, looking closer (zoom), or tile by tile (sweep).

The method decides *where* on the whole view, at SigLIP's resolution, and draws *how* at SAM's. In a
large view both are too coarse for what is small. `zoom` looks again at the part that the first
look points at, at a finer resolution, and again, down to the picture's own pixels; what a look knows
of the place stays, as p_dense is a logit and logits of independent looks add up. So "the ship on the
upper left" means the view's upper left, and the outline has the picture's resolution.

`sweep` asks every tile of the picture's own resolution: for sentences of category and attribute
alone, and for all objects that fit them.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
import torch

from ..beside import read_ahead
from ..errors import UserError
from ..models.losses.segmentation import upsample
from ..rasters import (
    MOST_SIDE,
    Surface,
    View,
    Window,
    check_inside,
    interpolate,
    probability,
    resolution,
    surface_over,
)
from .predictor import EncodedImage, Predictor, Segment, Verdict, check_sentences
from .sources import Source

Mode = Literal['whole', 'zoom', 'sweep']
MODES: tuple[Mode, ...] = get_args(Mode)
LARGE = 2.0  # sides of SAM's input, from which on `Viewer.mode` zooms
STEP = 2.0  # a look is at least this share of the one before
CONTEXT = 5.0  # sides of the object that a look keeps, as the objects of training pictures have
WORTH = 0.75  # of the sides of the look before: a look that is larger would see nothing new
MOST_LOOKS = 12
OVERLAP = 0.25  # of a tile with the next
EMPTY = -20.0  # logit of a tile without a valid pixel
GIB = 2**30


class Answer(NamedTuple):
    """The answer to one sentence."""

    text: str
    surface: Surface  # the mask's logits; nothing is found beside it
    dense_prompt: np.ndarray | None  # (h, w) logits p_dense of the first look; None: none made
    looks: tuple[Window, ...]  # what was looked at, the view first; of a sweep the view alone
    confidence: float  # calibrated (`Predictor.verdict`); else the mean probability of the found
    # cells that are valid, 0 where none is
    unknown: tuple[str, ...]  # words of the sentence that the model does not know
    verdict: Verdict | None = None  # of SAM's heads; None: the model has no threshold

    @property
    def found(self) -> bool:
        """Whether the mask has a cell."""
        return self.confidence > 0 if self.verdict is None else self.verdict.found


class Look(NamedTuple):
    """A part of the view as the model answered it."""

    window: Window
    logits: np.ndarray  # (h, w) of the mask
    valid: np.ndarray  # (h, w) bool, any size: where something is known
    predicted_iou: float | None = None


class Viewer:
    """A window of a picture, asked any number of sentences; the view is encoded once.

    Args:
        source: see `open_source`; it stays open while it is asked.
        window: its part; None: all of it.
        pixels: the picture's own pixels, by side, that are one pixel at the finest look: 1, or by a
            ground resolution that is asked for.
        memory: bytes for a sweep's logits; more are kept in a temporary file.
        progress: is told of a sweep's tiles: how many are done, how many there are.
    Raises:
        UserError: the window is not inside.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: Source,
        window: Window | None = None,
        *,
        pixels: float = 1.0,
        memory: int = GIB,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.predictor, self.source = predictor, source
        self.memory, self.progress = memory, progress
        self.window = source.whole if window is None else Window(*window)
        check_inside(self.window, source.shape, source.name)
        side = predictor.model.input_size[0]
        self.pixels = pixels
        self.finest = max(1, round(side * pixels))  # side of a look at the finest resolution
        self._encoded: EncodedImage | None = None
        self._valid = np.ones((1, 1), bool)  # of the encoded view

    @property
    def mode(self) -> Mode:
        """What is asked where nobody says: `zoom` where the view is larger than LARGE sides of the
        finest look and than the model's `whole_view`, else `whole`. Never `sweep`, in which "on
        the left" means a tile's left."""
        limit = max(LARGE * self.finest, self.predictor.model.whole_view or 0)
        large = max(self.window.width, self.window.height) > limit
        return 'zoom' if large else 'whole'

    def reason(self, mode: Mode) -> str:
        """What the mode does with this view, in words."""
        size = f'{self.window.width} x {self.window.height} pixels'
        if mode == 'zoom':
            return f'{size}, looked at again down to {self.finest} pixels a side'
        if mode == 'sweep':
            across, down = self.tiles()
            return f'{size} in {len(across) * len(down)} tiles, "on the left" is left in its tile'
        return f'{size} at once'

    def ask(self, sentences: str | Sequence[str], mode: Mode | None = None) -> list[Answer]:
        """One Answer for each sentence, in their order.

        Args:
            mode: None: `self.mode`.
        Raises:
            ValueError: another mode.
            UserError: a sentence is empty, too long or no text; the picture cannot be read; no
                pixel of the view is valid; the model gives NaN.
        """
        mode = self.mode if mode is None else mode
        if mode not in MODES:
            raise ValueError(f'mode is one of {", ".join(MODES)}, not {mode!r}')
        sentences = check_sentences([sentences] if isinstance(sentences, str) else sentences)
        if mode == 'sweep':
            return self._sweep(sentences)
        first = self.predictor.segment_scored(sentences, self.encoded)
        return [self._ask(text, one, mode) for text, one in zip(sentences, first, strict=True)]

    def _ask(self, text: str, first: Segment, mode: Mode) -> Answer:
        """Presence is of the first look, which sees all of the view; the IoU is of the last."""
        looks = [Look(self.window, first.logits, self._valid, first.predicted_iou)]
        verdict = self.verdict(first.presence, looks[0])
        if mode == 'zoom' and (verdict is None or verdict.found):
            looks += self.look_closer(text, first.logits, first.dense_prompt)
            verdict = self.verdict(first.presence, looks[-1])
        return self._answer(text, looks, first.dense_prompt, verdict)

    def verdict(self, presence: float | None, look: Look) -> Verdict | None:
        """`Predictor.verdict` on a look's mask."""
        mean_probability = confidence_of(look.logits, look.valid)
        return self.predictor.verdict(presence, look.predicted_iou, mean_probability)

    @property
    def encoded(self) -> EncodedImage:
        """The view as the towers see it."""
        if self._encoded is None:
            side = max(1, round(max(self.window.width, self.window.height) / self.pixels))
            view = self.source.view(self.window, most_side=min(MOST_SIDE, side))
            self._encoded, self._valid = self.predictor.encode(view.image), view.valid
        return self._encoded

    def _answer(
        self, text: str, looks: list[Look], dense: np.ndarray | None, verdict: Verdict | None
    ) -> Answer:
        window, logits, valid, _ = looks[-1]
        confidence = confidence_by(verdict, confidence_of(logits, valid))
        if verdict is not None and not verdict.found:
            logits = np.full_like(logits, EMPTY)
        if self.source.raster is None and len(looks) == 1:  # as `Predictor.predict` gives it
            shape = window.height, window.width
            logits = upsample(torch.from_numpy(logits)[None], shape)[0].numpy()
        return Answer(
            text,
            surface_over(window, logits),
            dense,
            tuple(look.window for look in looks),
            confidence,
            self.predictor.unknown_words(text),
            verdict,
        )

    # ------------------------------------------------------------------ zoom

    def look_closer(
        self, text: str, logits: np.ndarray, dense: np.ndarray | None
    ) -> Iterator[Look]:
        """The looks behind the first.

        Args:
            logits, dense: the first look's, of `Predictor.segment`.
        """
        window = self.window
        for _ in range(MOST_LOOKS):
            closer = self.next_look(window, logits, dense)
            if closer.width > WORTH * window.width and closer.height > WORTH * window.height:
                return
            prior = None if dense is None else known_before(dense, window, closer)
            view = self.source.view(closer, most_side=MOST_SIDE, must_see=False)
            if not view.valid.any():
                return
            image = self.predictor.encode(view.image)
            (one,) = self.predictor.segment_scored([text], image, prior)
            window, logits, dense = closer, one.logits, one.dense_prompt
            yield Look(window, logits, view.valid, one.predicted_iou)

    def next_look(self, window: Window, logits: np.ndarray, dense: np.ndarray | None) -> Window:
        """Where a look points: around the likeliest cell's part of the mask, with its context."""
        height, width = logits.shape
        mask = probability(logits)
        likely = mask
        if dense is not None:
            likely = mask * probability(cv2.resize(dense, (width, height)))
        row, column = np.unravel_index(cv2.GaussianBlur(likely, (0, 0), 1.0).argmax(), mask.shape)
        _, parts, boxes, _ = cv2.connectedComponentsWithStats((logits > 0).astype(np.uint8))
        x, y, w, h = column, row, 1, 1
        if parts[row, column]:
            x, y, w, h = boxes[parts[row, column]][:4]
        across, down = window.width / width, window.height / height  # pixels a cell
        side = max(
            self.finest,
            max(window.width, window.height) / STEP,
            CONTEXT * max(w * across, h * down),
        )
        return around(
            window.column + (x + w / 2) * across, window.row + (y + h / 2) * down, side, window
        )

    # ------------------------------------------------------------------ sweep

    def tiles(self) -> tuple[list[Tile], list[Tile]]:
        """The sweep's tiles along columns and along rows."""
        width, height = (min(self.finest, side) for side in self.window[2:])
        down, across = self.predictor.cells((height, width))
        return (
            tiles_along(self.window.width, self.finest, across),
            tiles_along(self.window.height, self.finest, down),
        )

    def _sweep(self, sentences: Sequence[str]) -> list[Answer]:
        across, down = self.tiles()
        grid = self._grid(
            (len(sentences), down[-1].first + down[-1].cells, across[-1].first + across[-1].cells)
        )
        valid = np.zeros(grid.shape[1:], bool)
        verdicts: list[Verdict | None] = [None] * len(sentences)
        tiles = list(itertools.product(down, across))
        views = read_ahead(self._tile_view, tiles)
        for done, ((y, x), view) in enumerate(zip(tiles, views, strict=True)):
            if self.progress is not None:
                self.progress(done, len(tiles))
            weight = (y.weights[:, None] * x.weights).astype(np.float32)
            logits, known = self._ask_tile(sentences, view, (y.cells, x.cells), verdicts)
            valid[y.first : y.first + y.cells, x.first : x.first + x.cells] |= known
            for k in range(len(sentences)):
                part = grid[k, y.first : y.first + y.cells, x.first : x.first + x.cells]
                part += weight * (EMPTY if logits is None else logits[k])
        if not valid.any():  # which is said here
            self.source.view(self.window, most_side=MOST_SIDE)
        cells = down[0].cells / down[0].length, across[0].cells / across[0].length
        return [
            Answer(
                text,
                Surface(self.window, logits, cells),
                None,
                (self.window,),
                confidence_by(verdict, confidence_of(logits, valid)),
                self.predictor.unknown_words(text),
                verdict,
            )
            for text, logits, verdict in zip(sentences, grid, verdicts, strict=True)
        ]

    def _tile_view(self, tile: tuple[Tile, Tile]) -> View:
        """The tile's pixels, of its rows and columns."""
        y, x = tile
        column, row = self.window.column + x.start, self.window.row + y.start
        window = Window(column, row, x.length, y.length)
        return self.source.view(window, most_side=MOST_SIDE, must_see=False)

    def _ask_tile(
        self,
        sentences: Sequence[str],
        view: View,
        cells: tuple[int, int],
        verdicts: list[Verdict | None],
    ) -> tuple[list[np.ndarray] | None, np.ndarray]:
        """The mask's logits (cells) of each sentence, None where no pixel is valid; and the valid
        cells. In a tile without the object they are EMPTY; `verdicts` keeps the surest of all
        tiles."""
        known = nearest(view.valid, cells)
        if not view.valid.any():
            return None, known
        image = self.predictor.encode(view.image)
        maps = []
        for k, one in enumerate(self.predictor.segment_scored(sentences, image)):
            look = Look(view.window, one.logits, view.valid, one.predicted_iou)
            verdict = self.verdict(one.presence, look)
            verdicts[k] = surer(verdicts[k], verdict)
            lacks = verdict is not None and not verdict.found
            maps.append(
                np.full(known.shape, EMPTY) if lacks else resampled(one.logits, known.shape)
            )
        return maps, known

    def _grid(self, shape: tuple[int, ...]) -> np.ndarray:
        """Zeros in memory, or in a file that the system removes with the last reference."""
        if 4 * math.prod(shape) <= self.memory:
            return np.zeros(shape, np.float32)
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, np.float32, 'w+', shape=shape)


def confidence_by(verdict: Verdict | None, mean_probability: float) -> float:
    """The calibrated confidence, or else the mean probability (`confidence_of`)."""
    if verdict is None or verdict.confidence is None:
        return mean_probability
    return verdict.confidence


def surer(first: Verdict | None, second: Verdict | None) -> Verdict | None:
    """Of two tiles' verdicts the one that found something, else the more confident one."""
    if first is None or second is None:
        return first or second
    return max(first, second, key=lambda one: (one.found, one.confidence or 0.0))


class Tile(NamedTuple):
    """One axis of a sweep's tile."""

    start: int  # in the view's pixels
    length: int
    first: int  # in the sweep's cells
    cells: int
    weights: np.ndarray  # (cells,) float64; those of all tiles at a cell sum to 1


def tiles_along(length: int, side: int, cells: int) -> list[Tile]:
    """The tiles of one axis, evenly spread, each overlapping the next by at least OVERLAP.

    Args:
        length: pixels of the view.  side: pixels of a tile.
        cells: of a tile's answer; the tiles' cells are those of one grid.
    """
    size = side / cells  # pixels a cell
    if length < side + size:
        return [Tile(0, length, 0, cells, np.ones(cells))]
    total = math.floor((length - side) / size) + cells  # the rest is less than a cell
    lap = round(OVERLAP * cells)
    count = math.ceil((total - lap) / (cells - lap))
    firsts = [round(k * (total - cells) / (count - 1)) for k in range(count)]
    weights = []
    for k, first in enumerate(firsts):
        weight = np.ones(cells)
        if k:
            ramp = firsts[k - 1] + cells - first
            weight[:ramp] = (np.arange(ramp) + 0.5) / ramp
        if k + 1 < count:
            ramp = first + cells - firsts[k + 1]
            weight[cells - ramp :] = np.minimum(
                weight[cells - ramp :], (np.arange(ramp)[::-1] + 0.5) / ramp
            )
        weights.append(weight)
    sums = np.zeros(total)
    for first, weight in zip(firsts, weights, strict=True):
        sums[first : first + cells] += weight
    return [
        Tile(round(first * size), side, first, cells, weight / sums[first : first + cells])
        for first, weight in zip(firsts, weights, strict=True)
    ]


def around(x: float, y: float, side: float, window: Window) -> Window:
    """The square of `side` pixels around (x, y), moved and cut to lie in the window."""
    starts, lengths = [], []
    for centre, start, length in ((x, window.column, window.width), (y, window.row, window.height)):
        size = min(length, round(side))
        lengths.append(size)
        starts.append(round(min(max(centre - size / 2, start), start + length - size)))
    return Window(*starts, *lengths)


def known_before(dense: np.ndarray, window: Window, closer: Window) -> np.ndarray:
    """What p_dense (h, w) of a look at `window` says of the place within `closer`: its logits
    there, at the same number of cells, less their largest, which is the look's own to say."""
    height, width = dense.shape
    across, down = window.width / width, window.height / height
    x = (closer.column - window.column + (np.arange(width) + 0.5) * closer.width / width) / across
    y = (closer.row - window.row + (np.arange(height) + 0.5) * closer.height / height) / down
    prior = interpolate(dense, y - 0.5, x - 0.5)
    return prior - prior.max()


def confidence_of(logits: np.ndarray, valid: np.ndarray) -> float:
    """The mean probability of the cells that are found and valid; 0 where none is. `valid`: of any
    size."""
    found = logits[(logits > 0) & nearest(valid, (logits.shape[0], logits.shape[1]))]
    return float(probability(found).mean()) if found.size else 0.0


def resampled(logits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Logits (h, w) at the centres of `shape` cells; of as many the same numbers."""
    y, x = (
        (np.arange(count) + 0.5) * length / count - 0.5
        for count, length in zip(shape, logits.shape, strict=True)
    )
    return interpolate(logits, y, x)


def nearest(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`values` (h, w) at the centres of `shape` cells."""
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(int)
        for count, length in zip(shape, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


def pixels_of(source: Source, window: Window | None, gsd: float | None) -> float:
    """The raster's own pixels that are one pixel of `gsd` metres; 1 without `gsd`.

    Raises:
        UserError: the source has no coordinates.
    """
    if gsd is None:
        return 1.0
    if source.raster is None:
        raise UserError('gsd needs a raster with coordinates: leave it out')
    return gsd / resolution(source.raster, source.whole if window is None else window)
