"""Absent sentences of photographs that `convert coco` described: what the annotation can decide."""

import json
import random
import re

import numpy as np
import pytest

from rsrefseg2.dataprep.from_coco import convert_coco
from rsrefseg2.datasets import RRSISD
from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.datasets.seeded_index import SeededIndex
from rsrefseg2.errors import UserError
from rsrefseg2.synthrs.absent_sentences import AbsentSentences
from tests.test_dataprep.test_coco import fabricate_coco, polygon

CATEGORIES = ('ship', 'airplane', 'storage tank', 'tennis court')
SIDE = 24


def scattered(content):
    """Other boxes: 3 to 9 of four categories at random places, apart, in each of 20 pictures."""
    rng = np.random.default_rng(4)
    content['categories'] = [{'id': i, 'name': name} for i, name in enumerate(CATEGORIES)]
    content['annotations'] = []
    for image in content['images']:
        cells = rng.permutation(4 * 6)[: rng.integers(3, 10)]
        for cell in cells.tolist():
            x, y = 27 * (cell % 6), 30 * (cell // 6)
            content['annotations'].append(
                {
                    'id': len(content['annotations']) + 1,
                    'image_id': image['id'],
                    'category_id': int(rng.integers(4)),
                    'bbox': [x, y, SIDE, SIDE],
                    'area': SIDE * SIDE,
                    'iscrowd': 0,
                    'segmentation': polygon(x, y, SIDE, SIDE),
                }
            )


def converted(folder, change=scattered, **options):
    source, out = fabricate_coco(folder / 'source', change), folder / 'out'
    convert_coco(
        str(source / 'instances.json'),
        str(source / 'images'),
        to='rrsisd',
        out=out,
        shares=(1, 0, 0),
        **options,
    )
    return out


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    return converted(tmp_path_factory.mktemp('photographs'))


def made_of(root, **options):
    return AbsentSentences(data_root=str(root), **{'prob': 1.0, **options})


def drawn(made, root, times=6):
    """(scene record, absent sentence) of every sentence of the data."""
    rng = random.Random(1)
    for scene in read_scenes(root / 'scenes', 'train'):
        for sentence in scene['sentences']:
            known = made._find(sentence['keys']['rrsisd'])
            for _ in range(times):
                text = made.absent(sentence['text'], known, rng)
                if text is not None:
                    yield scene, text


def category_of(text):
    name = re.search(r'ship|airplane|plane|storage tank|tank|tennis court', text)[0]
    return {'plane': 'airplane', 'tank': 'storage tank'}.get(name, name)


def middle(thing):
    x, y, w, h = thing['bbox']
    return x + w / 2, y + h / 2


def one(text, things):
    """The thing that a noun with a superlative names, of equal sizes: by its middle."""
    found = [t for t in things if t['category'] == category_of(text)]
    axis, sign = next(((a, s) for word, a, s in ORDER if f'{word}most' in text), (0, 0))
    best = min((sign * middle(t)[axis] for t in found), default=None)
    found = [t for t in found if sign * middle(t)[axis] == best]
    return found[0] if len(found) == 1 else None


ORDER = [('left', 0, 1), ('right', 0, -1), ('top', 1, 1), ('bottom', 1, -1)]
WAYS = {'left': (0, -1), 'right': (0, 1), 'above': (1, -1), 'below': (1, 1)}


def test_of_relations_none_lies_there(photographs):
    """By the middles of the boxes, written apart from the package."""
    count = 0
    for scene, text in drawn(made_of(photographs, kinds=['relation']), photographs):
        relation = re.search(r'(left|right)(?: side)? of the |(above|below) the ', text)
        anchor = one(text[relation.end() :], scene['objects'])
        assert anchor is not None, text
        axis, sign = WAYS[relation[1] or relation[2]]
        for thing in scene['objects']:
            if thing['category'] == category_of(text) and thing is not anchor:
                step = np.subtract(middle(thing), middle(anchor))
                assert sign * step[axis] <= abs(step[1 - axis]), text
        count += 1
    assert count > 300


def test_of_categories_and_places_none_is_there(photographs):
    height, width = 120, 160
    sides = [(word, 0, -1, width) for word in ('left',)] + [('right', 0, 1, width)]
    sides += [(word, 1, -1, height) for word in ('top', 'upper')]
    sides += [(word, 1, 1, height) for word in ('bottom', 'lower')]
    placed = plain = 0
    kinds = ['category', 'direction', 'exchange']
    for scene, text in drawn(made_of(photographs, kinds=kinds), photographs, times=3):
        if re.search(r'(?:left|right)(?: side)? of the (?!image)|above|below', text):
            continue  # a relation
        if re.search(r'(?:closest|nearest) to the (?!(?:top|bottom) of)', text):
            continue
        found = [t for t in scene['objects'] if t['category'] == category_of(text)]
        said = re.sub(r'\w+most|farthest to the \w+|closest to the \w+', '', text)
        for word, axis, sign, side in sides:
            if re.search(rf'\b{word}\b', said):
                found = [t for t in found if sign * (middle(t)[axis] - side / 2) > 0]
        if re.search('middle|center', said):
            found = [
                t
                for t in found
                if abs(middle(t)[0] - width / 2) < width / 6
                and abs(middle(t)[1] - height / 2) < height / 6
            ]
        assert not found, text
        has_place = re.search('left|right|top|bottom|upper|lower|middle|center', said)
        placed, plain = placed + bool(has_place), plain + (not has_place)
    assert placed > 50 and plain > 50


def test_articles_fit_the_new_name(photographs):
    texts = [text for _, text in drawn(made_of(photographs, kinds=['category']), photographs)]
    assert any(text.startswith('an airplane') for text in texts)
    assert not [text for text in texts if re.match(r'a [aeiou]|an [^aeiou]', text)]


def test_in_a_data_set(photographs):
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='AbsentSentences', data_root=str(photographs), prob=1.0),
        dict(type='PackRefSegInputs'),
    ]
    data = RRSISD(classes=None, data_root=str(photographs), split='train', pipeline=pipeline)
    samples = [data[SeededIndex(i, (0, 0))]['data_samples'] for i in range(len(data))]
    absent = [sample for sample in samples if 'no_target' in sample]
    assert len(absent) > 0.9 * len(samples)
    assert not any(sample.gt_mask.any() for sample in absent)


def crowds_of_ships(content):
    scattered(content)
    for annotation in content['annotations']:
        annotation['iscrowd'] = int(annotation['category_id'] == 0 and annotation['image_id'] % 2)


@pytest.fixture(scope='module')
def crowded(tmp_path_factory):
    return converted(tmp_path_factory.mktemp('crowded'), crowds_of_ships)


def test_nothing_is_said_of_what_is_annotated_in_part(crowded, tmp_path):
    made = made_of(crowded)
    spoken = {False: 0, True: 0}
    for scene, text in drawn(made, crowded):
        assert not (scene['crowds'] and 'ship' in text), text
        spoken[bool(scene['crowds'])] += 'ship' in text
    assert spoken[False] > 50 and sum(bool(s['crowds']) for s in made_scenes(crowded)) >= 5
    excluded = converted(tmp_path, exclude=['ship'])
    texts = [text for _, text in drawn(made_of(excluded), excluded, times=2)]
    assert len(texts) > 100 and not [text for text in texts if 'ship' in text]


def made_scenes(root):
    return list(read_scenes(root / 'scenes', 'train'))


def test_what_it_refuses(crowded, photographs, tmp_path):
    (tmp_path / 'scenes').mkdir()
    scenes = made_scenes(crowded)
    for scene in scenes:
        del scene['crowds']
    lines = '\n'.join(map(json.dumps, scenes)) + '\n'
    (tmp_path / 'scenes/scenes_train.jsonl').write_text(lines)
    summary = json.loads((crowded / 'summary.json').read_text())
    (tmp_path / 'summary.json').write_text(json.dumps(summary))
    with pytest.raises(UserError, match='do not say where a crowd.*convert the data again'):
        made_of(tmp_path)._read()
    # written before crowds were: sure where none was counted
    plain = json.loads((photographs / 'summary.json').read_text())
    (tmp_path / 'summary.json').write_text(json.dumps(plain))
    assert len(made_of(tmp_path)._read()) == len(scenes)
    (tmp_path / 'summary.json').write_text(json.dumps({'splits': summary['splits']}))
    with pytest.raises(UserError, match='is no conversion of annotated instances'):
        made_of(tmp_path)._read()
