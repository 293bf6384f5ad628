"""The page as gradio's widgets (extra `demo`)."""

# Annotations are values here, not text: gradio finds `request` by its type, `gr.Request`.
import functools
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import UserError
from ...extras import require_extra
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
SHARED: dict[str, Any] = dict(
    api_visibility='undocumented', concurrency_limit=MOST_AT_ONCE, show_progress='minimal'
)


class Example(NamedTuple):
    """A picture to begin with."""

    path: Path
    sentences: list[str]


class Widgets(NamedTuple):
    """What the visitor uses, and the three parts of the page that show what comes of it."""

    drop: Any
    example: Any
    sentence: Any
    mode: Any
    ask: Any
    shown: list[Any]  # status, drawings, files


def build(sessions: Sessions, *, about: str, example: Example | None = None) -> Any:
    """The page, a `gradio.Blocks`.

    Args:
        about: a line on the model.
        example: what a button of the page opens.
    Raises:
        UserError: gradio is not installed.
    """
    gr: Any = require_extra('demo', 'the web page')
    with gr.Blocks(title='Ask a picture', analytics_enabled=False, delete_cache=(60, KEEP)) as page:
        gr.HTML(f'<h1>Ask a picture</h1><p>{html.escape(about)}</p>', elem_id='about')
        widgets = _lay_out(gr, sessions.most_bytes // MIB, with_example=example is not None)
        _connect(gr, page, widgets, Answers(sessions, example))
    return page


def _lay_out(gr: Any, megabytes: int, *, with_example: bool) -> Widgets:
    with gr.Row(elem_id='asking'):
        with gr.Column(scale=2, min_width=260):
            drop = gr.File(
                label=f'Picture or GeoTIFF, at most {megabytes} MB',
                file_types=list(PICTURES),
                height=170,
                elem_id='picture',
            )
            example = gr.Button(
                'Open an example', visible=with_example, size='sm', elem_id='example'
            )
        with gr.Column(scale=3, min_width=320):
            sentence = gr.Textbox(
                label='What are you looking for?',
                placeholder='the ship on the upper right',
                max_length=MOST_CHARACTERS,
                elem_id='sentence',
            )
            mode = gr.Radio(list(MODES), value='Automatic', label='How to look', elem_id='mode')
            ask = gr.Button('Ask', variant='primary', elem_id='ask')
    shown = [gr.HTML(elem_id=name) for name in ('status', 'drawings', 'files')]
    return Widgets(drop, example, sentence, mode, ask, shown)


def _connect(gr: Any, page: Any, widgets: Widgets, answers: 'Answers') -> None:
    """What happens on the page. A session's name is gradio's hash of the visitor's open page."""

    def drop(path: str, request: gr.Request) -> tuple:
        return None, *answers.open(request.session_hash, path)  # the drop zone is empty again

    def example(request: gr.Request) -> tuple:
        return answers.open_example(request.session_hash)

    def ask(
        sentence: str, mode: str, request: gr.Request, progress: Any = gr.Progress()
    ) -> tuple:  # fmt: skip
        def tell(done: int, total: int) -> None:
            progress((done, total), unit='parts')

        return answers.ask(request.session_hash, sentence, mode, tell)

    def write(request: gr.Request) -> str:
        return answers.write(request.session_hash)

    def leave(request: gr.Request) -> None:
        answers.sessions.end(request.session_hash)

    shown = widgets.shown
    widgets.drop.upload(drop, [widgets.drop], [widgets.drop, *shown], api_name='open', **SHARED)
    widgets.example.click(example, None, [widgets.sentence, *shown], api_name='example', **SHARED)
    asked = gr.on(
        [widgets.ask.click, widgets.sentence.submit],
        ask,
        [widgets.sentence, widgets.mode],
        shown,
        api_name='ask',
        **SHARED,
    )
    asked.success(write, None, shown[2:], api_name='write', **SHARED)
    page.unload(leave)


def _said(event: Callable[..., tuple]) -> Callable[..., tuple]:
    """A UserError becomes the page's status, without drawings and files."""

    @functools.wraps(event)
    def run(*given: Any) -> tuple:
        try:
            return event(*given)
        except UserError as error:
            return error_html(error), '', ''

    return run


class Answers:
    """What the page shows, of a session by its name: status, drawings and files, as HTML."""

    def __init__(self, sessions: Sessions, example: Example | None) -> None:
        self.sessions, self.example = sessions, example

    @_said
    def open(self, name: str | None, path: str | Path, hint: str = '') -> tuple:
        """A dropped picture."""
        picture = self.sessions.of(name).set_picture(path)
        return picture_html(picture, hint), drawings_html([picture.drawing]), ''

    def open_example(self, name: str | None) -> tuple:
        """Before the three parts, a sentence that fits the example."""
        assert self.example is not None
        first, *others = self.example.sentences
        return first, *self.open(name, self.example.path, f'Or ask for: {"; ".join(others)}')

    @_said
    def ask(
        self, name: str | None, sentence: str, mode: str, progress: Callable[[int, int], None]
    ) -> tuple:
        """The answer, without its files."""
        reply = self.sessions.of(name).ask(sentence, MODES.get(mode), progress)
        return reply_html(reply), drawings_html(reply.drawings), '<p>Writing the files …</p>'

    def write(self, name: str | None) -> str:
        """The files of the last answer; nothing where there is none."""
        session = self.sessions.of(name)
        try:
            written = session.write()
        except UserError as error:
            return error_html(error)
        return '' if written is None else files_html(written, f'answers/{session.token}')
