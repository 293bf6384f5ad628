"""The server of the page: gradio draws it, but keeps no picture and serves no file.

Closed are gradio's routes that the page does not need, and what it would fetch for a visitor. The
browser is told to load nothing from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import UserError, os_errors_explained
from ...extras import require_extra
from ..predictor import Predictor
from .session import MIB, MOST_BYTES, Sessions
from .widgets import Example, build

MOST_BODY = MIB  # bytes of a request, beside an uploaded file
API = '/gradio_api/'
OPEN = re.compile(
    r'/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|answers)/.+'
    rf'|{API}((queue/(join|data)|upload|upload_progress|startup-events|theme\.css|cancel|reset|info'
    r'|app_id|login_check|user)/?|heartbeat/\w+)'
)
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; object-src 'none'"
)
HEADERS = [
    (b'content-security-policy', POLICY.encode()),
    (b'referrer-policy', b'no-referrer'),
    (b'x-content-type-options', b'nosniff'),
]
SWITCHED_OFF = {'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_DISABLE_TELEMETRY': '1'}
# of gradio's page: no links and no records of its own, no server beside this one
PLAIN: dict[str, Any] = dict(
    footer_links=[],
    run_history=False,
    show_error=False,
    ssr_mode=False,
    enable_monitoring=False,
    pwa=False,
    mcp_server=False,
)
CSS = Path(__file__).with_name('web_page.css')

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def serve(
    predictor: Predictor,
    *,
    host: str,
    port: int,
    model: str,
    about: str,
    example: tuple[np.ndarray, Sequence[str]] | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serves the page until it is interrupted.

    Args:
        port: 0: a free one.
        model: by what polygons name it.
        about: a line on the model.
        example: a picture (H, W, 3) uint8 to begin with, and sentences that fit it.
        ready: is told the address as soon as visitors may come.
    Raises:
        UserError: a package of the extra `demo` is missing; the address cannot be had.
    """
    uvicorn: Any = require_extra('demo', 'the web page', package='uvicorn')
    with _listening(host, port) as listener, _folder() as folder:
        sessions = Sessions(predictor, folder / 'sessions', model=model)
        app = application(sessions, folder, about=about, example=example)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=2)
        )
        number = listener.getsockname()[1]
        shown = f'[{host}]' if ':' in host else host
        ready(f'http://{shown}:{number}')
        server.run(sockets=[listener])


def application(
    sessions: Sessions,
    folder: Path,
    *,
    about: str = '',
    example: tuple[np.ndarray, Sequence[str]] | None = None,
) -> Application:
    """The page and the visitors' files, as an ASGI application.

    Args:
        folder: for gradio's uploads and the example.
    Raises:
        UserError: a package of the extra `demo` is missing.
    """
    os.environ.update(SWITCHED_OFF, GRADIO_TEMP_DIR=str(folder / 'uploads'))
    gr: Any = require_extra('demo', 'the web page')
    fastapi: Any = require_extra('demo', 'the web page', package='fastapi')
    shown = None
    if example is not None:
        shown = Example(folder / 'scene.png', list(example[1]))
        Image.fromarray(example[0]).save(shown.path)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        sessions.close()
        shutil.rmtree(folder, ignore_errors=True)  # SIGTERM ends the process behind this

    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _serve_files(fastapi, app, sessions)
    theme = gr.themes.Default(
        primary_hue=gr.themes.colors.orange,
        neutral_hue=gr.themes.colors.slate,
        font=['system-ui', 'sans-serif'],
        font_mono=['ui-monospace', 'monospace'],
    )
    gr.mount_gradio_app(
        app,
        build(sessions, about=about, example=shown),
        path='/',
        max_file_size=sessions.most_bytes,
        theme=theme,
        css=CSS.read_text(encoding='utf-8'),
        **PLAIN,
    )
    return guarded(app, most_bytes=sessions.most_bytes)


def _serve_files(fastapi: Any, app: Any, sessions: Sessions) -> None:
    """Adds the route of the files to download."""

    def download(token: str, kind: str) -> Any:
        path = sessions.file(token, kind)
        if path is None:
            text = 'This file is no longer there: ask again.'
            return fastapi.responses.PlainTextResponse(text, status_code=404)
        headers = {'Cache-Control': 'no-store'}
        return fastapi.responses.FileResponse(path, filename=path.name, headers=headers)

    app.get('/answers/{token}/{kind}', response_model=None)(download)


def guarded(app: Application, *, most_bytes: int = MOST_BYTES) -> Application:
    """`app` with the routes of `OPEN` alone, bounded requests, and `HEADERS`."""

    async def run(scope: Message, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':  # the lifespan; there are no web sockets
            if scope['type'] == 'lifespan':
                await app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message.get('headers', ()), *HEADERS]
            await send(message)

        refused = _refused(scope, most_bytes)
        if refused is None and scope['path'].rstrip('/') == f'{API}queue/join':
            body = await _body(receive)
            if _fetches(body):
                refused = 400, 'Files are uploaded; addresses are not fetched.'
            receive = _again(body, receive)
        if refused is not None:
            await _answer(send_with_headers, *refused)
            return
        await app(scope, receive, send_with_headers)

    return run


def _refused(scope: Message, most_bytes: int) -> tuple[int, str] | None:
    """Status and reason, of what is not served."""
    if not OPEN.fullmatch(scope['path']) or '..' in scope['path']:
        return 404, 'There is no such page.'
    if scope['method'] in ('GET', 'HEAD', 'OPTIONS'):
        return None
    length = dict(scope['headers']).get(b'content-length', b'')
    if not length.isdigit():
        return 411, 'The length of the request is missing.'
    uploads = scope['path'].rstrip('/') == f'{API}upload'
    most = MOST_BODY + (most_bytes if uploads else 0)
    if int(length) > most:
        return 413, f'At most {most_bytes // MIB} MB are read: cut the picture into pieces.'
    return None


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b'content-type', b'text/plain; charset=utf-8')]
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': text.encode()})


async def _body(receive: Receive) -> bytes:
    """The request's body, whose length is bounded already."""
    body = b''
    while True:
        message = await receive()
        body += message.get('body', b'')
        if not message.get('more_body', False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` from the beginning."""
    first = iter([{'type': 'http.request', 'body': body, 'more_body': False}])

    async def again() -> Message:
        for message in first:
            return message
        return await receive()

    return again


def _fetches(body: bytes) -> bool:
    """Whether gradio would fetch an address that the request names as a file's path."""
    with contextlib.suppress(ValueError, RecursionError):
        return any('://' in path for path in _paths(json.loads(body)))
    return True  # the page sends JSON


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield str(value.get('path', ''))
    if isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _paths(one)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder of this process and this user alone, which goes with it."""
    with (
        os_errors_explained('making a temporary folder'),
        tempfile.TemporaryDirectory(prefix='rsrefseg2-', ignore_cleanup_errors=True) as name,
    ):
        (Path(name) / 'sessions').mkdir()
        (Path(name) / 'uploads').mkdir()
        yield Path(name)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(
            f'{host}:{port} cannot be listened on ({getattr(error, "strerror", None) or error}): '
            'choose another --host or --port'
        ) from None
