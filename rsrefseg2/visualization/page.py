"""One self-contained HTML page of panels: no server, no network, light and dark."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..files import replacing, write_text
from .page_parts import readable
from .panel import draw_tiles, iou, panel

FOLDER = Path(__file__).parent
# By which a page is known as ours (files.require_free): it stands in the head of every template.
MARK = '<meta name="generator" content="RSRefSeg2">'
PICTURE_MARK = 'written by rsrefseg2'  # the same of a PNG or PDF
LONGEST_ID = 160  # bytes of it in a file's name; many systems allow 255 in all


def spread(n: int, total: int) -> list[int]:
    """Up to n indices, evenly over 0 ... total - 1."""
    return np.linspace(0, total - 1, min(n, total)).round().astype(int).tolist()


def file_name(number: int, sample_id: str) -> str:
    """Of a sample's picture among others: the id's characters that every file system has, as many
    as fit into a name."""
    plain = ''.join(c if c.isalnum() or c in '-_.' else '_' for c in sample_id)
    plain = plain.encode()[:LONGEST_ID].decode(errors='ignore')
    return f'{number:03d}_{plain}.png'


class Case(NamedTuple):
    """What a panel shows, and what the page filters and sorts by."""

    image: np.ndarray  # (H, W, 3) uint8
    text: str  # the sentence
    pred_mask: np.ndarray  # (H, W) bool
    gt_mask: np.ndarray | None = None  # (H, W) bool
    dense_prompt: np.ndarray | None = None  # (h, w) logits
    sample_id: str = ''
    group: str = ''  # the level or the category; '' where there is none
    note: str = ''  # more about the sample
    score: float | None = None  # 0 to 1: the IoU where it is not that of the two masks

    @property
    def iou(self) -> float | None:
        """0 to 1; None without ground truth."""
        if self.gt_mask is None or self.score is not None:
            return self.score
        return iou(self.pred_mask, self.gt_mask)

    @property
    def facts(self) -> list[str]:
        """What stands beside the sentence."""
        return [
            part
            for part in (self.group, self.sample_id and f'sample {self.sample_id}', self.note)
            if part
        ]

    def tiles(self) -> list[tuple[str, np.ndarray]]:
        """(caption, (H', W', 3) uint8) of each tile, see `panel.draw_tiles`."""
        return draw_tiles(self.image, **self._parts())

    def draw(self) -> np.ndarray:
        """The panel (H', W', 3) uint8."""
        return panel(self.image, self.text, note=' · '.join(self.facts), **self._parts())

    def _parts(self) -> dict[str, Any]:
        names = ('pred_mask', 'gt_mask', 'dense_prompt', 'score')
        return {name: getattr(self, name) for name in names}


def page(
    cases: Iterable[Case],
    *,
    title: str,
    note: str = '',
    scores: Mapping[str, float] | None = None,
    body: str = '',
) -> str:
    """The page as text: a filter by word and by group, an order by IoU, the scores on top.

    Args:
        cases: what is shown, in the order in which it stands first.
        title, note: the heading and the line below it.
        scores: name -> value in percent; its table names what the caller puts into `note`.
        body: HTML that stands between the scores and the cases (plots.py, page_parts.py).
    """
    cases = list(cases)
    groups = sorted({case.group for case in cases if case.group})
    options = ''.join(f'<option>{html.escape(group)}</option>' for group in groups)
    return fill_template(
        'page.html',
        title=html.escape(title),
        note=html.escape(note),
        options=options,
        total=len(cases),
        hide_groups='' if groups else ' hidden',
        scores=_scores(scores or {}),
        body=body,
        cases='\n'.join(_case(i, case) for i, case in enumerate(cases)),
    )


def fill_template(name: str, **values: object) -> str:
    """A page of this folder with the common style and these values in place."""
    style, template = ((FOLDER / file).read_text(encoding='utf-8') for file in ('page.css', name))
    return Template(template).substitute(style=style, mark=MARK, **values)


def data_uri(picture: np.ndarray, *, quality: int = 88) -> str:
    """(H, W, 3) uint8 as a JPEG inside the page."""
    buffer = io.BytesIO()
    # JPEG keeps a page of a hundred panels near 10 MB; full chroma keeps the outlines sharp
    Image.fromarray(picture).save(buffer, 'JPEG', quality=quality, subsampling=0)
    return 'data:image/jpeg;base64,' + base64.b64encode(buffer.getvalue()).decode('ascii')


def write_page(path: str | Path, cases: Iterable[Case], **options: Any) -> None:
    """`page` with these options, written to a file, whole or not at all."""
    write_text(path, page(cases, **options))


def write_panel(path: Path, case: Case) -> None:
    """The case's panel as a PNG that bears `PICTURE_MARK`, whole or not at all."""
    info = PngInfo()
    info.add_text('Software', PICTURE_MARK)
    with replacing(path) as temporary:
        Image.fromarray(case.draw()).save(temporary, pnginfo=info)


def _scores(scores: Mapping[str, float]) -> str:
    if not scores:
        return ''
    cells = ''.join(
        f'<div><dt>{html.escape(readable(name))}</dt><dd>{value:.2f}</dd></div>'
        for name, value in scores.items()
    )
    return f'<dl>{cells}</dl>'


def _case(index: int, case: Case) -> str:
    text = html.escape(case.text, quote=True)
    score = case.iou
    tiles = ''.join(_tile(caption, picture, text) for caption, picture in case.tiles())
    facts = case.facts + ([] if score is None else [f'IoU {100 * score:.1f} %'])
    line = ' · '.join(map(html.escape, facts))
    return (
        f'<figure data-index="{index}" data-iou="{"" if score is None else score}" '
        f'data-group="{html.escape(case.group, quote=True)}">'
        f'<figcaption><q>{text}</q><small>{line}</small></figcaption>'
        f'<div class="tiles">{tiles}</div></figure>'
    )


def _tile(caption: str, picture: np.ndarray, text: str) -> str:
    caption = html.escape(caption)
    return (
        f'<div><span>{caption}</span><img src="{data_uri(picture)}" width="{picture.shape[1]}" '
        f'height="{picture.shape[0]}" loading="lazy" alt="{caption}: {text}"></div>'
    )
