"""Configs are read without running what is not their own code; what is wrong is one line."""

import json
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rsrefseg2.engine import load_config
from rsrefseg2.engine.config_files import read_config
from rsrefseg2.engine.config_variables import fill
from rsrefseg2.errors import UserError

CODE = "'+str(__import__('os').system('touch ran'))+'"
LITERAL = "text = '{{$V:data}}/x' \"{{$V:data}}\"\nalone = {{'$V:80'}}  # {{$V:data}}\n"
# What an environment variable or a folder's name can hold.
texts = st.text(st.characters(exclude_characters='\0', codec='utf-8'), min_size=1, max_size=12)


def with_value(value, text, path):
    before = os.environ.get('V')
    os.environ['V'] = value
    try:
        return fill(text, path)
    finally:
        if before is None:
            del os.environ['V']


@settings(max_examples=30)
@given(texts)
@example(CODE)
@example('/data/a\\1b')
@example('a\nb = 1')
@example('{1}')
@example('/mnt/\udcff')
def test_a_variable_is_data(value):
    # compiled, not run: the only call in it would be the value's
    code = compile(with_value(value, LITERAL, 'c.py'), 'c.py', 'exec')
    assert not {'__import__', 'str'} & set(code.co_names)
    found = {}
    exec(code, found)
    assert found['text'] == f'{value}/x{value}'
    assert json.loads(with_value(value, '{"a": ["{{$V:data}}/x"]}', 'c.json')) == {
        'a': [f'{value}/x']
    }


@pytest.mark.parametrize(
    ('value', 'alone'),
    [
        ('8', 8),
        ('-2.5', -2.5),
        ('True', True),
        ('(1, 2)', (1, 2)),
        ("os.system('x')", "os.system('x')"),
    ],
)
def test_a_variable_of_its_own_is_a_literal_or_text(value, alone):
    found = {}
    exec(with_value(value, LITERAL, 'c.py'), found)
    assert found['alone'] == alone


@pytest.mark.parametrize(
    ('name', 'text', 'value'),
    [
        ('raw.py', "a = r'{{$V:data}}'\n", "it's"),
        ('form.py', "a = f'{{$V:data}}'\n", '{x!r}'),
        ('name.py', 'a = b_{{$V:data}}\n', 'c if d'),
        ('plain.yaml', 'a: {{$V:data}}\n', 'x: [1'),
        ('single.yaml', "a: '{{$V:data}}'\n", "it's"),
    ],
)
def test_a_value_that_does_not_fit_its_place_is_named(name, text, value, tmp_path):
    with pytest.raises(UserError, match=rf'{name}: \$V has characters that cannot'):
        with_value(value, text, str(tmp_path / name))


@pytest.mark.parametrize('folder', ["Bob's model", 'a\\nb', 'say "x"', '{x}', 'a b'])
def test_a_config_may_lie_in_any_folder(folder, tmp_path):
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / 'c.py'
    path.write_text("_base_ = 'base.json'\ntower = '{{fileDirname}}/sam'\nname = {{_base_.b}}\n")
    (tmp_path / folder / 'base.json').write_text('{"b": "{{ fileDirname }}"}')
    cfg = read_config(str(path))
    assert cfg.tower == f'{path.parent}/sam' and cfg.name == cfg.b == str(path.parent)


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [
        (
            'tag.yaml',
            "a: !!python/object/apply:os.system ['touch ran']\n",
            'without tags of Python',
        ),
        ('base.py', "_base_ = 'tag.yaml'\n", 'without tags of Python'),
        ('exit.py', 'a = 1\nexit(0)\n', r'ends the program.*exit.py, line 2'),
        ('loop.py', "_base_ = 'loop.py'\n", 'base of its own'),
        ('deep.json', '[' * 100_000, 'has no end'),
        ('list.json', '[1]', 'expected keys and values'),
        ('empty.py', "a = '{{$V:data}}'\n", r'\$V is empty'),
    ],
)
def test_what_a_config_may_not_do_is_one_line(name, text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('V', '')
    (tmp_path / 'tag.yaml').write_text("a: !!python/object/apply:os.system ['touch ran']\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read_config(str(tmp_path / name))
    assert not (tmp_path / 'ran').exists()


def test_plain_yaml_is_read(tmp_path):
    (tmp_path / 'base.py').write_text('a = dict(b=1, c=2)\n')
    (tmp_path / 'c.yaml').write_text('_base_: base.py\na: {b: 3}\nd: {{_base_.a.c}}\n')
    assert read_config(str(tmp_path / 'c.yaml')).to_dict() == {'a': {'b': 3, 'c': 2}, 'd': 2}


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'launcher': 'slurm'}, '--launcher'),
        ({'work_dir': 'b'}, 'name two folders'),
        ({'work_dir': 3}, 'two folders|expected a text'),
        ({'experiment_name': '../x'}, 'slashes'),
        ({'experiment_name': 1}, 'expected a text'),
    ],
)
def test_options_that_would_have_no_effect(options, said, tmp_path):
    (tmp_path / 'c.py').write_text('train_cfg = None\n')
    with pytest.raises(UserError, match=said):
        load_config(str(tmp_path / 'c.py'), options=options, work_dir='a')
    assert load_config(str(tmp_path / 'c.py'), options={'work_dir': 'a'}).work_dir == 'a'
