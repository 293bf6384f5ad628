"""One self-contained HTML page to look through a data set: samples, filters, statistics."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .page import data_uri, fill_template
from .page_parts import wide_table
from .panel import GREEN, overlay, resize_image, resize_mask

SIZES = {
    'empty': 0,
    'small, under 32 × 32 pixels': 32**2,
    'medium, under 96 × 96': 96**2,
    'large': np.inf,
}


class Sample(NamedTuple):
    """A triplet as the page shows it."""

    sample_id: str
    text: str
    category: str  # '' where it is not known
    area: int  # pixels of the mask
    share: float  # of the image, 0 to 1
    thumbnail: np.ndarray  # (H, W, 3) uint8 with the mask on it


class Plot(NamedTuple):
    """A drawing for the page, with what stands above it."""

    title: str
    svg: str


def thumbnail(image: np.ndarray, mask: np.ndarray, side: int) -> np.ndarray:
    """The image (H, W, 3) uint8 at most `side` pixels wide and high, the mask (H, W) bool tinted
    and outlined. Images are never enlarged."""
    scale = min(1.0, side / max(mask.shape))
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    return overlay(resize_image(image, size), resize_mask(mask, size), GREEN, alpha=0.25)


def size_of(area: int) -> str:
    """The name in SIZES: COCO's limits."""
    return next(name for name, limit in SIZES.items() if area == limit == 0 or area < limit)


def browse_page(
    samples: Sequence[Sample],
    *,
    title: str,
    note: str,
    figures: Iterable[tuple[str, float, float | None]] = (),
    plots: Iterable[Plot] = (),
) -> str:
    """The page as text.

    Args:
        figures: (name, measured, published or None), a table on top.
        plots: below the table.
    """
    categories = sorted({sample.category for sample in samples if sample.category})
    sizes = [name for name in SIZES if any(size_of(sample.area) == name for sample in samples)]
    return fill_template(
        'browse.html',
        title=html.escape(title),
        note=html.escape(note),
        figures=_table(figures),
        plots=''.join(
            f'<figure><figcaption>{html.escape(plot.title)}</figcaption>{plot.svg}</figure>'
            for plot in plots
        ),
        categories=_options(categories),
        hide_categories='' if categories else ' hidden',
        sizes=_options(sizes),
        total=len(samples),
        cases='\n'.join(map(_case, samples)),
    )


def _options(names: Iterable[str]) -> str:
    return ''.join(f'<option>{html.escape(name)}</option>' for name in names)


def _table(figures: Iterable[tuple[str, float, float | None]]) -> str:
    figures = list(figures)
    if not figures:
        return ''
    head = ['', 'here', *(['published'] if any(known is not None for *_, known in figures) else [])]
    rows = (
        [html.escape(name), _number(measured), '' if known is None else _number(known)]
        for name, measured, known in figures
    )
    lines = (f'<tr>{"".join(f"<td>{cell}</td>" for cell in row[: len(head)])}</tr>' for row in rows)
    return wide_table(head, ''.join(lines), label='Statistics')


def _number(value: float) -> str:
    return f'{value:,}' if isinstance(value, int) else f'{value:,.2f}'


def _case(sample: Sample) -> str:
    text, category = html.escape(sample.text), html.escape(sample.category, quote=True)
    height, width = sample.thumbnail.shape[:2]
    facts = ' · '.join(
        html.escape(part)
        for part in (sample.category, f'{100 * sample.share:.2g} % of the image', sample.sample_id)
        if part
    )
    return (
        f'<figure data-category="{category}" data-size="{size_of(sample.area)}">'
        f'<img src="{data_uri(sample.thumbnail, quality=80)}" width="{width}" '
        f'height="{height}" loading="lazy" alt=""><figcaption><q>{text}</q>'
        f'<small>{facts}</small></figcaption></figure>'
    )
