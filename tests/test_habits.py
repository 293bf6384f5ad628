"""Every public name has a docstring and types, and no function is longer than 50 lines.

Read from the source with ast: properties, methods and registered classes count as well.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'rsrefseg2'
MOST_LINES = 50  # from `def` to the last line
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FILES = sorted(PACKAGE.rglob('*.py'))


def public_names(body, above=''):
    """(name, node, whether it is a method) of the classes and functions that others may use."""
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            if node.name.startswith('_') and node.name != '__init__':
                continue
            yield above + node.name, node, bool(above)
            if isinstance(node, ast.ClassDef):
                yield from public_names(node.body, f'{above}{node.name}.')
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from public_names(node.body, above)


def lacks_docstring(node):
    # what a constructor takes stands in the docstring of its class
    return node.name != '__init__' and not ast.get_docstring(node)


def lacks_types(node, is_method):
    if isinstance(node, ast.ClassDef):
        return False
    taken = [*node.args.posonlyargs, *node.args.args]
    static = any(getattr(entry, 'id', None) == 'staticmethod' for entry in node.decorator_list)
    if is_method and not static:
        taken = taken[1:]  # self, cls
    taken += [*node.args.kwonlyargs, *filter(None, [node.args.vararg, node.args.kwarg])]
    return node.returns is None or any(entry.annotation is None for entry in taken)


def faults_of(source):
    """One line per fault of a module."""
    tree = ast.parse(source)
    for name, node, is_method in public_names(tree.body):
        if lacks_docstring(node):
            yield f'{node.lineno}: {name} has no docstring'
        if lacks_types(node, is_method):
            yield f'{node.lineno}: {name} lacks types'
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and node.end_lineno - node.lineno + 1 > MOST_LINES:
            lines = node.end_lineno - node.lineno + 1
            yield f'{node.lineno}: {node.name} has {lines} lines, more than {MOST_LINES}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_habits(path):
    assert not list(faults_of(path.read_text(encoding='utf-8')))


@pytest.mark.parametrize(
    ('source', 'fault'),
    [
        ('def f() -> None:\n    pass', 'no docstring'),
        ('class A:\n    pass', 'no docstring'),
        ('class A:\n    """A."""\n    def f(self) -> None:\n        pass', 'no docstring'),
        ('def f(a) -> None:\n    """F."""', 'lacks types'),
        ('def f(a: int):\n    """F."""', 'lacks types'),
        ('def f(*, a) -> None:\n    """F."""', 'lacks types'),
        ('def f(**a) -> None:\n    """F."""', 'lacks types'),
        ('class A:\n    """A."""\n    def __init__(self, a) -> None:\n        pass', 'lacks types'),
        (
            'class A:\n    """A."""\n    @staticmethod\n    def f(a) -> int:\n        """F."""',
            'types',
        ),
        ('def _f():\n' + '    pass\n' * 50, '51 lines'),
    ],
)
def test_a_fault_is_seen(source, fault):
    assert [line for line in faults_of(source) if fault in line]


@pytest.mark.parametrize(
    'source',
    [
        'def _f(a):\n    pass',
        'class _A:\n    def f(self):\n        pass',
        'class A:\n    """A."""\n    def f(self, a: int) -> int:\n        """F."""',
        'class A:\n    """A."""\n    def __init__(self, a: int) -> None:\n        pass',
        'def _f():\n' + '    pass\n' * 49,
    ],
)
def test_what_is_allowed(source):
    assert not list(faults_of(source))
