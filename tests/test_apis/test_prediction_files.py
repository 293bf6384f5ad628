"""What `predict` writes and goes on from: folders, files of questions, polygons of any format."""

import json

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.transform import from_origin

from rsrefseg2.apis import MODES
from rsrefseg2.apis.prediction_files import Done, Files
from rsrefseg2.cli import predict_command
from rsrefseg2.errors import UserError
from rsrefseg2.rasters import FORMATS

pytestmark = [
    pytest.mark.filterwarnings('ignore::PendingDeprecationWarning'),
    pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning'),
]


@pytest.fixture
def predict(run, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def predict(*arguments, code=0):
        model = ('--config', tiny.config, '--checkpoint', tiny.checkpoint, '--device', 'cpu')
        found, out, err = run('predict.py', *arguments, *model, '--out', 'out')
        assert found == code, err
        return out if code == 0 else err

    return predict


@pytest.fixture
def photos(tmp_path):
    order = np.random.default_rng(0)
    for name in ('a.png', 'b.jpg', 'sub/a.png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(order.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)


def write_map(path, shape=(40, 50), seed=1):
    values = np.random.default_rng(seed).integers(0, 256, (3, *shape), dtype=np.uint8)
    where = dict(crs='EPSG:32633', transform=from_origin(500000, 5000000, 0.5, 0.5))
    with rasterio.open(
        path, 'w', driver='GTiff', width=shape[1], height=shape[0], count=3, dtype='uint8', **where
    ) as file:
        file.write(values)


def answers(tmp_path):
    """The lines, but for those that void an earlier one."""
    lines = [json.loads(line) for line in (tmp_path / 'out/answers.jsonl').open()]
    return [line for line in lines if line['sentence'] is not None]


def test_a_folder_goes_on_where_it_stopped(predict, photos, tmp_path):
    """An answer that is named and there is not asked again; a half written line is."""
    predict('photos', 'a ship', 'a car')
    names = sorted(str(path.relative_to(tmp_path / 'out')) for path in tmp_path.rglob('*_mask.png'))
    assert names == [f'{stem}_{k}_mask.png' for stem in ('a', 'b', 'sub/a') for k in (1, 2)]
    whole = answers(tmp_path)
    assert [line['files']['mask'] for line in whole] == names
    assert predict('photos', 'a ship', 'a car').count('2 of 2 answered before') == 3
    (tmp_path / 'out/b_2_mask.png').unlink()
    file = tmp_path / 'out/answers.jsonl'
    file.write_bytes(file.read_bytes()[:-20])
    out = predict('photos', 'a ship', 'a car')
    assert out.count('1 of 2 answered before') == 2 and out.count('2 of 2 answered before') == 1
    assert sorted(line['files']['mask'] for line in answers(tmp_path)[-2:]) == [names[3], names[5]]
    assert 'answered before' not in predict('photos', 'a ship', 'a car', '--overwrite')


def test_another_way_of_asking_is_asked(predict, photos, tmp_path):
    predict('photos/a.png', 'a ship')
    assert 'answered before' in predict('photos/a.png', 'a ship')
    for options in (['--mode', 'sweep'], ['--window', 0, 0, 20, 20]):
        assert 'answered before' not in predict('photos/a.png', 'a ship', *options)
    assert [line['of'] for line in answers(tmp_path)] == [2000, 2000, 400]
    assert 'answered before' not in predict('photos/a.png', 'a boat')


@pytest.mark.parametrize('text', ['{"mine": 1}\n', '{"mine": 1}', '', '[1]\n{"sentence": '])
def test_an_answers_file_of_somebody_else(predict, photos, tmp_path, text):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/answers.jsonl').write_text(text)
    err = predict('photos', 'a ship', code=1 if text else 0)
    if text:
        assert 'answers.jsonl' in err and len(err.strip().splitlines()) == 1
        assert (tmp_path / 'out/answers.jsonl').read_text() == text


def test_a_link_in_the_answers_place(predict, photos, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'mine').write_text('{"sentence": half')
    (tmp_path / 'out/answers.jsonl').symlink_to('../mine')
    assert 'answers.jsonl is there, and this command' in predict('photos', 'a ship', code=1)
    assert (tmp_path / 'mine').read_text() == '{"sentence": half'


def test_a_line_holds_until_its_files_are_written_again(tmp_path):
    """A call that was cut off between an answer's files and its line leaves no line of them."""
    files = Files('mark', [{'mask': tmp_path / 'a_1_mask.png'}])
    files.of_sentence[0]['mask'].write_bytes(b'first')
    first = Done(tmp_path, {'mode': 'whole'})
    first.begin(files, 0)
    first.add(files, 0, 'a ship', {})
    assert Done(tmp_path, {'mode': 'whole'}).find(files, 0, 'a ship')
    Done(tmp_path, {'mode': 'zoom'}).begin(files, 0)  # and no further
    files.of_sentence[0]['mask'].write_bytes(b'second')
    assert Done(tmp_path, {'mode': 'whole'}).find(files, 0, 'a ship') is None


def test_a_picture_of_several_files_is_known_by_all(predict, tmp_path):
    write_map(tmp_path / 'map.tif')
    rasterio.shutil.copy('map.tif', 'all.vrt', driver='VRT')
    predict('all.vrt', 'a ship')
    assert 'answered before' in predict('all.vrt', 'a ship')
    write_map(tmp_path / 'map.tif', seed=2)
    err = predict('all.vrt', 'a ship', code=1)  # of another picture now
    assert 'all_1_mask.tif is there, and this command did not write it' in err


def test_a_folder_is_asked_twice(predict, photos, tmp_path):
    """Its answers are no pictures of it, and what is no picture is left."""
    (tmp_path / 'photos/notes.pdf').write_bytes(b'%PDF')
    Image.open('photos/a.png').save('photos/a.jpg')
    for _ in range(2):
        run = predict('photos', 'a ship', '--mode', 'whole')
    assert run.count('1 of 1 answered before') == 4
    assert (tmp_path / 'out/a.jpg_1_mask.png').is_file()
    assert (tmp_path / 'out/a.png_1_mask.png').is_file()
    again = predict('.', 'a ship', '--mode', 'whole')
    assert again.count('mode whole') == 4


def test_a_file_of_questions_and_a_dump(predict, photos, tmp_path):
    """The dump's masks are those of the files."""
    (tmp_path / 'photos/q.csv').write_text(
        'image,sentence,id\na.png,a ship,7\nsub/a.png,a car,8\na.png,"a car, red",9\n'
    )
    predict('--questions', 'photos/q.csv', '--dump', 'dump.jsonl', '--mode', 'whole')
    lines = [json.loads(line) for line in (tmp_path / 'dump.jsonl').open()]
    assert [(line['id'], line['sentence']) for line in lines] == [
        ('7', 'a ship'),
        ('9', 'a car, red'),
        ('8', 'a car'),
    ]
    from rsrefseg2.rle import decode

    mask = np.asarray(Image.open(tmp_path / 'out/a_2_mask.png')) > 0
    assert np.array_equal(decode(lines[1]['prediction'], location='line 2'), mask)


@pytest.mark.parametrize('mode', MODES)
def test_a_map_in_every_mode(predict, tmp_path, mode, tiny_side):
    write_map(tmp_path / 'map.tif', (3 * tiny_side, 2 * tiny_side + 5))
    out = predict(
        *('map.tif', 'a ship', '--mode', mode, '--probability'),
        *('--polygons', 'gpkg', 'geojson', 'parquet'),
    )
    assert f'mode {mode}: {2 * tiny_side + 5} x {3 * tiny_side} pixels' in out
    with rasterio.open(tmp_path / 'out/map_1_mask.tif') as file:
        mask = file.read(1) > 0
    with rasterio.open(tmp_path / 'out/map_1_probability.tif') as file:
        probability = file.read(1)
    sure = np.abs(probability - 0.5) > 1e-6  # logits of random weights are that small
    assert sure.any() and np.array_equal(probability[sure] > 0.5, mask[sure])
    (line,) = answers(tmp_path)
    assert line['pixels'] == mask.sum() and line['mode'] == mode and len(line['model']) == 12
    assert set(line['files']) == {
        *('mask', 'probability', 'panel'),
        *('polygons.gpkg', 'polygons.geojson', 'polygons.parquet'),
    }
    features = json.loads((tmp_path / 'out/map_1_polygons.geojson').read_text())['features']
    assert len(features) == line['polygons']
    assert all(one['properties']['model'] == line['model'] for one in features)
    area = sum(one['properties']['area_m2'] for one in features)
    assert area == pytest.approx(mask.sum() / 4, rel=2e-3)  # half a metre, UTM's scale
    again = predict('map.tif', 'a boat', '--mode', mode, '--polygons', 'gpkg')
    assert 'map_1_polygons.gpkg' in again  # its own is replaced


@pytest.fixture
def tiny_side(tiny):
    from rsrefseg2.engine import load_config, load_model

    model = load_model(load_config(str(tiny.config)), str(tiny.checkpoint), 'cpu')
    return model.mask_generator.input_size[0]


def test_a_geopackage_of_somebody_else_stays(predict, tmp_path):
    write_map(tmp_path / 'map.tif')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/map_1_polygons.gpkg').write_bytes(b'SQLite format 3\0 mine')
    err = predict('map.tif', 'a ship', '--polygons', 'gpkg', code=1)
    assert 'map_1_polygons.gpkg is there, and this command did not write it' in err


def test_a_part_by_bounds_and_a_ground_resolution(predict, tmp_path):
    write_map(tmp_path / 'map.tif')
    out = predict('map.tif', 'a ship', '--bounds', 500005, 4999985, 500020, 4999995)
    assert 'mode whole: 30 x 20 pixels' in out
    with rasterio.open(tmp_path / 'out/map_1_mask.tif') as file:
        assert file.bounds == (500005, 4999985, 500020, 4999995)
    assert 'pixels at once' in predict('map.tif', 'a ship', '--gsd', 1.0)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['a.png', 'x', '--gsd', 1], 'has no coordinates, which gsd needs'),
        (['a.png', 'x', '--bounds', 0, 0, 1, 1], 'has no coordinates, which bounds needs'),
        (['a.png', 'x', '--window', 0, 0, 99, 9], 'is not inside'),
        (['turned.jpg', 'x', '--bands', 1], 'its EXIF orientation turns it'),
        (['a.png', 'x', '--dump', 'a.png'], 'a.png is there'),
        (['--questions', 'no.csv'], "'no.csv': the questions does not exist"),
    ],
)
def test_what_does_not_fit_is_said_first(predict, photos, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path / 'photos')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (9, 9)).save('turned.jpg', exif=exif)
    monkeypatch.setattr('rsrefseg2.engine.load_model', lambda *_: pytest.fail('too late'))
    err = predict(*options, code=1)
    assert says in err and len(err.strip().splitlines()) == 1


def test_the_command_names_every_mode_and_format():
    assert predict_command.MODES == MODES
    assert predict_command.POLYGONS == tuple(ending[1:] for ending in FORMATS)


def test_half_a_question_is_argparses_error(run):
    for options in (['--window', 0, 0, 1, 1, '--bounds', 0, 0, 1, 1], ['--lon-lat']):
        code, _, err = run('predict.py', 'x.png', 'a', '--demo', *options)
        assert code == 2 and '--bounds' in err.splitlines()[-1]


def test_a_photograph_on_its_side_is_asked_upright_in_a_window(predict, tmp_path):
    """--window counts pixels as viewers show them."""
    values = np.random.default_rng(2).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(tmp_path / 'turned.png', exif=exif)
    Image.fromarray(np.ascontiguousarray(np.rot90(values, -1)[10:40, 5:25])).save('part.png')
    predict('turned.png', 'a ship', '--window', 5, 10, 20, 30)
    predict('part.png', 'a ship')
    turned, part = (Image.open(f'out/{name}_1_mask.png') for name in ('turned', 'part'))
    assert np.array_equal(np.asarray(turned), np.asarray(part))


def test_the_error_of_a_record_names_it():
    from rsrefseg2.apis.asked import read_sentences

    with pytest.raises(UserError, match='missing.txt'):
        read_sentences('missing.txt')
