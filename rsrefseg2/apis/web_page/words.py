"""What the page says, as HTML: everything that came from a visitor is escaped."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from urllib.parse import quote

from PIL import Image

from ...terminal import visible
from .drawings import Drawing
from .session import Picture, Reply, Written

QUALITY = 90  # of a drawing's JPEG
SURE = 0.75  # a lower confidence is named low: scenes of the shipped model lie above it when right
KINDS = {'png': 'PNG', 'tif': 'GeoTIFF', 'geojson': 'GeoJSON'}


def error_html(error: Exception) -> str:
    """A UserError's line."""
    return f'<p class="said wrong" role="alert">{_escape(_sentence(str(error)))}</p>'


def picture_html(picture: Picture, hint: str = '') -> str:
    """What was dropped.

    Args:
        hint: a further sentence.
    """
    height, width = picture.shape
    facts = [_escape(picture.name), f'{width:,} × {height:,} pixels']
    if picture.crs:
        facts.append(_escape(picture.crs))
    more = f'<br>{_escape(hint)}' if hint else ''
    return f'<p class="said" role="status">{" · ".join(facts)}. Ask away.{more}</p>'


def reply_html(reply: Reply) -> str:
    """Whether something was found, how sure the model is, how it looked, the words unknown to it."""
    answer = reply.answer
    lines = [f'<q>{_escape(answer.text)}</q>']
    if answer.found:
        percent = round(100 * answer.confidence)
        low = ', which is low: look twice' if answer.confidence < SURE else ''
        lines.append(f'<b>Found.</b> Confidence {percent} %{low}.')
    else:
        said = 'Nothing' if answer.verdict is None else 'Not'
        sure = ''
        if answer.verdict is not None and answer.verdict.confidence is not None:
            sure = f' Confidence of a mask {round(100 * answer.confidence)} %.'
        lines.append(f'<b>{said} found.</b> No place in the picture fits this sentence.{sure}')
    lines.append(_escape(_how_it_looked(reply)))
    if answer.unknown:
        words = ', '.join(f'“{_escape(word)}”' for word in answer.unknown)
        several = 's' * (len(answer.unknown) > 1)
        lines.append(
            f'<span class="unknown">The model does not know the word{several} {words}: its answer '
            'may not follow the sentence.</span>'
        )
    return f'<p class="said" role="status">{"<br>".join(lines)}</p>'


def _how_it_looked(reply: Reply) -> str:
    closer = len(reply.answer.looks) - 1
    if reply.mode == 'sweep':
        return 'Every part of the picture was asked by itself.'
    if closer:
        return f'Looked at the whole picture, then {closer} time{"s" * (closer > 1)} closer.'
    return 'Looked at the whole picture.'


def drawings_html(drawings: Sequence[Drawing]) -> str:
    """The drawings side by side."""
    return f'<div class="drawings">{"".join(map(_figure, drawings))}</div>'


def _figure(drawing: Drawing) -> str:
    buffer = io.BytesIO()
    Image.fromarray(drawing.image).save(buffer, 'JPEG', quality=QUALITY, subsampling=0)
    code = base64.b64encode(buffer.getvalue()).decode()
    height, width = drawing.image.shape[:2]
    title, note = _escape(drawing.title), _escape(drawing.note)
    return (
        f'<figure><figcaption><b>{title}</b> <small>{note}</small></figcaption>'
        f'<img alt="{title}: {note}" width="{width}" height="{height}" '
        f'src="data:image/jpeg;base64,{code}"></figure>'
    )


def files_html(written: Written, address: str) -> str:
    """How much was found, and the links to the files.

    Args:
        address: of the session's files, without the kind.
    """
    facts = [f'{written.pixels:,} pixel{"s" * (written.pixels != 1)}']
    if written.polygons is not None:
        facts.append(f'{written.polygons:,} polygon{"s" * (written.polygons != 1)}')
    links = [
        f'<a class="file" href="{quote(address)}/{kind}" download="{_escape(path.name)}">'
        f'Download the {kind} ({KINDS[path.suffix[1:]]})</a>'
        for kind, path in written.paths.items()
    ]
    return f'<p class="files">{"".join(links)}<span>{" · ".join(facts)}</span></p>'


def _escape(text: str) -> str:
    return html.escape(visible(text))


def _sentence(line: str) -> str:
    """Begins with a capital, ends with a full stop."""
    line = line[:1].upper() + line[1:]
    return line if line.endswith(('.', '!', '?')) else f'{line}.'
