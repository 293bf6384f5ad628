"""Command lines: `--cfg-options`, types of arguments, and help that imports nothing heavy."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import DictAction

from rsrefseg2 import options
from rsrefseg2.dataprep.layouts import LAYOUTS
from rsrefseg2.datasets.readers import BENCHMARKS, FURTHER, READERS
from rsrefseg2.evaluation import PROTOCOLS

ROOT = Path(__file__).resolve().parents[1]
TOOLS = sorted(
    str(path)
    for folder in ('.', 'data', 'analysis')
    for path in (ROOT / 'tools' / folder).glob('*.py')
)
HELP = """
import contextlib, io, json, runpy, sys
answers = {}
for tool in sys.argv[1:]:
    out = io.StringIO()
    sys.argv = [tool, '--help']
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(tool, run_name='__main__')
    except SystemExit as stop:
        heavy = set(sys.modules) & {
            'torch', 'mmengine', 'transformers', 'mmdet', 'cv2', 'matplotlib'}
        answers[tool] = [stop.code, out.getvalue()[:6], sorted(heavy)]
print(json.dumps(answers))
"""
scalars = (
    st.integers(-999, 999) | st.sampled_from(['True', 'None', '1e-3', 'a.b/c', 'x', '2.5'])
).map(str)
values = st.recursive(
    scalars,
    lambda part: st.builds(
        lambda parts, form: form.format(','.join(parts)),
        st.lists(part, max_size=3),
        st.sampled_from(['[{}]', '({})']),
    ),
    max_leaves=8,
)
words = st.text('[](),=\'"a1. ', max_size=8)


def test_help_imports_nothing_heavy():
    answers = json.loads(
        subprocess.run(
            [sys.executable, '-c', HELP, *TOOLS],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    assert answers == {tool: [0, 'usage:', []] for tool in TOOLS}


def test_the_choices_are_what_there_is():
    assert options.PROTOCOLS == tuple(PROTOCOLS)
    assert options.BENCHMARKS == tuple(BENCHMARKS)
    assert options.FURTHER == tuple(FURTHER)
    assert options.READERS == tuple(READERS)
    assert options.LAYOUTS == tuple(LAYOUTS)


def parse(*arguments, action=options.CfgOptions):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument('--cfg-options', nargs='+', action=action)
    return parser.parse_args(['--cfg-options', *arguments]).cfg_options


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(['a', 'a.b', 'c.0.d']), values), min_size=1, max_size=3))
def test_values_are_read_as_by_mmengine(pairs):
    arguments = [f'{key}={value}' for key, value in pairs]
    assert parse(*arguments) == parse(*arguments, action=DictAction)


@settings(max_examples=100)
@given(words)
def test_any_word_is_read_or_refused_in_one_line(word):
    try:
        found = parse(word)
    except argparse.ArgumentError as error:
        assert repr(word) in str(error) and '\n' not in str(error)
    else:
        assert list(found) == [word.partition('=')[0]]


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('abc', 'KEY=VALUE'),
        ('=1', 'KEY=VALUE'),
        ('a..b=1', 'KEY=VALUE'),
        ('a=[1,2', "']' is missing"),
        ('a=[1,2)', "')'"),
        ('a=' + '[' * 99 + '1,2' + ']' * 99, 'brackets within'),
    ],
)
def test_a_wrong_option_is_one_line(word, said, run):
    code, out, err = run('train.py', 'config.py', '--cfg-options', word)
    assert code == 2 and out == ''
    assert 'argument --cfg-options' in err.splitlines()[-1] and said in err.splitlines()[-1]


@pytest.mark.parametrize(
    ('kind', 'good', 'bad'),
    [
        (options.positive, {'1': 1}, ['0', '-1', 'x', '1.5', '']),
        (options.count, {'0': 0}, ['-1', 'nan']),
        (options.seed, {'0': 0, '4294967295': 2**32 - 1}, ['-1', '4294967296', '1.5']),
        (options.positive_float, {'2e-3': 2e-3}, ['0', '-1', 'nan', 'inf', 'x']),
        (options.weight, {'0': 0, '1.5': 1.5}, ['-1', 'inf']),
        (options.fraction, {'0': 0, '0.5': 0.5, '1': 1}, ['1.1', '-0.1', 'nan']),
    ],
)
def test_types_of_arguments(kind, good, bad):
    assert {text: kind(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=repr(text)):
            kind(text)
