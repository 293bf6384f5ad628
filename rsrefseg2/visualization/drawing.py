"""Matplotlib for this package: imported when a figure is made, and turned into SVG for a page."""

from __future__ import annotations

import hashlib
import html
import io
import re
from typing import TYPE_CHECKING, Literal

from ..extras import require_extra
from ..terminal import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, EDGE = '#181c22', '#626a75', '#e4e7ea'
ACCENT = '#c2410c'
# The colours of a plot that follow the page's (page.css), so that it is legible in dark mode.
PAGE_COLOURS = {ACCENT: 'var(--accent)', QUIET: 'var(--quiet)', EDGE: 'var(--edge)'}


def new_figure(
    width: float, height: float, *, layout: Literal['constrained'] | None = 'constrained'
) -> Figure:
    """An empty figure of this size in inches, without a window.

    Raises:
        UserError: matplotlib is not installed.
    """
    require_extra('plots', 'a plot')
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def clean_axes(axes: Axes, grid: Literal['x', 'y', 'both']) -> None:
    """No frame above and to the right; a light grid behind the data, along 'x', 'y' or 'both'."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis=grid, color=EDGE, linewidth=0.8)
    axes.set_axisbelow(True)


def literal(name: str) -> str:
    """A name from data as matplotlib shows it as it stands: no formula, no control character."""
    return visible(name).replace('$', r'\$')


def to_svg(figure: Figure, *, label: str) -> str:
    """The figure as an <svg> element for a page: text stays text, colours follow the page's.

    Equal figures give equal text. `PAGE_COLOURS` lists the colours that change with the page.

    Args:
        label: what the plot shows, for readers that do not see it.
    """
    import matplotlib

    buffer = io.StringIO()
    salt = hashlib.sha256(label.encode()).hexdigest()[:8]  # ids of two plots of a page differ
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': salt}):
        metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
        figure.savefig(buffer, format='svg', transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<(metadata|style)\b.*?</\1>|<!--.*?-->', '', text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', text)  # known to HTML; no address on the page
    used = set(re.findall(r'#([\w-]+)["\')]', text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] * (found[1] in used), text)
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    text = re.sub(r'font-family: [^;"]*; ', '', text)  # the page's own font
    return text.replace('<svg', f'<svg role="img" aria-label="{html.escape(label)}"', 1).strip()
