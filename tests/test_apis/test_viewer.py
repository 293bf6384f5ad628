"""Views larger than the towers' squares: looking closer, tiles, what stays of the first look."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.apis import Predictor
from rsrefseg2.apis.predictor import Segment
from rsrefseg2.apis.sources import Source, open_source
from rsrefseg2.apis.viewer import (
    CONTEXT,
    EMPTY,
    OVERLAP,
    STEP,
    Viewer,
    around,
    confidence_of,
    known_before,
    tiles_along,
)
from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.rasters import View, Window


@pytest.fixture(scope='module')
def predictor(tiny):
    return Predictor(tiny.config, tiny.checkpoint, 'cpu')


def picture(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


# ------------------------------------------------------------------ whole


def test_whole_is_what_the_predictor_answers(predictor):
    image = picture(50, 70)
    wanted = predictor.set_image(image).predict(['a ship', 'a red car'])
    viewer = Viewer(predictor, open_source(image))
    for answer, prediction in zip(
        viewer.ask(['a ship', 'a red car'], 'whole'), wanted, strict=True
    ):
        assert answer.text == prediction.text and answer.looks == (Window(0, 0, 70, 50),)
        found = answer.surface.at(slice(0, 50), slice(0, 70))
        assert np.array_equal(found, prediction.logits)
        assert np.array_equal(answer.dense_prompt, prediction.dense_prompt)


def test_a_window_is_its_own_picture(predictor):
    image = picture(90, 80)
    window = Window(10, 20, 50, 40)
    part = image[20:60, 10:60]
    (answer,) = Viewer(predictor, open_source(image), window).ask('a ship', 'whole')
    (wanted,) = predictor.set_image(part).predict('a ship')
    found = answer.surface.at(slice(0, 90), slice(0, 80))
    assert np.array_equal(found[20:60, 10:60], wanted.logits)
    assert np.isneginf(found).sum() == 90 * 80 - 50 * 40


def test_the_towers_see_a_view_once(predictor, monkeypatch):
    seen = []
    encode = predictor.encode
    monkeypatch.setattr(predictor, 'encode', lambda image: seen.append(1) or encode(image))
    viewer = Viewer(predictor, open_source(picture(40, 40)))
    viewer.ask('a ship', 'whole')
    viewer.ask(['a car', 'a tree'], 'whole')
    assert len(seen) == 1


@pytest.mark.parametrize(('side', 'mode'), [(1.0, 'whole'), (2.0, 'whole'), (2.1, 'zoom')])
def test_the_mode_that_nobody_named(predictor, side, mode):
    pixels = round(side * predictor.model.mask_generator.input_size[0])
    viewer = Viewer(predictor, open_source(picture(30, pixels)))
    assert viewer.mode == mode and f'{pixels} x 30 pixels' in viewer.reason(mode)
    with pytest.raises(ValueError, match='whole, zoom, sweep'):
        viewer.ask('a ship', 'look')


@pytest.mark.parametrize(('whole_view', 'mode'), [(None, 'zoom'), (189, 'zoom'), (190, 'whole')])
def test_pictures_of_the_kind_that_was_trained_on_are_looked_at_whole(
    predictor, monkeypatch, whole_view, mode
):
    assert predictor.model.mask_generator.input_size[0] == 64
    monkeypatch.setattr(predictor.model, 'whole_view', whole_view)
    assert Viewer(predictor, open_source(picture(30, 190))).mode == mode


# ------------------------------------------------------------------ zoom


class Drawn:
    """A predictor that sees one bright pixel: p_dense and mask lie on the brightest cell."""

    cells_a_side = 16

    class model:
        input_size = (64, 64)
        whole_view = None

    def __init__(self):
        self.priors = []

    def cells(self, shape):
        return self.cells_a_side, self.cells_a_side

    def unknown_words(self, sentence):
        return ()

    def encode(self, image):
        return torch.from_numpy(image[..., 0].astype(np.float32))

    def segment(self, sentences, image, dense_prior=None):
        self.priors.append(dense_prior)
        bright = F.adaptive_max_pool2d(image[None, None], self.cells_a_side)[0, 0].numpy() > 128
        logits = np.where(bright, 4.0, -4.0).astype(np.float32)
        return [(logits, logits if dense_prior is None else logits + dense_prior)] * len(sentences)

    def segment_scored(self, *given):
        return [Segment(*pair) for pair in self.segment(*given)]

    def verdict(self, *scores):
        return None


@pytest.mark.parametrize('place', [(700, 300), (5, 1000), (511, 511)])
def test_looks_close_in_on_what_the_first_look_found(place):
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[place] = 255
    viewer = Viewer(Drawn(), open_source(image))
    (answer,) = viewer.ask('the dot')
    row, column = place
    for before, look in zip(answer.looks, answer.looks[1:], strict=False):
        assert before.column <= look.column <= column < look.column + look.width
        assert before.row <= look.row <= row < look.row + look.height
        assert look.column + look.width <= before.column + before.width
        assert look.row + look.height <= before.row + before.height
        assert look.width in (round(before.width / STEP), 64, round(CONTEXT * before.width / 16))
    assert answer.looks[-1].width == answer.looks[-1].height == 64  # the finest
    found = np.argwhere(answer.surface.at(slice(0, 1024), slice(0, 1024)) > 0)
    assert len(found) and np.abs(found - place).max() <= 4  # a cell of the finest look


def test_a_look_keeps_the_context_of_its_object():
    image = np.zeros((640, 640, 3), np.uint8)
    image[200:280, 320:400] = 255  # an eighth of the view
    (answer,) = Viewer(Drawn(), open_source(image)).ask('the square', 'zoom')
    assert answer.looks == (Window(0, 0, 640, 640), Window(160, 40, 400, 400))


def test_what_fills_the_view_is_looked_at_once():
    image = np.full((500, 500, 3), 255, np.uint8)
    (answer,) = Viewer(Drawn(), open_source(image)).ask('the field', 'zoom')
    assert answer.looks == (Window(0, 0, 500, 500),) and answer.confidence > 0.9


def test_what_a_look_knows_of_the_place_stays():
    """Its p_dense, on the cells of the closer look, less its largest; of a part cut along cells
    torch's own interpolation."""
    dense = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    window, closer = Window(100, 50, 80, 160), Window(120, 90, 40, 80)
    found = known_before(dense, window, closer)
    padded = F.interpolate(
        torch.from_numpy(dense)[None, None], scale_factor=2, mode='bilinear', align_corners=False
    )[0, 0].numpy()[4:12, 4:12]
    assert found.shape == (8, 8) and found.max() == 0
    assert np.abs(found - (padded - padded.max())).max() < 1e-6
    assert np.array_equal(known_before(dense, window, window), dense - dense.max())


def test_the_prior_of_the_second_look_is_the_firsts(predictor):
    """The sum of both looks' logits, on a model with weights of its own."""
    side = 4 * predictor.model.mask_generator.input_size[0]
    image = picture(side, side)
    viewer = Viewer(predictor, open_source(image))
    (answer,) = viewer.ask('a ship', 'zoom')
    if len(answer.looks) < 2:
        pytest.fail('the tiny model looked once: nothing is tested')
    ((_, first),) = predictor.segment(['a ship'], viewer.encoded)
    look = answer.looks[1]
    part = image[look.row : look.row + look.height, look.column : look.column + look.width]
    encoded = predictor.encode(part)
    prior = known_before(first, answer.looks[0], look)
    ((_, alone),) = predictor.segment(['a ship'], encoded)
    ((_, both),) = predictor.segment(['a ship'], encoded, prior)
    assert np.abs(both - (alone + prior)).max() < 1e-5


@pytest.mark.parametrize(
    ('x', 'y', 'side', 'wanted'),
    [
        (50, 50, 20, Window(40, 40, 20, 20)),
        (1, 99, 20, Window(0, 80, 20, 20)),
        (50, 50, 500, Window(0, 0, 100, 100)),
    ],
)
def test_a_look_lies_in_the_one_before(x, y, side, wanted):
    assert around(x, y, side, Window(0, 0, 100, 100)) == wanted


# ------------------------------------------------------------------ sweep


@pytest.mark.parametrize('length', [10, 64, 65, 66, 90, 111, 112, 113, 150, 1000, 1001])
def test_tiles_cover_a_view_and_their_weights_sum_to_one(length):
    tiles = tiles_along(length, 64, 16)
    total = np.zeros(tiles[-1].first + tiles[-1].cells)
    for tile in tiles:
        total[tile.first : tile.first + tile.cells] += tile.weights
        assert tile.start == tile.first * 4 and tile.start + tile.length <= length
        assert tile.weights.min() > 0
    assert total == pytest.approx(1)
    assert len(total) * tiles[0].length / tiles[0].cells > length - 4  # less than a cell is left
    for before, tile in zip(tiles, tiles[1:], strict=False):
        assert before.first + before.cells - tile.first >= OVERLAP * 16 - 1
    if len(tiles) == 1:
        assert tiles[0].length == length and (tiles[0].weights == 1).all()


def test_a_sweep_of_one_tile_is_whole_bit_for_bit(predictor):
    side = predictor.model.mask_generator.input_size[0]
    for shape in ((side, side), (side - 9, side // 2)):
        viewer = Viewer(predictor, open_source(picture(*shape)))
        (swept,) = viewer.ask('a ship', 'sweep')
        ((logits, _),) = predictor.segment(['a ship'], viewer.encoded)
        assert np.array_equal(swept.surface.logits, logits)
        assert swept.surface.window == viewer.window


@pytest.mark.parametrize('over', [0, 1, 3, 4, 5])
def test_a_sweep_of_a_model_that_keeps_the_aspect_ratio(tiny, over):
    """Tiles that are not quite square have other cells than square ones (fit='pad')."""
    config = load_config(str(tiny.config))
    config.model.data_preprocessor = dict(fit='pad')
    predictor = Predictor(config, tiny.checkpoint, 'cpu')
    side = predictor.model.mask_generator.input_size[0]
    shape = side + over, 2 * side
    (answer,) = Viewer(predictor, open_source(picture(*shape))).ask('a ship', 'sweep')
    assert np.isfinite(answer.surface.at(slice(0, shape[0]), slice(0, shape[1]))).all()


@pytest.mark.parametrize('place', [(60, 60), (64, 130), (100, 9), (199, 199)])
def test_a_sweep_finds_what_lies_on_a_seam(place):
    """One part at its place, however the tiles cut it."""
    image = np.zeros((200, 210, 3), np.uint8)
    image[place[0] - 6 : place[0] + 6, place[1] - 6 : place[1] + 6] = 255
    viewer = Viewer(Drawn(), open_source(image))
    across, down = viewer.tiles()
    assert len(across) == len(down) == 5 - 1
    (answer,) = viewer.ask('the square', 'sweep')
    found = answer.surface.at(slice(0, 200), slice(0, 210)) > 0
    bright = image[..., 0] > 0
    assert found[bright].all() and found.sum() <= 24 * 24


def test_a_sweep_tells_how_far_it_is_and_keeps_to_its_memory():
    told = []
    image = picture(200, 300)
    sources = open_source(image), open_source(image)
    kept = Viewer(Drawn(), sources[0], progress=lambda *at: told.append(at))
    filed = Viewer(Drawn(), sources[1], memory=1000)
    (first,), (second,) = kept.ask('a', 'sweep'), filed.ask('a', 'sweep')
    across, down = kept.tiles()
    assert told == [(k, len(across) * len(down)) for k in range(len(across) * len(down))]
    assert isinstance(second.surface.logits, np.memmap)
    assert np.array_equal(first.surface.logits, second.surface.logits)


class Holed(Source):
    """A picture whose left part holds nothing."""

    edge = 128

    def view(self, window, *, most_side, must_see=True):
        view = super().view(window, most_side=most_side)
        valid = np.broadcast_to(
            np.arange(window.width) + window.column >= self.edge, view.valid.shape
        )
        if must_see and not valid.any():
            raise UserError('no pixel is valid')
        return View(view.image, valid, window)


def test_a_tile_without_a_valid_pixel_is_not_asked():
    predictor = Drawn()
    viewer = Viewer(predictor, Holed(np.full((64, 256, 3), 255, np.uint8)))
    (answer,) = viewer.ask('the field', 'sweep')
    across, _ = viewer.tiles()
    asked = [tile for tile in across if tile.start + tile.length > Holed.edge]
    assert len(predictor.priors) == len(asked) < len(across)
    assert (answer.surface.logits[:, 0] == EMPTY).all()
    nothing = Viewer(predictor, Holed(np.zeros((64, 100, 3), np.uint8)))
    with pytest.raises(UserError, match='no pixel is valid'):
        nothing.ask('the field', 'sweep')


def test_confidence_is_the_mean_probability_of_what_is_found_and_valid():
    logits = np.array([[-3.0, 1.0], [2.0, -0.1]])
    mean = (1 / (1 + np.exp(-1)) + 1 / (1 + np.exp(-2))) / 2
    assert confidence_of(logits, np.ones((1, 1), bool)) == pytest.approx(mean)
    upper = np.array([[True] * 4, [True] * 4, [False] * 4, [False] * 4])
    assert confidence_of(logits, upper) == pytest.approx(1 / (1 + np.exp(-1)))
    assert confidence_of(np.full((2, 2), -1.0), upper) == 0.0


@pytest.mark.parametrize('mode', ['whole', 'zoom', 'sweep'])
def test_nothing_is_found_where_nothing_is_known(mode):
    """The model answers with the dark part; it holds nothing."""
    image = np.zeros((64, 256, 3), np.uint8)
    image[:, :100] = 255
    (answer,) = Viewer(Drawn(), Holed(image)).ask('the field', mode)
    assert not answer.found
    (answer,) = Viewer(Drawn(), open_source(image)).ask('the field', mode)
    assert answer.found
