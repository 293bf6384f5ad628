"""A visitor's session and what the page says, without gradio; the server's guard."""

import asyncio
import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from rsrefseg2.apis import Predictor
from rsrefseg2.apis.sources import open_source
from rsrefseg2.apis.viewer import Answer
from rsrefseg2.apis.web_page import Reply, Sessions
from rsrefseg2.apis.web_page import session as session_module
from rsrefseg2.apis.web_page.drawings import Drawing, draw_answer
from rsrefseg2.apis.web_page.server import API, MOST_BODY, _listening, guarded
from rsrefseg2.apis.web_page.session import Picture, Written
from rsrefseg2.apis.web_page.words import error_html, files_html, picture_html, reply_html
from rsrefseg2.errors import UserError
from rsrefseg2.rasters import Surface, Window, surface_over
from rsrefseg2.visualization.panel import ORANGE

SENTENCE = 'the red car on the left'
AT_ONCE = 20


@pytest.fixture(scope='module')
def predictor(tiny):
    return Predictor(tiny.config, tiny.checkpoint, 'cpu')


@pytest.fixture
def sessions(predictor, tmp_path):
    (tmp_path / 'sessions').mkdir()
    return Sessions(predictor, tmp_path / 'sessions', model='0123456789ab')


def pixels(seed, shape=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def write_picture(path, seed=0, **how):
    Image.fromarray(pixels(seed, **how)).save(path)
    return path


def write_raster(path, seed=0, **profile):
    values = np.moveaxis(pixels(seed), -1, 0)
    profile = dict(crs='EPSG:32633', transform=from_origin(500000, 5e6, 0.5, 0.5)) | profile
    with rasterio.open(
        path, 'w', driver='GTiff', width=60, height=40, count=3, dtype='uint8', **profile
    ) as file:
        file.write(values)
    return path


def inside(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


# ------------------------------------------------------------------ one visitor


def test_a_picture_is_encoded_once_and_answered_as_by_the_predictor(
    sessions, predictor, tmp_path, monkeypatch
):
    calls = []
    encode = predictor.model.encode_images
    monkeypatch.setattr(predictor.model, 'encode_images', lambda *a: calls.append(1) or encode(*a))
    session = sessions.of('a')
    picture = session.set_picture(write_picture(tmp_path / 'a.png'))
    assert picture[:3] == ('a.png', (40, 60), '') and picture.drawing.image.shape == (320, 480, 3)
    replies = [session.ask(text) for text in (SENTENCE, 'a ship', SENTENCE)]
    written = session.write()
    assert len(calls) == 1 and replies[0].mode == 'whole'
    (expected,) = predictor.predict(SENTENCE, predictor.encode(pixels(0)))
    assert written.pixels == expected.mask.sum() > 0
    assert (np.asarray(Image.open(written.paths['mask'])) == 255 * expected.mask).all()
    assert np.array_equal(replies[0].answer.dense_prompt, expected.dense_prompt)
    assert [drawing.title for drawing in replies[0].drawings] == ['Answer', 'Where', 'How']
    assert written.paths['mask'].name == 'a_3_mask.png' and written.polygons is None
    assert session.write() == written


def test_a_raster_comes_back_with_its_coordinates(sessions, tmp_path):
    session = sessions.of('a')
    picture = session.set_picture(write_raster(tmp_path / 'scene.tif'))
    assert picture.crs == 'EPSG:32633'
    session.ask(SENTENCE)
    written = session.write()
    assert set(written.paths) == {'mask', 'polygons', 'panel'}
    with rasterio.open(written.paths['mask']) as mask:
        assert mask.crs == 'EPSG:32633' and mask.transform == from_origin(500000, 5e6, 0.5, 0.5)
        assert np.count_nonzero(mask.read(1)) == written.pixels > 0
    features = json.loads(written.paths['polygons'].read_text())['features']
    assert len(features) == written.polygons > 0
    assert features[0]['properties']['source'] == 'scene.tif'
    assert features[0]['properties']['sentence'] == SENTENCE
    assert features[0]['properties']['model'] == '0123456789ab'


def test_another_picture_or_sentence_forgets_the_files(sessions, tmp_path):
    session = sessions.of('a')
    session.set_picture(write_picture(tmp_path / 'a.png'))
    session.ask(SENTENCE)
    session.write()
    kept = inside(session.folder)
    assert kept == ['answer/a_1_mask.png', 'answer/a_1_panel.png', 'picture/a.png']
    session.ask('a ship')
    assert inside(session.folder) == ['picture/a.png'] and session.paths == {}
    session.write()
    session.set_picture(write_picture(tmp_path / 'b.png', seed=1))
    assert inside(session.folder) == ['picture/b.png']
    assert session.write() is None


def test_a_sweep_tells_its_progress_and_is_bounded(sessions, tmp_path, monkeypatch):
    session = sessions.of('a')
    session.set_picture(write_picture(tmp_path / 'a.png', shape=(90, 150)))
    told = []
    reply = session.ask('a ship', 'sweep', lambda *progress: told.append(progress))
    assert reply.mode == 'sweep' and reply.answer.dense_prompt is None
    assert [done for done, _ in told] == list(range(told[0][1])) and len(told) > 1
    monkeypatch.setattr(session_module, 'MOST_TILES', len(told) - 1)
    with pytest.raises(UserError, match=f'this picture has {len(told)} parts, at most'):
        session.ask('a ship', 'sweep')


def test_without_a_picture_there_is_a_sentence(sessions):
    with pytest.raises(UserError, match='drop one first'):
        sessions.of('a').ask(SENTENCE)
    assert sessions.of('a').write() is None
    with pytest.raises(UserError, match='no session'):
        sessions.of(None)


# ------------------------------------------------------------------ wrong files

VRT = (
    '<VRTDataset rasterXSize="60" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1">'
    '<SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
)


def wrong(kind, folder):
    """A file that is refused, and what is said of it."""
    if kind == 'a program':
        (folder / 'a.py').write_text('print()')
        return folder / 'a.py', "^'a.py' is of a kind that this page does not read"
    if kind == 'no picture':
        (folder / 'a.png').write_text('hello')
        return folder / 'a.png', "^'a.png': the image cannot be read"
    if kind == 'no raster':
        (folder / 'a.tif').write_text('hello')
        return folder / 'a.tif', "^'a.tif' cannot be read as GeoTIFF"
    if kind == 'half a picture':
        whole = write_picture(folder / 'a.jpg').read_bytes()
        (folder / 'a.jpg').write_bytes(whole[: len(whole) // 2])
        return folder / 'a.jpg', "^'a.jpg': the image"
    if kind == "another user's file":
        (folder / 'a.tif').write_text(VRT.format(write_raster(folder / 'secret.tif')))
        return folder / 'a.tif', "^'a.tif' cannot be read as GeoTIFF"
    if kind == 'a TIFF that is a list of files, too':
        text = VRT.format(write_raster(folder / 'secret.tif')).encode()
        (folder / 'a.tif').write_bytes(b'II*\0' + text)
        return folder / 'a.tif', "^'a.tif' cannot be read as GeoTIFF"
    if kind == 'many pixels':
        with rasterio.open(
            folder / 'a.tif',
            'w',
            driver='GTiff',
            width=40000,
            height=40000,
            count=1,
            dtype='uint16',
            sparse_ok=True,
        ):
            pass
        return folder / 'a.tif', "^'a.tif' has 40000 x 40000 pixels, at most"
    with rasterio.open(
        folder / 'a.tif', 'w', driver='GTiff', width=9, height=9, count=1, dtype='uint8', nodata=0,
        crs='EPSG:32633',
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 9, 9), np.uint8))
    return folder / 'a.tif', "^'a.tif': no pixel is valid"


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
@pytest.mark.parametrize(
    'kind',
    [
        'a program',
        'no picture',
        'no raster',
        'half a picture',
        "another user's file",
        'a TIFF that is a list of files, too',
        'many pixels',
        'nothing to see',
    ],
)
def test_a_wrong_file_is_a_sentence_without_a_path(sessions, tmp_path, kind):
    session = sessions.of('a')
    session.set_picture(write_picture(tmp_path / 'before.png'))
    path, line = wrong(kind, tmp_path)
    with pytest.raises(UserError, match=line) as refused:
        session.set_picture(path)
    assert str(tmp_path) not in str(refused.value)
    with pytest.raises(UserError, match='drop one first'):  # nor is the one before asked
        session.ask(SENTENCE)
    session.set_picture(write_picture(tmp_path / 'after.png'))


def test_a_large_file_is_refused(predictor, tmp_path):
    path = write_picture(tmp_path / 'a.png')
    (tmp_path / 'sessions').mkdir()
    sessions = Sessions(predictor, tmp_path / 'sessions', most_bytes=path.stat().st_size - 1)
    with pytest.raises(UserError, match=r"'a.png' has 0.0 MB, at most 0 MB are read"):
        sessions.of('a').set_picture(path)


def test_too_little_memory_is_a_sentence(sessions, tmp_path, monkeypatch):
    def fail(path):
        raise MemoryError

    monkeypatch.setattr(session_module, 'open_source', fail)
    with pytest.raises(UserError, match='the memory of this machine does not suffice'):
        sessions.of('a').set_picture(write_picture(tmp_path / 'a.png'))


# ------------------------------------------------------------------ many visitors


def test_many_visitors_at_once_get_their_own_answers(sessions, predictor, tmp_path):
    """Each with a picture of his own, and all with one sentence."""
    expected = [
        predictor.predict(SENTENCE, predictor.encode(pixels(seed)))[0] for seed in range(AT_ONCE)
    ]
    assert len({answer.mask.tobytes() for answer in expected}) > AT_ONCE // 2
    paths = [write_picture(tmp_path / f'{seed}.png', seed) for seed in range(AT_ONCE)]
    together = threading.Barrier(AT_ONCE)

    def visit(seed):
        session = sessions.of(f'visitor {seed}')
        together.wait()
        session.set_picture(paths[seed])
        together.wait()
        answers = [session.ask(text).answer for text in ('a ship', SENTENCE)]
        together.wait()
        return answers[1], np.asarray(Image.open(session.write().paths['mask'])) > 0

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for (answer, mask), wanted in zip(threads.map(visit, range(AT_ONCE)), expected):
            assert np.array_equal(mask, wanted.mask)
            assert np.array_equal(answer.dense_prompt, wanted.dense_prompt)
    assert len(list(sessions.folder.iterdir())) == AT_ONCE


def test_files_are_found_by_the_token_of_their_session_alone(sessions, tmp_path):
    for name in 'ab':
        sessions.of(name).set_picture(write_picture(tmp_path / f'{name}.png'))
    session = sessions.of('a')
    session.ask(SENTENCE)
    written = session.write()
    assert sessions.file(session.token, 'mask') == written.paths['mask']
    assert sessions.file(sessions.of('b').token, 'mask') is None
    for kind in ('polygons', '../picture/a.png', 'a_1_mask.png'):
        assert sessions.file(session.token, kind) is None
    assert sessions.file('a', 'mask') is None
    token = session.token
    sessions.end('a')
    assert sessions.file(token, 'mask') is None


def test_what_a_session_had_goes_with_it(sessions, tmp_path):
    session = sessions.of('a')
    session.set_picture(write_picture(tmp_path / 'a.png'))
    sessions.end('a')
    sessions.end('a')
    assert not session.folder.exists() and len(sessions) == 0
    with pytest.raises(UserError, match='was closed'):
        session.ask(SENTENCE)
    assert sessions.of('a') is not session


def test_a_session_that_works_goes_when_it_has_ended(sessions, tmp_path):
    session = sessions.of('a')
    session.set_picture(write_picture(tmp_path / 'a.png', shape=(90, 150)))
    seen = []

    def leave(done, total):
        sessions.end('a')
        seen.append((done, session.folder.exists()))

    with pytest.raises(UserError, match='was closed'):
        session.ask('a ship', 'sweep', leave)
    assert seen == [(0, True)]  # the work ends at the next tile
    assert not session.folder.exists()


def test_the_longest_idle_session_ends(predictor, tmp_path, monkeypatch):
    sessions = Sessions(predictor, tmp_path, most=2)
    first, second = sessions.of('a'), sessions.of('b')
    sessions.of('a')
    sessions.of('c')
    assert first.folder.exists() and not second.folder.exists()
    now = session_module.time.monotonic() + session_module.IDLE + 1
    monkeypatch.setattr(session_module.time, 'monotonic', lambda: now)
    sessions.of('d')
    assert len(sessions) == 1 and not first.folder.exists()
    sessions.close()
    assert len(sessions) == 0 and not list(tmp_path.iterdir())


# ------------------------------------------------------------------ what is shown


def answer(confidence=0.9, unknown=(), looks=1, text='a ship'):
    window = Window(0, 0, 8, 8)
    return Answer(
        text,
        surface_over(window, np.ones((8, 8), np.float32)),
        np.zeros((4, 4), np.float32),
        (window,) * looks,
        confidence,
        unknown,
    )


@pytest.mark.parametrize(
    ('given', 'said', 'unsaid'),
    [
        (dict(), 'Found.</b> Confidence 90 %.', 'Nothing found'),
        (dict(confidence=0.6), 'Confidence 60 %, which is low', 'Nothing found'),
        (dict(confidence=0.0), 'Nothing found.</b> No place', 'Confidence'),
        (dict(unknown=('zorg',)), 'does not know the word “zorg”: its answer may not', 'words'),
        (dict(unknown=('a', 'b')), 'does not know the words “a”, “b”: its', 'Nothing'),
        (dict(looks=3), 'Looked at the whole picture, then 2 times closer.', 'zoom'),
        (dict(text='<script>alert(1)</script>\x1b'), '&lt;script&gt;', '<script>'),
    ],
)
def test_an_answer_is_said_in_plain_words(given, said, unsaid):
    shown = reply_html(Reply(answer(**given), 'zoom' if 'looks' in given else 'whole', []))
    assert said in shown and unsaid not in shown


def test_what_comes_from_a_visitor_is_escaped(tmp_path):
    name = '"><img src=x onerror=alert(1)>'
    drawing = Drawing('Picture', '', pixels(0))
    written = Written({'mask': tmp_path / f'{name}.png'}, 1, None)
    for shown in (
        error_html(UserError(f'{name} is wrong')),
        picture_html(Picture(name, (4, 4), 'EPSG:4326', drawing)),
        files_html(written, 'answers/x'),
    ):
        assert '<img' not in shown and '&lt;img' in shown


def test_files_are_links():
    shown = files_html(Written({'mask': _path('a.tif'), 'polygons': _path('a.geojson')}, 1, 2), 'x')
    assert 'href="x/mask" download="a.tif">Download the mask (GeoTIFF)<' in shown
    assert 'href="x/polygons" download="a.geojson">' in shown
    assert '1 pixel · 2 polygons' in shown


def _path(name):
    return session_module.Path(name)


def test_a_mask_is_drawn_as_it_is_written():
    logits = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    surface = Surface(Window(10, 20, 27, 36), logits, (1 / 3, 1 / 3))
    whole = Window(4, 10, 50, 60)
    expected = surface.at(slice(10, 70), slice(4, 54)) > 0
    assert np.array_equal(surface.mask_on(whole, (60, 50)), expected)
    large = surface.mask_on(whole, (120, 100))
    assert (large[::2, ::2] == expected).mean() > 0.9 and not large[:18].any()


def test_a_small_object_stays_in_a_drawing():
    logits = np.full((1000, 1000), -1, np.float32)
    logits[700, 123] = 1
    surface = surface_over(Window(0, 0, 4000, 4000), logits)
    mask = surface.mask_on(Window(0, 0, 4000, 4000), (50, 50))
    assert mask.sum() == 1 and mask[35, 6]
    assert not surface.mask_on(Window(0, 0, 1000, 1000), (50, 50)).any()


def test_the_closest_look_is_around_the_largest_part():
    image = np.full((400, 400, 3), 100, np.uint8)
    logits = np.full((400, 400), -1, np.float32)
    logits[300:320, 100:110] = 1
    logits[10:14, 10:14] = 1
    whole = Window(0, 0, 400, 400)
    found = Answer('x', surface_over(whole, logits), None, (whole,), 0.9, ())
    drawings = draw_answer(open_source(image), whole, found)
    assert [one.title for one in drawings] == ['Answer', 'How']
    assert drawings[1].note == 'the outline, in 60 × 60 pixels of the picture'
    assert (drawings[1].image == ORANGE).all(-1).any()
    nothing = found._replace(surface=surface_over(whole, np.full((9, 9), -1, np.float32)))
    assert len(draw_answer(open_source(image), whole, nothing)) == 1


# ------------------------------------------------------------------ the server's guard


def request(path, method='GET', body=b'', headers=None):
    """Status, headers and text of the guarded application, which answers 'inside' and its body."""

    async def app(scope, receive, send):
        text = b'inside ' + (await receive())['body']
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'a', b'b')]})
        await send({'type': 'http.response.body', 'body': text})

    messages = []
    halves = [body[: len(body) // 2], body[len(body) // 2 :]]
    received = iter(
        [
            {'type': 'http.request', 'body': halves[0], 'more_body': True},
            {'type': 'http.request', 'body': halves[1], 'more_body': False},
        ]
    )

    async def receive():
        return next(received)

    async def send(message):
        messages.append(message)

    if headers is None:
        headers = [(b'content-length', str(len(body)).encode())]
    scope = {'type': 'http', 'method': method, 'path': path, 'headers': headers}
    asyncio.run(guarded(app, most_bytes=10 * MOST_BODY)(scope, receive, send))
    return messages[0]['status'], dict(messages[0]['headers']), messages[1]['body'].decode()


@pytest.mark.parametrize(
    'path',
    [
        f'{API}file=/etc/passwd',
        f'{API}file/etc/passwd',
        f'{API}proxy=http://example.org',
        f'{API}vibe-edit/',
        f'{API}deep_link',
        f'{API}runs',
        f'{API}call/open',
        f'{API}heartbeat/a/b',
        f'{API}stream/a/b/1/playlist.m3u8',
        '/file=/etc/passwd',
        '/monitoring',
        '/static/../../x',
        '/docs',
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(path):
    for method in ('GET', 'POST', 'HEAD'):
        assert request(path, method)[0] == 404


@pytest.mark.parametrize(
    'path', ['/', '/config', '/assets/a.js', f'{API}heartbeat/a1', f'{API}queue/data', '/answers/a/b']
)  # fmt: skip
def test_an_open_route_has_headers_that_keep_the_browser_here(path):
    status, headers, text = request(path)
    assert status == 200 and text.startswith('inside') and headers[b'a'] == b'b'
    assert b"default-src 'self'" in headers[b'content-security-policy']
    assert b'http' not in headers[b'content-security-policy']


def test_requests_are_bounded():
    def length(number):
        return [(b'content-length', str(number).encode())]

    upload, join = f'{API}upload', f'{API}queue/join'
    assert request(upload, 'POST', headers=length(10 * MOST_BODY))[0] == 200
    status, _, text = request(upload, 'POST', headers=length(11 * MOST_BODY + 1))
    assert status == 413 and text == 'At most 10 MB are read: cut the picture into pieces.'
    assert request(join, 'POST', headers=length(MOST_BODY + 1))[0] == 413
    assert request(upload, 'POST', headers=[])[0] == 411


@pytest.mark.parametrize(
    ('data', 'status'),
    [
        (['the ship at http://example.org', 'Automatic'], 200),
        ([{'path': '/tmp/a.png', 'meta': {'_type': 'gradio.FileData'}}], 200),
        ([{'path': 'http://example.org/a.png', 'meta': {'_type': 'gradio.FileData'}}], 400),
        ([[{'a': {'path': 'HTTPS://example.org/a.png'}}]], 400),
    ],
)
def test_no_address_is_fetched_for_a_visitor(data, status):
    body = json.dumps({'data': data, 'fn_index': 0}).encode()
    found = request(f'{API}queue/join', 'POST', body)
    assert found[0] == status
    if status == 200:
        assert found[2] == f'inside {body.decode()}'
    assert request(f'{API}queue/join', 'POST', b'{"path": ')[0] == 400


def test_an_address_that_is_taken_is_one_line():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f'127.0.0.1:{port} cannot be listened on .*--port'):
            _listening('127.0.0.1', port)


def test_without_gradio_the_command_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    code, _, err = run('demo.py')
    assert code == 1 and "pip install 'rsrefseg2[demo]'" in err
    assert run('demo.py', '--config', 'configs/rrsisd_tiny.py')[0] == 2
    assert run('demo.py', '--port', '65536')[0] == 2
