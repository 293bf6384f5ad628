"""The page as gradio's widgets. Imports gradio (extra `demo`): see `server.serve`, which asks for it."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ...errors import UserError
from ..viewer import Mode
from .session import MIB, PICTURES, Sessions
from .words import drawings_html, error_html, files_html, picture_html, reply_html

MOST_AT_ONCE = 20  # visitors who are answered at the same time; others wait
MOST_CHARACTERS = 1000  # of a sentence
KEEP = 600  # seconds that gradio keeps an upload; the session has a copy of its own
MODES: dict[str, Mode | None] = {
    'Automatic': None,
    'Whole picture': 'whole',
    'Look closer': 'zoom',
    'Search every part': 'sweep',
}


class Example(NamedTuple):
    """A picture to begin with."""

    path: Path
    sentences: list[str]


def build(sessions: Sessions, *, about: str, example: Example | None = None) -> gr.Blocks:
    """The page.

    Args:
        about: a line on the model.
        example: what a button of the page opens.
    """
    with gr.Blocks(title='Ask a picture', analytics_enabled=False, delete_cache=(60, KEEP)) as page:
        gr.HTML(f'<h1>Ask a picture</h1><p>{html.escape(about)}</p>', elem_id='about')
        with gr.Row(elem_id='asking'):
            with gr.Column(scale=2, min_width=260):
                drop = gr.File(
                    label=f'Picture or GeoTIFF, at most {sessions.most_bytes // MIB} MB',
                    file_types=list(PICTURES),
                    height=170,
                    elem_id='picture',
                )
                scene = gr.Button(
                    'Open an example', visible=example is not None, size='sm', elem_id='example'
                )
            with gr.Column(scale=3, min_width=320):
                sentence = gr.Textbox(
                    label='What are you looking for?',
                    placeholder='the ship on the upper right',
                    max_length=MOST_CHARACTERS,
                    elem_id='sentence',
                )
                mode = gr.Radio(list(MODES), value='Automatic', label='How to look', elem_id='mode')
                button = gr.Button('Ask', variant='primary', elem_id='ask')
        shown = [gr.HTML(elem_id=name) for name in ('status', 'drawings', 'files')]

        events = _Events(sessions, example)
        shared: dict[str, Any] = dict(
            api_visibility='undocumented', concurrency_limit=MOST_AT_ONCE, show_progress='minimal'
        )
        drop.upload(events.open, [drop], [drop, *shown], api_name='open', **shared)
        scene.click(events.open_example, None, [sentence, *shown], api_name='example', **shared)
        asked = gr.on(
            [button.click, sentence.submit],
            events.ask,
            [sentence, mode],
            shown,
            api_name='ask',
            **shared,
        )
        asked.success(events.write, None, shown[2:], api_name='write', **shared)
        page.unload(events.leave)
    return page


def _said(event: Callable[..., tuple]) -> Callable[..., tuple]:
    """A UserError becomes the page's status, without drawings and files."""

    @functools.wraps(event)
    def run(self: _Events, *given: Any, **named: Any) -> tuple:
        try:
            return event(self, *given, **named)
        except UserError as error:
            return error_html(error), '', ''

    return run


class _Events:
    """What happens on the page; each returns status, drawings and files."""

    def __init__(self, sessions: Sessions, example: Example | None) -> None:
        self.sessions, self.example = sessions, example

    def open(self, path: str, request: gr.Request) -> tuple:
        """The drop zone is empty again."""
        return None, *self._open(path, request.session_hash)

    def open_example(self, request: gr.Request) -> tuple:
        """With the first of its sentences, ready to be asked."""
        assert self.example is not None
        first, *others = self.example.sentences
        hint = f'Or ask for: {"; ".join(others)}'
        return first, *self._open(self.example.path, request.session_hash, hint)

    @_said
    def _open(self, path: str | Path, name: str | None, hint: str = '') -> tuple:
        picture = self.sessions.of(name).set_picture(path)
        return picture_html(picture, hint), drawings_html([picture.drawing]), ''

    @_said
    def ask(
        self,
        sentence: str,
        mode: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # gradio finds it by its default
    ) -> tuple:
        reply = self.sessions.of(request.session_hash).ask(
            sentence, MODES.get(mode), lambda done, total: progress((done, total), unit='parts')
        )
        return reply_html(reply), drawings_html(reply.drawings), '<p>Writing the files …</p>'

    def write(self, request: gr.Request) -> str:
        session = self.sessions.of(request.session_hash)
        try:
            return files_html(session.write(), f'answers/{session.token}')
        except UserError as error:
            return error_html(error)

    def leave(self, request: gr.Request) -> None:
        self.sessions.end(request.session_hash)
