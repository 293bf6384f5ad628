"""What is asked of which picture: arguments, folders, patterns, files of questions."""

import pytest

from rsrefseg2.apis.asked import (
    Asked,
    Picture,
    find_pictures,
    find_questions,
    read_questions,
    split_arguments,
)
from rsrefseg2.errors import UserError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('photos/b.jpg', 'photos/a.PNG', 'photos/sub/c.tif', 'photos/notes.txt', 'x.jpg'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    return tmp_path


def test_a_folder_is_its_pictures_and_those_below(photos):
    assert find_pictures(['photos']) == [
        Picture('photos/a.PNG', 'a'),
        Picture('photos/b.jpg', 'b'),
        Picture('photos/sub/c.tif', 'sub/c'),
    ]


def test_a_pattern(photos):
    assert find_pictures(['photos/*.jpg', 'x.jpg']) == [
        Picture('photos/b.jpg', 'b'),
        Picture('x.jpg', 'x'),
    ]
    assert len(find_pictures(['photos/**/*.tif'])) == 1
    (photos / 'odd[1].jpg').write_bytes(b'')
    assert find_pictures(['odd[1].jpg']) == [Picture('odd[1].jpg', 'odd[1]')]


@pytest.mark.parametrize(
    ('given', 'says'),
    [('photos/*.gif', "no file fits the pattern 'photos/*.gif'"), ('empty', 'holds no picture')],
)
def test_where_no_picture_is(photos, given, says):
    (photos / 'empty').mkdir()
    with pytest.raises(UserError, match=says.replace('*', r'\*')):
        find_pictures([given])


def test_every_sentence_is_asked_of_every_picture(photos):
    (photos / 'said.txt').write_text('a ship\n\n  the red car \n', encoding='utf-8')
    asked = find_questions(['photos', './x.jpg', 'a tree'], sentences='said.txt')
    assert [one.picture.name for one in asked] == ['a', 'b', 'sub/c', 'x']
    assert all(one.sentences == ['a tree', 'a ship', 'the red car'] for one in asked)
    assert asked[2].ids == ['sub/c_1', 'sub/c_2', 'sub/c_3']
    assert find_questions(['photos'], sentences='said.txt')[0].sentences == asked[0].sentences[1:]
    (photos / 'said.txt').write_text(' \n')
    with pytest.raises(UserError, match="'said.txt' holds no sentence"):
        find_questions(['x.jpg'], sentences='said.txt')


def test_pictures_come_before_sentences(photos):
    assert split_arguments(['x', 'y.png', 'photos/', 'photos', 'the x.y']) == (
        ['x', 'y.png', 'photos/'],
        ['photos', 'the x.y'],
    )


QUESTIONS = [
    Asked(Picture('photos/b.jpg', 'b'), ['a ship, red', 'a car'], ['b_1', 'q7']),
    Asked(Picture('photos/sub/c.tif', 'sub/c'), ['a "tank"'], ['sub/c_1']),
]


def test_questions_as_csv_and_as_jsonl(photos):
    (photos / 'photos/q.csv').write_text(
        '\ufeffid, image,sentence,\n'.replace(',\n', '\n')
        + ',b.jpg,"a ship, red"\n,sub/c.tif,"a ""tank"""\nq7,b.jpg,a car\n',
        encoding='utf-8',
    )
    (photos / 'photos/q.jsonl').write_text(
        '{"image": "b.jpg", "sentence": "a ship, red"}\n'
        '{"image": "sub/c.tif", "sentence": "a \\"tank\\""}\n'
        '{"image": "b.jpg", "sentence": "a car", "id": "q7"}\n'
    )
    for name in ('photos/q.csv', 'photos/q.jsonl'):
        assert read_questions(name) == QUESTIONS
        assert find_questions([], questions=name) == QUESTIONS
    with pytest.raises(UserError, match='--questions names pictures and sentences'):
        find_questions(['x.jpg'], questions='photos/q.csv')


@pytest.mark.parametrize(
    ('name', 'text', 'says'),
    [
        ('q.csv', 'image,text\na.png,b\n', 'q.csv:1: the first line names no column sentence'),
        ('q.csv', '', 'no column image and no sentence'),
        ('q.csv', 'image,sentence\na.png,b,c\n', 'q.csv:2: more fields'),
        ('q.csv', 'image,sentence\na.png\n', 'q.csv:2: fewer fields'),
        ('q.csv', 'image,sentence\na.png,"b\n', 'q.csv:2: no CSV'),
        ('q.csv', 'image,sentence\na.png, \n', 'q.csv:2: the sentence is empty'),
        ('q.csv', 'image,sentence\n', 'holds no question'),
        ('q.csv', 'id,image,sentence\n1,a.png,b\n1,c.png,d\n', "q.csv:3: id '1' occurs twice"),
        ('q.jsonl', '{"image": "a.png"}\n', 'q.jsonl:1: .*sentence'),
        ('q.jsonl', '{"image": 3, "sentence": "b"}\n', 'q.jsonl:1: image'),
        ('q.jsonl', '{"image": "a", "sentence": "b", "x": 1}\n', 'q.jsonl:1: .*x'),
        ('q.txt', '', "'q.txt': a file of questions ends in .csv or .jsonl"),
    ],
)
def test_what_is_no_question(photos, name, text, says):
    (photos / name).write_text(text)
    with pytest.raises(UserError, match=says):
        read_questions(name)
