"""Every sentence has one target, found by a solver that shares no code with the generator, and
every content word is needed for it."""

import ast
import re
from pathlib import Path

import pytest

from rsrefseg2.synthrs.generation import solver
from rsrefseg2.synthrs.generation.generate import make_scene
from rsrefseg2.synthrs.generation.language import Ground, Phrase
from rsrefseg2.synthrs.generation.scene import Thing
from rsrefseg2.synthrs.generation.wording import vocabulary

SCENES = 120

# The test's own table: words that may stand for each other without making nonsense of a sentence.
NAMES = [
    'airplane',
    'plane',
    'baseball field',
    'baseball diamond',
    'building',
    'house',
    'helipad',
    'roundabout',
    'traffic circle',
    'ship',
    'boat',
    'stadium',
    'storage tank',
    'tank',
    'swimming pool',
    'pool',
    'tennis court',
    'vehicle',
    'car',
    'windmill',
    'wind turbine',
]
EXCHANGES = {
    'name': NAMES,
    'colour': ['white', 'black', 'red', 'blue', 'yellow', 'purple'],
    'size': ['small', 'large', 'big'],
    'side': ['left', 'right'],
    'vertical side': ['top', 'bottom'],
    'corner': ['upper', 'lower'],
    'extreme': ['leftmost', 'rightmost', 'topmost', 'bottommost'],
    'half': [
        'on the left',
        'on the right',
        'at the top',
        'at the bottom',
        'in the center',
        'in the middle',
        'on the left side',
        'on the right side',
        'in the upper half',
        'in the lower half',
    ],
    'direction': [
        'on the left of',
        'to the left of',
        'left of',
        'on the left side of',
        'on the right of',
        'to the right of',
        'right of',
        'on the right side of',
        'above',
        'below',
        'under',
        'closest to',
        'nearest to',
    ],
}
SAME = [
    {'airplane', 'plane'},
    {'baseball field', 'baseball diamond'},
    {'building', 'house'},
    {'roundabout', 'traffic circle'},
    {'ship', 'boat'},
    {'storage tank', 'tank'},
    {'swimming pool', 'pool'},
    {'vehicle', 'car'},
    {'windmill', 'wind turbine'},
    {'large', 'big'},
    {'below', 'under'},
    {'closest to', 'nearest to'},
    {'in the center', 'in the middle'},
    {'on the left', 'on the left side'},
    {'on the right', 'on the right side'},
    {'at the top', 'in the upper half'},
    {'at the bottom', 'in the lower half'},
    {'on the left of', 'to the left of', 'left of', 'on the left side of'},
    {'on the right of', 'to the right of', 'right of', 'on the right side of'},
]


def changes(text):
    """Every sentence that differs from `text` in one content word or expression."""
    for words in EXCHANGES.values():
        pattern = '|'.join(sorted(words, key=len, reverse=True))
        for match in re.finditer(rf'(?<!\w)(?:{pattern})(?!\w)', text):
            old = match[0]
            for new in words:
                if new != old and not any({old, new} <= group for group in SAME):
                    yield f'{text[: match.start()]}{new}{text[match.end() :]}'


def answer(text, objects, size):
    try:
        return solver.solve(text, objects, size)
    except solver.NotUnderstood:
        return set()


@pytest.fixture(scope='module')
def cases():
    found = []
    for index in range(SCENES):
        scene, sentences = make_scene(seed=11, split='train', index=index)
        objects = [
            {
                'category': thing.category,
                'colour': thing.colour,
                'size': thing.size,
                'centre': list(thing.centre),
            }
            for thing in scene.things
        ]
        found += [(sentence, objects, scene.size) for sentence in sentences]
    return found


def test_every_sentence_has_exactly_its_target(cases):
    assert len(cases) == SCENES * 6
    for sentence, objects, size in cases:
        assert solver.solve(sentence.text, objects, size) == {sentence.target}, sentence


def test_every_content_word_is_needed(cases):
    changed = 0
    for sentence, objects, size in cases:
        for other in changes(sentence.text):
            changed += 1
            assert answer(other, objects, size) != {sentence.target}, (sentence, other)
    assert changed > 20 * len(cases)


def test_most_changed_sentences_are_understood(cases):
    """Else the test above would pass because the solver reads nothing."""
    outcomes = {'other': 0, 'void': 0}
    for sentence, objects, size in cases[:150]:
        for other in changes(sentence.text):
            outcomes['other' if answer(other, objects, size) else 'void'] += 1
    assert outcomes['other'] > 0.15 * sum(outcomes.values()), outcomes


def test_position_and_relation_have_distractors(cases):
    for sentence, objects, _ in cases:
        if sentence.level != 'attribute':
            name = objects[sentence.target]['category']
            assert sum(item['category'] == name for item in objects) >= 4


def test_vocabulary_is_modest_and_complete(cases):
    words = vocabulary()
    assert len(words) <= 100
    assert {word for sentence, _, _ in cases for word in sentence.text.split()} <= set(words)
    assert max(len(sentence.text.split()) for sentence, _, _ in cases) <= 24


def test_solver_shares_no_code_with_the_generator():
    tree = ast.parse(Path(solver.__file__).read_text(encoding='utf-8'))
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {'__future__', 're', 'collections.abc', 'typing'}
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


HAND_MADE = [  # a 100-pixel picture: name, colour, size, centre
    ('airplane', 'white', 'small', (20, 20)),
    ('airplane', 'red', 'large', (80, 25)),
    ('vehicle', 'red', 'small', (10, 30)),
    ('vehicle', 'blue', 'small', (40, 22)),
    ('vehicle', 'blue', 'large', (60, 28)),
    ('vehicle', 'red', 'large', (95, 80)),
    ('swimming pool', None, 'large', (50, 55)),
]


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('the white plane', {0}),
        ('big airplane', {1}),
        ('the small car that is blue', {3}),
        ('airplanes', None),
        ('the vehicle', {2, 3, 4, 5}),
        ('green car', None),
        ('the leftmost vehicle', {2}),
        ('bottommost car', {5}),
        ('the airplane located on the right side of the image', {1}),
        ('the car that is in the lower right corner', {5}),
        ('the pool in the middle', {6}),
        ('the plane on the left of the image', {0}),
        ('the vehicle on the right of the airplane on the upper left', {3, 4, 5}),
        ('the vehicle to the left of the white airplane', set()),
        ('the vehicle left of the rightmost plane', {2, 3, 4}),
        ('car nearest to the red airplane', {4}),
        ('the car closest to the airplane', set()),
        ('the plane that is above the swimming pool', {0}),
        ('car located above the pool', {3, 4}),
        ('the car under the helipad', set()),
    ],
)
def test_solver_by_hand(text, wanted):
    objects = [
        dict(category=name, colour=colour, size=size, centre=centre)
        for name, colour, size, centre in HAND_MADE
    ]
    if wanted is None:
        with pytest.raises(solver.NotUnderstood):
            solver.solve(text, objects, 100)
    else:
        assert solver.solve(text, objects, 100) == wanted


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('the vehicle left of the rightmost plane', {2}),
        ('car to the right of the pool', {5}),
        ('car located above the pool', {3}),
        ('the red car under the airplane', {5}),
        ('car nearest to the red airplane', {2, 3, 4, 5}),  # the anchor has no place: any of them
        ('car closest to the pool in the lower right', {5}),  # it has one: the car that is there
        ('car closest to the leftmost plane', {2}),
        ('the plane closest to the pool at the bottom', {0, 1}),  # no plane is there: any of them
    ],
)
def test_without_the_anchor(text, wanted):
    objects = [dict(zip(('category', 'colour', 'size', 'centre'), row)) for row in HAND_MADE]
    assert solver.solve_without_anchor(text, objects, 100) == wanted


def test_without_the_anchor_there_must_be_a_relation():
    with pytest.raises(solver.NotUnderstood, match='no relation is named'):
        solver.solve_without_anchor('the leftmost car', [], 100)


def test_directions_without_the_anchor_are_superlatives(cases):
    """The generator's own 'leftmost', and the share of sentences that projects/localisation_study/README.md tells of."""
    words = {
        'left': 'leftmost',
        'right': 'rightmost',
        'above': 'topmost',
        'below': 'bottommost',
        'under': 'bottommost',
    }
    same = []
    for sentence, objects, size in cases:
        if sentence.level != 'relation' or sentence.kind == 'closest':
            continue
        name = objects[sentence.target]['category']
        direction = re.search(r'\b(left|right|above|below|under)\b', sentence.text)[1]
        things = [Thing(**item, bbox=(), angle=0, length=0, area=0, rle={}) for item in objects]
        farthest = Ground(things, size=size).evaluate(Phrase(name, place=words[direction]))
        without = solver.solve_without_anchor(sentence.text, objects, size)
        assert without == set(farthest), sentence
        same.append(without == {sentence.target})
    assert 0.75 < sum(same) / len(same) < 0.95
