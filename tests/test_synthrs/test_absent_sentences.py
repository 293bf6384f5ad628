"""Sentences that nothing fulfils: each against a solver of this file's own, in a data set, and drawn
by seed."""

import random
import re

import numpy as np
import pytest

from rsrefseg2.datasets import RRSISD
from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.datasets.seeded_index import SeededIndex
from rsrefseg2.errors import UserError
from rsrefseg2.synthrs import absent_sentences
from rsrefseg2.synthrs.absent_sentences import KINDS, AbsentSentences
from rsrefseg2.synthrs.generation.solver import ALIASES, solve
from rsrefseg2.synthrs.known_scenes import DrawnScene
from tests.synthrs_data import dataset as dataset  # a fixture

COLOURS = ('white', 'black', 'red', 'blue', 'yellow', 'purple')
CORNERS = {'left': (0, -1), 'right': (0, 1), 'top': (1, -1), 'upper': (1, -1)} | {
    'bottom': (1, 1),
    'lower': (1, 1),
}


def fulfilling(sentence, objects, size, slack):
    """The objects that fit all that the sentence says of its target, word by word: written apart
    from the package's solver. A place and a relation hold up to `slack` pixels."""
    names = sorted(ALIASES, key=len, reverse=True)
    pattern = rf'\b({"|".join(names)})\b'
    relation = re.search(
        r'(left|right)(?: side)? of (?=the (?!image))|above|below|under|(?:closest|nearest) to',
        sentence,
    )
    own = sentence[: relation.start()] if relation else sentence
    name = re.search(pattern, own)[1]
    found = [thing for thing in objects if thing['category'] == ALIASES[name]]
    words = own.replace(name, ' ', 1).split()
    for word in words:
        if word in COLOURS:
            found = [thing for thing in found if thing['colour'] == word]
        if word in ('small', 'large', 'big'):
            found = [t for t in found if t['size'] == ('small' if word == 'small' else 'large')]
        if word in CORNERS and not relation:
            axis, sign = CORNERS[word]
            found = [t for t in found if sign * (t['centre'][axis] - size / 2) > -slack]
        if word in ('center', 'middle'):
            reach = size / 6 + slack
            found = [t for t in found if max(abs(c - size / 2) for c in t['centre']) < reach]
    if relation and not relation[0].startswith(('closest', 'nearest')):
        (anchor,) = solve(sentence[relation.end() :].strip(), objects, size)
        axis, sign = {'left': (0, -1), 'right': (0, 1), 'above': (1, -1)}.get(
            relation[1] or relation[0], (1, 1)
        )
        kept = []
        for thing in found:
            step = np.subtract(thing['centre'], objects[anchor]['centre'])
            if thing is not objects[anchor] and sign * step[axis] > abs(step[1 - axis]):
                kept.append(thing)
        found = kept
    return found


def transform(root, **options):
    return AbsentSentences(data_root=str(root), **{'prob': 1.0, **options})


def data(root, *transforms):
    return RRSISD(
        classes=None,
        data_root=str(root / 'rrsisd'),
        split='train',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            *transforms,
            dict(type='PackRefSegInputs'),
        ],
    )


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_fulfils_them(dataset, kind):
    least = {'exchange': 420, 'category': 400, 'attribute': 200, 'direction': 150, 'relation': 330}
    made = transform(dataset, kinds=[kind])
    rng = random.Random(1)
    count = 0
    for scene in read_scenes(dataset, 'train'):
        for sentence in scene['sentences']:
            key = sentence['keys']['rrsisd']
            for _ in range(6):
                text = made.absent(sentence['text'], made._find(key), rng)
                if text is None:
                    continue
                count += 1
                things, size = scene['objects'], scene['size']
                assert text != sentence['text'] and not solve(text, things, size)
                if not text.removeprefix('the ').startswith(('left', 'right', 'top', 'bottom')):
                    assert not fulfilling(text, things, size, 0.03 * size), text
    # 12 scenes of 6 sentences, 6 times
    assert count > least[kind]


def test_the_independent_solver_finds_what_is_there(dataset):
    """The control: sentences of the data are fulfilled by their target."""
    for scene in read_scenes(dataset, 'train'):
        for sentence in scene['sentences']:
            if sentence['text'].removeprefix('the ').startswith(('left', 'right', 'top', 'bottom')):
                continue
            found = fulfilling(sentence['text'], scene['objects'], scene['size'], 0)
            assert scene['objects'][sentence['target']] in found, sentence['text']


def test_without_the_solver_some_are_fulfilled(dataset, monkeypatch):
    """The control: the verification refuses something."""
    monkeypatch.setattr(absent_sentences.Scene, 'lacks', lambda scene, sentence: True)
    made, rng = transform(dataset, kinds=['direction']), random.Random(0)
    fulfilled = 0
    for scene in read_scenes(dataset, 'train'):
        for sentence in scene['sentences']:
            text = made.absent(sentence['text'], made._find(sentence['keys']['rrsisd']), rng)
            fulfilled += text is not None and bool(solve(text, scene['objects'], scene['size']))
    assert fulfilled > 10


def test_in_a_data_set(dataset):
    plain, changed = data(dataset), data(dataset, transform(dataset))
    share = 0
    for number in range(len(plain)):
        before, after = (d[SeededIndex(number, (0, 0))]['data_samples'] for d in (plain, changed))
        if before.text == after.text:
            assert (before.gt_mask == after.gt_mask).all() and 'no_target' not in after
            continue
        share += 1
        assert not after.gt_mask.any() and after.no_target and after.category is None
    assert share > 0.95 * len(plain)
    never = data(dataset, transform(dataset, prob=0.0))
    assert all(
        never[i]['data_samples'].text == plain[i]['data_samples'].text for i in range(len(plain))
    )


def test_relations_keep_a_margin(dataset):
    """Nothing lies within 45 degrees of the direction, nor comes near: with the margin of level none,
    which grows with the distance, in part."""
    made, rng, count = transform(dataset, kinds=['relation']), random.Random(2), 0
    for scene in read_scenes(dataset, 'train'):
        known = made._find(scene['sentences'][0]['keys']['rrsisd'])
        things, size = scene['objects'], scene['size']
        for _ in range(20):
            text = made.absent('the ship', known, rng)
            if text is None:
                continue
            count += 1
            relation = re.search(r'(left|right)(?: side)? of the |(above|below|under) the ', text)
            (anchor,) = solve(text[relation.end() :], things, size)
            name = re.search(rf'\b({"|".join(sorted(ALIASES, key=len, reverse=True))})\b', text)[1]
            axis, sign = {'left': (0, -1), 'right': (0, 1), 'above': (1, -1)}.get(
                relation[1] or relation[2], (1, 1)
            )
            for thing in things:
                if thing['category'] == ALIASES[name] and thing is not things[anchor]:
                    step = np.subtract(thing['centre'], things[anchor]['centre'])
                    assert sign * step[axis] - abs(step[1 - axis]) <= -0.04 * size + 1e-9, text
    assert count > 200


def test_sentences_without_a_target_are_renewed_by_share(dataset):
    made = transform(dataset, prob=0.0, renew=0.5, kinds=['relation'])
    made._read()
    random.seed(3)
    texts = []
    for key in list(made._scene_of) * 5:
        results = dict(text='the dam', sample_id=key, gt_mask=np.zeros((4, 4), bool))
        texts.append(made.transform(results)['text'])
        asked = dict(text='the ship', sample_id=key, gt_mask=np.ones((4, 4), bool))
        assert made.transform(asked)['gt_mask'].all() and asked['text'] == 'the ship'
    share = np.mean([text != 'the dam' for text in texts])
    assert abs(share - 0.5) < 4 * 0.5 / len(texts) ** 0.5
    assert all(re.search(r' of the | above | below | under ', t) for t in texts if t != 'the dam')


def test_the_other_objects_are_all_then(dataset):
    made = transform(dataset)
    made._read()
    key = next(iter(made._scene_of))
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    results = dict(
        text=made._scene_of[key].sentences[0], sample_id=key, gt_mask=mask, other_mask=mask[::-1]
    )
    random.seed(0)
    found = made.transform(results)
    assert not found['gt_mask'].any() and found['other_mask'].sum() == 8


def test_a_draw_depends_on_seed_epoch_and_sample_alone(dataset):
    changed = data(dataset, transform(dataset, prob=0.5))

    def read(epoch, order):
        random.seed(order[0])
        items = changed.__getitems__([SeededIndex(i, (7, epoch)) for i in order])
        texts = {item['data_samples'].sample_id: item['data_samples'].text for item in items}
        return [texts[key] for key in sorted(texts)]

    first = read(1, list(range(40)))
    assert read(1, list(range(39, -1, -1))) == first != read(2, list(range(40)))


def test_what_it_refuses(dataset, tmp_path):
    with pytest.raises(ValueError, match='prob is from 0 to 1'):
        AbsentSentences(data_root='x', prob=2)
    with pytest.raises(ValueError, match='renew is from 0 to 1'):
        AbsentSentences(data_root='x', renew=-0.1)
    with pytest.raises(ValueError, match='kinds are of exchange'):
        AbsentSentences(data_root='x', kinds=['colour'])
    with pytest.raises(UserError, match='layout is one of'):
        AbsentSentences(data_root='x', layout='coco')
    made = transform(dataset)
    with pytest.raises(UserError, match="sample 'no such' is not in scenes_train.jsonl"):
        made._find('no such')
    with pytest.raises(UserError, match="scene 3 has no 'colour'.*SynthRS, and of `convert coco`"):
        DrawnScene(
            dict(scene=3, size=9, sentences=[], objects=[dict(category='ship', bbox=[0, 0, 1, 1])])
        )
    with pytest.raises(UserError, match='scenes'):
        transform(tmp_path)._read()
