"""The page in gradio: visitors over HTTP, and one in a headless Chromium."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsrefseg2.apis import Predictor
from rsrefseg2.apis.web_page import Sessions
from rsrefseg2.apis.web_page.server import API, application
from tests.test_apis.test_web_page import SENTENCE, pixels, write_picture, write_raster

pytest.importorskip('gradio', reason='the page needs gradio: requirements/demo.txt')
import uvicorn  # noqa: E402, behind the skip

AT_ONCE = 20
MOST_BYTES = 2**20
LINK = re.compile(r'href="(answers/[\w-]+/(\w+))"')


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it takes too long'
        time.sleep(0.05)


@pytest.fixture(scope='module')
def site(tiny, tmp_path_factory):
    """`url`, `sessions`, `folder` and `predictor` of a page that is served on this machine."""
    folder = tmp_path_factory.mktemp('site')
    for name in ('sessions', 'uploads'):
        (folder / name).mkdir()
    predictor = Predictor(tiny.config, tiny.checkpoint, 'cpu')
    sessions = Sessions(predictor, folder / 'sessions', most_bytes=MOST_BYTES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GRADIO_TEMP_DIR', '')  # set by `application`, and back at the end
        patch.setenv('GRADIO_ANALYTICS_ENABLED', '')
        patch.setenv('HF_HUB_DISABLE_TELEMETRY', '')
        app = application(sessions, folder, example=(pixels(7), [SENTENCE, 'a ship']))
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_level='warning', timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield SimpleNamespace(
            url=f'http://127.0.0.1:{port}/', sessions=sessions, folder=folder, predictor=predictor
        )
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
    assert not folder.exists(), 'what visitors left goes with the server'


def fetch(url):
    """Status, headers, bytes."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@contextlib.contextmanager
def visitor(site):
    """A client with a session of its own, which ends with the block."""
    gradio_client = pytest.importorskip('gradio_client', reason='visitors need gradio_client')
    client = gradio_client.Client(site.url, verbose=False, download_files=False)
    try:
        yield SimpleNamespace(
            open=lambda path: client.predict(gradio_client.handle_file(path), api_name='/open'),
            call=lambda name, *given: client.predict(*given, api_name=f'/{name}'),
        )
    finally:
        site.sessions.end(client.session_hash)
        client.close()


def mask_of(site, shown):
    """The mask that the links of the page lead to."""
    links = {kind: address for address, kind in LINK.findall(shown)}
    status, headers, content = fetch(site.url + links['mask'])
    assert status == 200 and headers['Cache-Control'] == 'no-store'
    path = site.folder / f'{threading.get_ident()}.png'
    path.write_bytes(content)
    return np.asarray(Image.open(path)) > 0


def test_the_page_loads_nothing_from_elsewhere(site):
    status, headers, page = fetch(site.url)
    assert status == 200 and "default-src 'self'" in headers['Content-Security-Policy']
    loaded = re.findall(rb'<(?:script|link|img|iframe)[^>]+(?:src|href)="([^"]+)"', page)
    assert loaded and not [address for address in loaded if b'//' in address]
    assert fetch(site.url + 'theme.css')[2].count(b'fonts.googleapis') == 0


def test_visitors_at_once_get_their_own_answers(site, tmp_path):
    expected = [
        site.predictor.predict(SENTENCE, site.predictor.encode(pixels(seed)))[0].mask
        for seed in range(AT_ONCE)
    ]
    paths = [write_picture(tmp_path / f'{seed}.png', seed) for seed in range(AT_ONCE)]
    together = threading.Barrier(AT_ONCE)

    def visit(seed):
        with visitor(site) as one:
            together.wait(120)
            assert f'{seed}.png' in one.open(paths[seed])[1]
            together.wait(120)
            assert 'Confidence' in one.call('ask', SENTENCE, 'Automatic')[0]
            together.wait(120)
            return mask_of(site, one.call('write'))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        masks = list(threads.map(visit, range(AT_ONCE)))
    assert all(map(np.array_equal, masks, expected))


def test_wrong_input_is_a_sentence_of_the_page(site, tmp_path):
    (tmp_path / 'a.png').write_text('hello')
    with visitor(site) as one:
        status, drawings, files = one.call('ask', SENTENCE, 'Automatic')
        assert 'There is no picture: drop one first' in status and not drawings and not files
        assert one.call('write') == ''
        _, status, drawings, files = one.open(tmp_path / 'a.png')
        assert '&#x27;a.png&#x27;: the image cannot be read' in status
        assert str(site.folder) not in status and not drawings and not files
        one.open(write_picture(tmp_path / 'b.png'))
        assert 'is empty; say what to look for.' in one.call('ask', ' ', 'Automatic')[0]


@pytest.mark.parametrize(('size', 'status'), [(MOST_BYTES, 200), (MOST_BYTES + 1, 413)])
def test_a_large_upload_is_refused(site, size, status):
    """Also of a visitor whose browser does not refuse it."""
    name = f'{size}.png'
    head = f'--x\r\ncontent-disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + bytes(size) + b'\r\n--x--\r\n'
    kind = {'content-type': 'multipart/form-data; boundary=x'}
    found = fetch(urllib.request.Request(f'{site.url}{API[1:]}upload', body, kind))
    assert found[0] == status
    assert len(list(site.folder.glob(f'uploads/*/{name}'))) == (status == 200)


def test_an_upload_is_served_to_nobody(site, tmp_path):
    with visitor(site) as one:
        one.open(write_picture(tmp_path / 'mine.png'))
        (upload,) = site.folder.glob('uploads/*/mine.png')
        (copy,) = site.folder.glob('sessions/*/picture/mine.png')
        for path in (upload, copy, '/etc/passwd'):
            assert fetch(f'{site.url}{API[1:]}file={path}')[0] == 404
    assert not copy.exists()


def test_the_example_is_ready_to_be_asked(site):
    with visitor(site) as one:
        sentence, status, drawings, _ = one.call('example')
        assert sentence == SENTENCE and 'Or ask for: a ship' in status and '<img' in drawings
        one.call('ask', sentence, 'Whole picture')
        (expected,) = site.predictor.predict(SENTENCE, site.predictor.encode(pixels(7)))
        assert np.array_equal(mask_of(site, one.call('write')), expected.mask)


@pytest.fixture
def browser():
    api = pytest.importorskip('playwright.sync_api', reason='the browser is driven by playwright')
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    if chromium is None:
        pytest.skip('there is no Chromium on this machine')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=['--no-sandbox', '--disable-gpu']
        )
        yield browser
        browser.close()


@pytest.mark.slow
def test_in_a_browser(site, browser, tmp_path, monkeypatch):
    """Upload, ask, see, ask again, download; a wrong file; the session ends with the page."""
    # the tiny tokenizer knows every word
    unknown = {SENTENCE: (), 'the zorg': ('zorg',)}
    monkeypatch.setattr(site.predictor, 'unknown_words', unknown.__getitem__)
    page = browser.new_page(viewport=dict(width=1280, height=900))
    asked = []
    page.on('request', lambda request: asked.append(request.url))
    page.goto(site.url)
    drop = page.locator('#picture input[type=file]')
    drop.set_input_files(write_raster(tmp_path / 'scene.tif'))
    page.locator('#status', has_text='scene.tif · 60 × 40 pixels · EPSG:32633').wait_for()
    page.locator('#drawings img').wait_for()

    page.locator('#sentence').locator('textarea, input').fill(SENTENCE)
    page.locator('#ask').click()
    page.locator('#status', has_text='Confidence').wait_for()
    page.locator('#files a.file').first.wait_for()
    titles = page.locator('#drawings figcaption b').all_inner_texts()
    assert titles == ['Answer', 'Where', 'How']
    sides = page.locator('#drawings figure').evaluate_all(
        'figures => figures.map(figure => figure.getBoundingClientRect().top)'
    )
    assert len(set(sides)) == 1, 'side by side'
    assert page.locator('#drawings img').evaluate_all('all => all.every(one => one.naturalWidth)')

    with page.expect_download() as download:
        page.get_by_text('Download the mask (GeoTIFF)').click()
    assert download.value.suggested_filename == 'scene_1_mask.tif'
    (expected,) = site.predictor.predict(SENTENCE, site.predictor.encode(pixels(0)))
    with rasterio.open(download.value.path()) as mask:
        assert mask.crs == 'EPSG:32633'
        assert np.array_equal(mask.read(1) > 0, expected.mask)
    with page.expect_download() as download:
        page.get_by_text('Download the polygons (GeoJSON)').click()
    assert SENTENCE in download.value.path().read_text()

    page.locator('#sentence').locator('textarea, input').fill('the zorg')
    page.keyboard.press('Enter')
    page.get_by_text('does not know the word “zorg”').wait_for()
    page.locator('#files a.file').first.wait_for()

    (tmp_path / 'wrong.png').write_text('hello')
    drop.set_input_files(tmp_path / 'wrong.png')
    page.get_by_text("'wrong.png': the image cannot be read").wait_for()
    assert not page.locator('#drawings img').count() and not page.locator('#files a').count()

    assert list(site.folder.glob('sessions/*')) and len(site.sessions) == 1
    page.close()
    wait_for(lambda: not len(site.sessions))
    assert not list(site.folder.glob('sessions/*'))
    assert {url.split('/')[2] for url in asked if url.startswith('http')} == {
        site.url.split('/')[2]
    }


@pytest.mark.slow
@pytest.mark.parametrize('end', [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_leaves_nothing(tmp_path, monkeypatch, end):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, '-m', 'rsrefseg2.cli', 'demo', '--port', '0', '--device', 'cpu'],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        address = process.stdout.readline().split()[0]
        assert fetch(address)[0] == 200 and list(tmp_path.glob('rsrefseg2-*'))
        process.send_signal(end)
        assert process.wait(30) in (130, -end)
    finally:
        process.kill()
        process.stdout.close()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(('rsrefseg2', '.gra'))]
