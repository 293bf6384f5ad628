"""Dumps and folders of masks, scored by protocol and compared, against independent computations."""

import json
import math
import runpy

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from rsrefseg2.datasets import read_mask
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import (
    PROTOCOLS,
    ImageSums,
    annotated_samples,
    compare,
    dumped_samples,
    read_dump,
    score,
    score_differences,
    score_intervals,
    with_masks,
)
from rsrefseg2.evaluation.breakdowns import kind, length, size
from rsrefseg2.rle import decode, encode
from tests.training import ROOT, run_in_new_process


def random_masks(n, seed=0):
    """(prediction, ground truth) of many sizes: empty, full, one pixel, overlapping."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        shape = (
            tuple(rng.integers(1, 700, size=2))
            if rng.random() < 0.1
            else tuple(rng.integers(1, 40, size=2))
        )
        gt = rng.random(shape) < rng.choice([0, 0.05, 0.5, 1])
        yield gt ^ (rng.random(shape) < rng.choice([0, 0.05, 0.3, 1])), gt


def write_dump(path, masks, **fields):
    """A dump with the required keys alone, and `fields`."""
    path.write_text(
        ''.join(
            json.dumps(
                dict(
                    id=str(i),
                    prediction=encode(pred),
                    ground_truth=encode(gt),
                    **{key: value(i) for key, value in fields.items()},
                )
            )
            + '\n'
            for i, (pred, gt) in enumerate(masks)
        )
    )
    return path


def brute_force(masks, protocol):
    """The protocols as datasets.md, section 5, puts them; resizing by Pillow itself."""
    ious, i_total, u_total = [], 0, 0
    for pred, gt in masks:
        if protocol == 'rmsin':
            pred, gt = (
                np.asarray(
                    Image.fromarray(m.astype(np.uint8) * 255).resize(
                        (480, 480), Image.Resampling.NEAREST
                    )
                )
                > 0
                for m in (pred, gt)
            )
        i, u = int((pred * gt).sum()), int(np.maximum(pred, gt).sum())
        i_total, u_total = i_total + i, u_total + u
        empty = {'paper': 0.0, 'rmsin': 0.0, 'lisa': 1.0, 'release': math.nan}[protocol]
        ious.append(i / u if u else empty)
    over = np.greater_equal if protocol == 'rmsin' else np.greater
    return dict(
        gIoU=100 * np.mean(ious),
        cIoU=100 * i_total / u_total,
        **{f'Pr@{t}': 100 * np.mean(over(ious, t)) for t in (0.5, 0.6, 0.7, 0.8, 0.9)},
    )


@pytest.mark.parametrize('protocol', ['paper', 'rmsin', 'lisa', 'release'])
def test_a_dump_by_every_protocol(protocol, tmp_path):
    masks = list(random_masks(400 if protocol == 'rmsin' else 3000, seed=3))
    assert sum(not pred.any() and not gt.any() for pred, gt in masks) > 10
    dump = write_dump(tmp_path / 'dump.jsonl', masks)
    report, _ = score(dumped_samples(dump), PROTOCOLS[protocol])
    found = report.to_dict()
    for name, value in brute_force(masks, protocol).items():
        assert found[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name
    assert found['protocol'] == protocol and found['samples'] == len(masks)
    if protocol == 'release':
        assert found['undefined'] == [
            str(i) for i, (pred, gt) in enumerate(masks) if not pred.any() and not gt.any()
        ]


def test_the_releases_mean_by_category_leaves_undefined_samples_out(tmp_path):
    """They count in the overall mean alone; a category without any other has no mean."""
    masks = list(random_masks(3000, seed=3))
    empty = np.zeros((4, 4), bool)
    masks += [(empty, empty)] * 2
    names = [f'category {i % 3}' for i in range(3000)] + ['void'] * 2
    dump = write_dump(tmp_path / 'dump.jsonl', masks, category=lambda i: names[i])
    found = score(dumped_samples(dump), PROTOCOLS['release'])[0].to_dict()
    ious = np.array(
        [(p & g).sum() / (p | g).sum() if (p | g).any() else math.nan for p, g in masks]
    )
    means = {
        name: 100 * np.nanmean(ious[[i for i, other in enumerate(names) if other == name]])
        for name in sorted(set(names) - {'void'})
    }
    for name, mean in means.items():
        assert found['by_category'][name]['gIoU'] == pytest.approx(mean, rel=1e-12)
    assert math.isnan(found['by_category']['void']['gIoU']) and math.isnan(found['gIoU'])
    assert found['category_gIoU'] == pytest.approx(np.mean(list(means.values())), rel=1e-12)


def test_published_numbers_stand_beside_the_table_by_category(tmp_path):
    """A column more, with its own mean over all that it has; '-' where it has none."""
    full, half = np.ones((4, 4), bool), np.ones((4, 4), bool)
    half[:, 2:] = False
    dump = write_dump(
        tmp_path / 'dump.jsonl', [(full, full), (half, full)], category=lambda i: ['dam', 'pond'][i]
    )
    report = score(dumped_samples(dump), PROTOCOLS['paper'])[0]
    (table,) = (
        text
        for text in report.group_tables({'Table IV': {'dam': 65.83, 'ship': 71.65}})
        if 'by category' in text
    )
    head, dam, pond, mean = [line.split() for line in table.splitlines() if '--' not in line[:3]][
        -4:
    ]
    assert head[-2:] == ['Table', 'IV']
    assert (dam[0], dam[-1], pond[0], pond[-1]) == ('dam', '65.83', 'pond', '-')
    assert mean[:3] == ['mean', 'of', 'categories'] and mean[-1] == '68.74'
    assert all('Table IV' not in text for text in report.group_tables())


def test_sizes_that_differ(tmp_path):
    """At the original size they are an error; squashed they are not."""
    pair = np.ones((4, 6), bool), np.ones((8, 6), bool)
    dump = write_dump(tmp_path / 'dump.jsonl', [pair])
    with pytest.raises(UserError, match=r'sample 0: .*\(4, 6\).*\(8, 6\).*protocol paper'):
        score(dumped_samples(dump), PROTOCOLS['paper'])
    assert score(dumped_samples(dump), PROTOCOLS['rmsin'])[0].scores()['gIoU'] == 100


def test_rle_is_cocos():
    for pred, _ in random_masks(50, seed=5):
        rle = encode(pred)
        assert json.loads(json.dumps(rle)) == rle
        assert coco_mask.area({**rle, 'counts': rle['counts'].encode()}) == pred.sum()
        assert (decode(rle, location='') == pred).all()
        runs = np.flatnonzero(np.diff(np.r_[False, pred.T.ravel(), False].astype(int)))
        counts = np.diff(np.r_[0, runs, pred.size]).tolist()  # uncompressed, column by column
        assert (decode({'size': rle['size'], 'counts': counts}, location='') == pred).all()


@pytest.mark.parametrize(
    'line, message',
    [
        ('{', ':1: no JSON'),
        ('[]', ':1: expected object, got array'),
        ('{"id": 1, "prediction": {}}', ':1: .*ground_truth'),
        ('{"id": 1, "prediction": 7, "ground_truth": 7}', ':1 prediction: no run-length mask'),
        (
            '{"id": 1, "prediction": {"size": [2, 2], "counts": [1, 2]}, "ground_truth": 0}',
            ':1 prediction: .*sum to 3, a mask of 2 x 2',
        ),
        ('{"id": 1, "prediction": {"size": [2, 2], "counts": "1o"}, "ground_truth": 0}', 'cut off'),
        ('', 'holds no sample'),
    ],
)
def test_a_damaged_dump_names_the_line(line, message, tmp_path):
    path = tmp_path / 'dump.jsonl'
    path.write_text(line + '\n')
    with pytest.raises(UserError, match=message) as error:
        list(dumped_samples(path))
    assert str(path) in str(error.value)


def test_an_id_twice(tmp_path):
    path = write_dump(tmp_path / 'dump.jsonl', list(random_masks(2)))
    path.write_text(path.read_text().replace('"id": "1"', '"id": "0"'))
    with pytest.raises(UserError, match=r":2: id '0' occurs twice, first in .*:1"):
        list(read_dump(path))


def test_a_folder_of_masks(tmp_path):
    masks = list(random_masks(20, seed=1))
    dump = write_dump(tmp_path / 'dump.jsonl', masks)
    folder = tmp_path / 'masks'
    folder.mkdir()
    for i, (pred, _) in enumerate(masks):
        Image.fromarray(pred.astype(np.uint8) * (255 if i % 2 else 1)).save(folder / f'{i}.png')

    def scored():
        samples = with_masks(annotated_samples(dump), folder, read_mask)
        return score(samples, PROTOCOLS['paper'])[0].to_dict()

    assert scored() == score(dumped_samples(dump), PROTOCOLS['paper'])[0].to_dict()
    (folder / 'other.png').write_bytes((folder / '0.png').read_bytes())
    with pytest.raises(UserError, match=r'1 masks belong to no sample \(other.png\)'):
        scored()
    (folder / 'other.png').rename(folder / '3.tif')
    with pytest.raises(UserError, match='both the mask of sample 3'):
        scored()
    (folder / '3.tif').unlink()
    (folder / '5.png').unlink()
    with pytest.raises(UserError, match='has no mask for sample 5: expected 5.png'):
        scored()


def test_the_bootstrap_resamples_images():
    """Equal samples of an image tell no more than one; against a bootstrap written out."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, size=40)
    sums = {copies: ImageSums(PROTOCOLS['paper']) for copies in (1, 5)}
    for copies, total in sums.items():
        for image, value in enumerate(values):
            for copy in range(copies):
                total.add(
                    dict(id=f'{image}-{copy}', file=str(image), intersection=int(value), union=100)
                )
    one, five = (score_intervals(sums[copies], resamples=1000) for copies in (1, 5))
    assert all(one[name] == pytest.approx(five[name]) for name in one)
    means = [rng.choice(values, 40).mean() for _ in range(20000)]
    assert one['gIoU'] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=1.0)
    assert score_intervals(sums[1], resamples=50) == score_intervals(sums[1], resamples=50)
    alone = ImageSums(PROTOCOLS['paper'])  # without `file` a sample stands for itself
    for i in range(3):
        alone.add(dict(id=i, intersection=1, union=2))
    assert len(alone.images) == 3 and score_intervals(alone)['gIoU'] == (50, 50)


def test_comparing_two_models(tmp_path):
    """The second is better by as much on every image: the paired interval has no width."""
    gt = np.zeros((10, 10), bool)
    gt[:, :] = True
    first, second = [], []
    for i in range(12):
        a = gt.copy()
        a[:, 3 + i % 4 :] = False
        b = a.copy()
        b[:, 3 + i % 4] = True
        first.append((a, gt))
        second.append((b, gt))
    second[4] = first[4][0] & ~gt, gt
    paths = [
        write_dump(
            tmp_path / f'{n}.jsonl',
            masks,
            file=lambda i: f'{i}.png',
            sentence=lambda i: f'sentence {i}',
        )
        for n, masks in enumerate((first[:4] + first[5:], second[:4] + second[5:]))
    ]
    found = compare(*map(dumped_samples, paths), PROTOCOLS['paper'])
    gain = score_differences(*found.images, resamples=200)['gIoU']
    assert gain.difference == pytest.approx(10) and gain.interval == pytest.approx((10, 10))
    assert gain.p == 0
    paths = [
        write_dump(tmp_path / f'{n}.jsonl', masks, sentence=lambda i: f'sentence {i}')
        for n, masks in enumerate((first, second))
    ]
    found = compare(*map(dumped_samples, paths), PROTOCOLS['paper'])
    assert found.changes[-1]['id'] == '4' and found.changes[-1]['iou'] == (0.3, 0)
    assert found.changes[0]['iou'][1] > found.changes[0]['iou'][0]
    difference = score_differences(*found.images)['gIoU']
    assert difference.interval.low < difference.difference < difference.interval.high

    short = write_dump(tmp_path / 'short.jsonl', first[:-1])
    with pytest.raises(UserError, match='1 samples are in the first dump only'):
        compare(dumped_samples(paths[0]), dumped_samples(short), PROTOCOLS['paper'])
    with pytest.raises(UserError, match='sample 11 is in the second dump only'):
        compare(dumped_samples(short), dumped_samples(paths[0]), PROTOCOLS['paper'])
    other = write_dump(tmp_path / 'other.jsonl', [(a, ~b) for a, b in first])
    with pytest.raises(UserError, match='another annotated mask'):
        compare(dumped_samples(paths[0]), dumped_samples(other), PROTOCOLS['paper'])


@pytest.fixture()
def tool(monkeypatch, capsys):
    """Runs tools/analysis/<name> in this process; -> (exit code, stdout, stderr)."""

    def run(name, *arguments):
        monkeypatch.setattr('sys.argv', [name, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools/analysis' / name), run_name='__main__')
        except SystemExit as leave:
            code = leave.code
        return code, *capsys.readouterr()

    return run


def test_the_tools(tool, tmp_path):
    masks = list(random_masks(30, seed=9))
    dump = write_dump(
        tmp_path / 'dump.jsonl',
        masks,
        sentence=lambda i: 'the ship on the left',
        category=lambda i: ['ship', 'dam'][i % 2],
        file=lambda i: f'{i // 3}.png',
    )
    done = run_in_new_process('analysis/score.py', dump, '--protocol', 'lisa', '--json')
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found['gIoU'] == pytest.approx(brute_force(masks, 'lisa')['gIoU'])
    assert found['images'] == 10 and set(found['by_category']) == {'dam', 'ship'}
    low, high = found['intervals']['gIoU']
    assert low < found['gIoU'] < high
    code, out, _ = tool('score.py', dump)
    assert code == 0 and out.count('protocol `paper`') == 6, out
    code, out, _ = tool('compare.py', dump, dump)
    assert code == 0 and 'protocol `paper`' in out and out.count('none') == 2
    code, out, _ = tool('compare.py', dump, dump, '--json')
    assert json.loads(out)['differences']['gIoU']['difference'] == 0
    for arguments, message in (
        (('no.jsonl',), 'does not exist'),
        ((tmp_path,), '--ground-truth says'),
        ((dump, '--protocol', 'rsmin'), 'did you mean rmsin'),
    ):
        code, _, err = tool('score.py', *arguments)
        assert code == 1 and message in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    'sentence, expected',
    [
        ('the red ship', 'attribute'),
        ('a large storage tank', 'attribute'),
        ('The ship on the far right', 'position'),
        ('the topmost car', 'position'),
        ('the plane at the very bottom of the image', 'position'),
        ('a bridge near the center of the picture', 'position'),
        ('the car in the upper left corner', 'position'),
        ('the vehicle on the right of the airplane on the upper left', 'relation'),
        ('road next to the building', 'relation'),
        ('the ship closest to the harbor', 'relation'),
        ('A overpass is on the right of the tiny vehicle', 'relation'),
        ('vehicle driving on the road', 'relation'),
        ('tank between two trees', 'relation'),
        ('A ground track field is in the stadium in the middle', 'relation'),
        ('sidewalk along with tree', 'attribute'),
    ],
)
def test_kinds_of_sentences(sentence, expected):
    assert kind(sentence) == expected


def test_bounds_of_sizes_and_lengths():
    assert [size(area).split()[0] for area in (0, 1, 1023, 1024, 9215, 9216)] == [
        'empty',
        'small',
        'small',
        'medium',
        'medium',
        'large',
    ]
    assert [length('w ' * n) for n in (1, 5, 6, 21)] == [
        '1-5 words',
        '1-5 words',
        '6-10 words',
        'over 20 words',
    ]
