"""tools/data/browse.py: a page that needs nothing else, and statistics checked by hand."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from rsrefseg2.apis.browse_dataset import write_browse_page
from rsrefseg2.dataprep.statistics import (
    CELLS,
    COUNTS,
    PUBLISHED_SCENES,
    SentenceStatistics,
    figures,
    mask_statistics,
)
from rsrefseg2.datasets.readers import FURTHER, open_split
from rsrefseg2.errors import UserError
from rsrefseg2.visualization.browse_page import Sample, browse_page, size_of, thumbnail
from rsrefseg2.visualization.panel import GREEN
from tests.fabricate import HEIGHT, WIDTH, change_instances, fabricate, target


class Reader(HTMLParser):
    """Every tag with its attributes; fails where tags are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ('meta', 'img', 'input'):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('browse')
    return {name: fabricate(name, folder / name) for name in ('refsegrs', 'rrsisd', 'risbench')}


def test_words_are_counted_in_two_ways():
    found = SentenceStatistics(['The  ship at the top-right .', "It's a tank, two tanks."])
    blanks, letters = COUNTS
    assert found.lengths == {blanks: [6, 5], letters: [6, 5]}
    assert found.vocabulary[blanks] == {
        'the': 2,
        'ship': 1,
        'at': 1,
        'top-right': 1,
        '.': 1,
        "it's": 1,
        'a': 1,
        'tank,': 1,
        'two': 1,
        'tanks.': 1,
    }
    assert found.vocabulary[letters] == {
        'the': 2,
        'ship': 1,
        'at': 1,
        'top': 1,
        'right': 1,
        "it's": 1,
        'a': 1,
        'tank': 1,
        'two': 1,
        'tanks': 1,
    }
    assert found.mean_length(letters) == 5.5


def test_published_figures_stand_beside_the_measured_ones(roots, tmp_path):
    for name, published in (('risbench', (14.31, 4431)), ('rrsisd', (None, None))):
        splits = {
            split: open_split(name, roots[name], split, serialize_data=False)
            for split in ('train', 'val', 'test')
        }
        texts = [
            data.get_data_info(i)['text'] for data in splits.values() for i in range(len(data))
        ]
        table = figures(splits, SentenceStatistics(texts))
        found = {figure.name: figure for figure in table}
        assert found['triplets, train'][1:] == (4, splits['train'].PUBLISHED['train'])
        words = found['words a sentence (split at blanks)']
        assert words.published == published[0]
        assert words.measured == np.mean([len(text.split()) for text in texts])
        assert found['different words (runs of letters and digits)'].published == published[1]
        part = figures({'test': splits['test']}, SentenceStatistics(texts))
        assert all(f.published is None for f in part if 'word' in f.name)  # not the whole data set
    other = fabricate('rrsisd', tmp_path)  # other data in the layout: nothing is published of it
    change_instances(lambda c: c['categories'][18].update(name='kayak'))(other)
    own = open_split('rrsisd', other, 'test', classes=None)
    assert figures({'test': own}, SentenceStatistics(texts))[0] == ('triplets, test', 2, None)


def test_scenes_are_counted_by_content(tmp_path):
    root = fabricate('refsegrs', tmp_path)
    (root / 'images/3.tif').write_bytes((root / 'images/12.tif').read_bytes())
    splits = {name: open_split('refsegrs', root, name) for name in ('train', 'val', 'test')}
    found = {f.name: f for f in figures(splits, SentenceStatistics(['a']))}
    for split, count in (('train', 3), ('val', 2), ('test', 2)):
        assert found[f'different images, {split}'][1:] == (
            count,
            PUBLISHED_SCENES['RefSegRS'][split],
        )


def test_mask_statistics(roots):
    found = mask_statistics(open_split('risbench', roots['risbench'], 'train'))
    masks = [target(number) for number in range(4)]
    assert found.areas.tolist() == [mask.sum() for mask in masks]
    np.testing.assert_allclose(found.shares, [mask.mean() for mask in masks])
    rows, columns = np.nonzero(masks[1])
    np.testing.assert_allclose(
        found.centres[1], ((columns.mean() + 0.5) / WIDTH, (rows.mean() + 0.5) / HEIGHT)
    )
    assert found.coverage.shape == (CELLS, CELLS)
    np.testing.assert_allclose(found.coverage.mean(), np.mean(masks), rtol=1e-5)


def test_an_empty_mask_has_no_centre(roots, tmp_path):
    from PIL import Image

    root = fabricate('risbench', tmp_path)
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(root / 'mask/train_0_0.png')
    found = mask_statistics(open_split('risbench', root, 'train'))
    assert found.areas[0] == 0 and len(found.areas) == 4 and len(found.centres) == 3


@pytest.mark.parametrize('name', ['refsegrs', 'rrsisd', 'risbench'])
def test_the_page_is_whole_and_self_contained(run, roots, tmp_path, name):
    out = tmp_path / 'new/page.html'
    code, printed, _ = run(
        'data/browse.py', name, roots[name], '--split', 'train', '--out', out, '--max', 3
    )
    assert code == 0 and 'triplets, train: 4 (published: ' in printed
    text = out.read_text(encoding='utf-8')
    read = Reader(text)
    assert len(read.all('img')) == 3 and '3 of 4 samples' in text
    assert all(image['src'].startswith('data:image/jpeg;base64,') for image in read.all('img'))
    assert not re.search(r'https?://(?!www\.w3\.org)|<link|src="(?!data:)', text)
    assert len(read.all('svg')) == (6 if name == 'rrsisd' else 5)
    categories = {figure['data-category'] for figure in read.all('figure') if 'data-size' in figure}
    assert categories <= (
        {'vehicle', 'Expressway-Service-area', 'airplane'} if name == 'rrsisd' else {''}
    )


@pytest.mark.parametrize('name', FURTHER)
def test_the_further_benchmarks_have_a_page(run, tmp_path, name):
    root, out = fabricate(name, tmp_path / 'data'), tmp_path / 'page.html'
    code, printed, _ = run('data/browse.py', name, root, '--split', 'train', '--out', out)
    assert code == 0 and 'triplets, train: 4\n' in printed
    shown = [f for f in Reader(out.read_text()).all('figure') if 'data-size' in f]
    assert len(shown) == 4
    assert sum(f['data-size'] == 'empty' for f in shown) == (name == 'earthreason')


def test_a_split_that_cannot_be_read_is_named(roots, tmp_path):
    root = fabricate('risbench', tmp_path / 'data', fault='missing text')  # of train
    lines = write_browse_page(tmp_path / 'page.html', 'risbench', str(root), split='test')
    assert 'train left out of the sentence statistics' in lines[-1]
    assert 'train left out' in (tmp_path / 'page.html').read_text()
    assert not any('4,431' in line for line in lines)


def test_the_page_replaces_its_like_alone(roots, tmp_path):
    lines = tmp_path / 'val.jsonl'
    lines.write_text('{}')
    with pytest.raises(UserError, match='val.jsonl is there.*--overwrite'):
        write_browse_page(lines, 'risbench', str(roots['risbench']), split='val')
    assert lines.read_text() == '{}'
    for overwrite in (True, False):  # the second time it is a page
        write_browse_page(
            lines, 'risbench', str(roots['risbench']), split='val', overwrite=overwrite
        )
    assert '<title>' in lines.read_text()


def test_sentences_are_escaped_and_filters_have_their_values():
    white = np.full((4, 4, 3), 255, np.uint8)
    samples = [
        Sample('1', '<b>"ship" & co', 'a<b', 50, 0.1, white),
        Sample('2', 'tank', '', 0, 0.0, white),
        Sample('3', 'x', 'tank', 9999, 0.5, white),
    ]
    text = browse_page(samples, title='<t>', note='n', figures=[('a', 3, None), ('b', 1.5, 2000)])
    read = Reader(text)
    assert '<q>&lt;b&gt;&quot;ship&quot; &amp; co</q>' in text and '<b>' not in text
    shown = [f for f in read.all('figure') if 'data-size' in f]
    assert [f['data-category'] for f in shown] == ['a<b', '', 'tank']
    assert [f['data-size'] for f in shown] == [size_of(50), 'empty', 'large']
    for f in shown:
        assert f'<option>{f["data-size"]}</option>' in text
    assert '<td>1.50</td><td>2,000</td>' in text


def test_thumbnails_keep_small_targets():
    image, mask = np.zeros((2000, 1000, 3), np.uint8), np.zeros((2000, 1000), bool)
    mask[700, 300] = True
    small = thumbnail(image, mask, 200)
    assert small.shape == (200, 100, 3)
    assert (small == GREEN).all(axis=2).any()
    assert thumbnail(image[:50, :40], mask[:50, :40], 200).shape == (50, 40, 3)
