"""What the code imports is declared, and what is declared is imported.

Read from the source with ast, so that imports inside functions count too.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

from rsrefseg2.errors import UserError
from rsrefseg2.extras import PACKAGES, require_extra

ROOT = Path(__file__).resolve().parents[1]
IMPORT_NAMES = {'mmcv-lite': 'mmcv', 'opencv-python': 'cv2', 'pillow': 'PIL', 'pyyaml': 'yaml'}
# transformers imports these for SigLIP 1's tokenizer, but does not require them.
OF_TRANSFORMERS = {'protobuf', 'sentencepiece'}


def declared(name):
    """{import name: requirement without its comment} of a file of requirements."""
    found = {}
    for line in (ROOT / name).read_text(encoding='utf-8').splitlines():
        requirement = line.partition('#')[0].strip()
        if requirement:
            package = re.match(r'[\w-]+', requirement)[0]
            found[IMPORT_NAMES.get(package, package)] = requirement
    return found


def imported(source, beside=()):
    """Top-level names of other people's packages that `source` imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition('.')[0])
    return found - sys.stdlib_module_names - {'rsrefseg2', 'tests', 'tools', *beside}


def of_folders(*folders):
    """{import name: the files that import it}."""
    found = {}
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob('*.py'))):
        beside = {other.stem for other in path.parent.glob('*.py')} if folder_of_tools(path) else ()
        for name in imported(path.read_text(encoding='utf-8'), beside):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def folder_of_tools(path):
    """Whether a script starts with its own folder on the path, as those of tools/ do."""
    return path.is_relative_to(ROOT / 'tools')


CORE = declared('requirements.txt')
EXTRAS = {extra: declared(f'requirements/{extra}.txt') for extra in PACKAGES}


def test_what_is_imported_is_declared():
    known = CORE.keys() | {name for names in PACKAGES.values() for name in names}
    wrong = {
        name: files for name, files in of_folders('rsrefseg2', 'tools').items() if name not in known
    }
    assert not wrong


def test_what_the_tests_import_is_declared():
    known = CORE.keys() | declared('requirements/tests.txt').keys()
    assert not {name: files for name, files in of_folders('tests').items() if name not in known}


def test_what_is_declared_is_imported():
    assert CORE.keys() - OF_TRANSFORMERS <= of_folders('rsrefseg2', 'tools').keys()
    assert OF_TRANSFORMERS <= CORE.keys()


def test_an_extra_declares_its_packages_with_one_bound():
    others = CORE | declared('requirements/tests.txt')
    for extra, packages in PACKAGES.items():
        assert EXTRAS[extra].keys() == set(packages) and not CORE.keys() & set(packages)
        for package in packages:
            assert others.get(package, EXTRAS[extra][package]) == EXTRAS[extra][package]


def test_imports_are_seen():
    source = 'import os, cv2.data\nfrom . import a\ndef f():\n    from torch.nn import g\nimport b'
    assert imported(source, beside={'b'}) == {'cv2', 'torch'}


@pytest.mark.parametrize(
    ('extra', 'package'), [(extra, name) for extra, names in PACKAGES.items() for name in names]
)
def test_without_its_package_an_extra_is_named(monkeypatch, extra, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"pip install 'rsrefseg2\[{extra}\]', or drop it$"):
        require_extra(extra, 'this', package=package, otherwise='drop it')
    with pytest.raises(UserError, match=rf"pip install 'rsrefseg2\[{extra}\]'$"):
        require_extra(extra, 'this', package=package)
