"""The grids of Figs. 2 and 4-6, for print: a row per sample, its sentence above, a column per view.

  Image      Ground truth   RSRefSeg 2   another
the sentence, wrapped over the whole width
[tile]       [tile]         [tile]       [tile]
                            IoU 91.0     IoU 43.2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import make_folder
from ..extras import require_extra
from ..files import replacing, require_free
from .drawing import new_figure
from .page import PICTURE_MARK
from .panel import heat, overlay, resize_image, resize_mask, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300  # of the PNG, and of the pictures in the PDF
GAP, ROW_GAP = 0.04, 0.1  # inches between columns and between rows
HEAD, TEXT, NOTE = 8, 8, 6.5  # points
LEADING = 1.3  # of a line, in its font's size
INK, QUIET = '#181c22', '#5a626d'


class Tile(NamedTuple):
    """One picture: the image, with a mask or a map over it."""

    image: np.ndarray  # (H, W, 3) uint8
    mask: np.ndarray | None = None  # (h, w) bool, any size: it covers the whole image
    colour: tuple[int, int, int] = (0, 0, 0)  # of the mask
    values: np.ndarray | None = None  # (h, w) 0 to 1, a map in its place
    note: str = ''  # one line below

    def draw(self, width: int) -> np.ndarray:
        """(H', width, 3) uint8."""
        height, full = self.image.shape[:2]
        size = width, max(1, round(height * width / full))
        shown = resize_image(self.image, size)
        if self.values is not None:
            return heat(shown, self.values)
        return (
            shown
            if self.mask is None
            else overlay(shown, resize_mask(self.mask, size), self.colour)
        )


class Row(NamedTuple):
    """One sample."""

    text: str
    tiles: Sequence[Tile]


def grid(rows: Sequence[Row], heads: Sequence[str], *, width: float = 7.16) -> Figure:
    """The figure; `save` writes it.

    Args:
        rows: all with len(heads) tiles.
        heads: the columns' names.
        width: inches; 7.16 is a page of two columns, 3.5 one of them.
    Raises:
        ValueError: no row, or a row with another number of tiles.
        UserError: matplotlib is not installed.
    """
    if not rows or any(len(row.tiles) != len(heads) for row in rows):
        raise ValueError(
            f'{len(heads)} columns, but rows of {[len(row.tiles) for row in rows]} tiles'
        )
    require_extra('plots', 'a figure')
    column = (width - GAP * (len(heads) - 1)) / len(heads)
    blocks = [_Block(row, column, width) for row in rows]
    names = [wrap(head, _length(HEAD, 'bold'), column) for head in heads]
    top = ROW_GAP / 2 + max(map(len, names)) * _line(HEAD)
    height = top + sum(block.height + ROW_GAP for block in blocks)
    figure = new_figure(width, height, layout=None)
    lefts = [i * (column + GAP) for i in range(len(heads))]
    for left, lines in zip(lefts, names, strict=True):
        _write(figure, left + column / 2, ROW_GAP / 2, lines, HEAD, ha='center', fontweight='bold')
    y = top
    for block in blocks:
        block.draw(figure, lefts, y)
        y += block.height + ROW_GAP
    return figure


def free_paths(stem: str | Path, *, option: str = '--out', overwrite: bool = False) -> list[Path]:
    """<stem>.png and <stem>.pdf, whichever suffix of the two is given; their folder is made.

    Raises:
        UserError: see `files.require_free`.
    """
    stem = Path(stem)
    stem = stem.with_suffix('') if stem.suffix in ('.png', '.pdf') else stem
    make_folder(stem.parent)
    paths = [Path(f'{stem}.png'), Path(f'{stem}.pdf')]
    for path in paths:
        require_free(path, mark=PICTURE_MARK, option=option, overwrite=overwrite)
    return paths


def save(
    figure: Figure, stem: str | Path, *, option: str = '--out', overwrite: bool = False
) -> list[Path]:
    """Writes <stem>.png and <stem>.pdf (text as text, fonts embedded), see `free_paths`; -> both.

    Raises:
        UserError: see `free_paths` and `files.replacing`.
    """
    import matplotlib

    paths = free_paths(stem, option=option, overwrite=overwrite)
    with matplotlib.rc_context({'pdf.fonttype': 42}):  # TrueType: publishers refuse Type 3
        with replacing(paths[0]) as temporary:
            figure.savefig(
                temporary, dpi=DPI, facecolor='white', metadata={'Software': PICTURE_MARK}
            )
        with replacing(paths[1]) as temporary:
            # without the date: the same figure is the same file
            figure.savefig(temporary, dpi=DPI, facecolor='white', metadata={'CreationDate': None})
            with open(temporary, 'ab') as file:  # a comment: other metadata may be compressed
                file.write(f'% {PICTURE_MARK}\n'.encode())
    return paths


class _Block:
    """A row's sizes, in inches, and its drawn tiles."""

    def __init__(self, row: Row, column: float, width: float) -> None:
        self.row, self.column = row, column
        self.lines = wrap(row.text, _length(TEXT), width)
        self.head = len(self.lines) * _line(TEXT) + 0.02
        self.pictures = [tile.draw(round(column * DPI)) for tile in row.tiles]
        tall = max(column * picture.shape[0] / picture.shape[1] for picture in self.pictures)
        notes = _line(NOTE) + 0.02 if any(tile.note for tile in row.tiles) else 0
        self.height = self.head + tall + notes

    def draw(self, figure: Figure, lefts: Sequence[float], y: float) -> None:
        """The sentence, and below it the tiles at these left edges; `y` inches below the top."""
        width, height = figure.get_size_inches()
        _write(figure, 0, y, self.lines, TEXT)
        y += self.head
        for left, tile, picture in zip(lefts, self.row.tiles, self.pictures, strict=True):
            tall = self.column * picture.shape[0] / picture.shape[1]
            axes = figure.add_axes(
                (left / width, 1 - (y + tall) / height, self.column / width, tall / height)
            )
            axes.imshow(picture, aspect='auto', interpolation='none')
            axes.set_axis_off()
            middle, below = left + self.column / 2, y + tall + 0.02
            _write(figure, middle, below, [tile.note], NOTE, ha='center', color=QUIET)


def _write(
    figure: Figure, x: float, y: float, lines: Sequence[str], size: float, **style: Any
) -> None:
    """Lines of text, x and y in inches from the top left."""
    width, height = figure.get_size_inches()
    for i, line in enumerate(lines):
        figure.text(
            x / width,
            1 - (y + i * _line(size)) / height,
            line,
            fontsize=size,
            va='top',
            parse_math=False,
            **{'color': INK, **style},
        )


def _line(size: float) -> float:
    """Inches from line to line."""
    return LEADING * size / 72


def _length(size: float, weight: str = 'normal') -> Callable[[str], float]:
    """text -> inches, as it will be printed."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    return lambda text: text_to_path.get_text_width_height_descent(text, font, False)[0] / 72
