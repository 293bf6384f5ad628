"""Imports run one way, and the parts of the model do not know each other.

Read from the source with ast, so that imports inside functions count too.
"""

import ast
from pathlib import Path

import pytest

from rsrefseg2.extras import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
# From the bottom up; members of one level do not import each other, except within BASE.
LEVELS = [
    {
        'registry',
        'structures',
        'errors',
        'extras',
        'compat',
        'terminal',
        'files',
        'records',
        'beside',
        'rle',
        'symmetries',
        'directions',
        'options',
        'shipped',
        'bounds',
        'confidence',
        'markup',
        'tables',
    },
    {'datasets', 'models', 'evaluation', 'visualization'},
    {'dataprep', 'profiling', 'rasters'},
    {'engine'},
    {'publishing', 'synthrs'},
    {'apis', 'deployment', 'diagnostics'},
    {'cli'},
]
BASE = LEVELS[0]
# Inside models/: the parts meet in rsrefseg2.py alone.
PARTS = {
    'dual_modality_encoder': 'encoder',
    'prompter': 'prompter',
    'mask_generator': 'mask generator',
    'losses': 'losses',
}
LEAVES = {'symbols', 'towers', 'distributed'}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def is_module(name):
    path = ROOT.joinpath(*name.split('.'))
    return path.with_suffix('.py').is_file() or (path / '__init__.py').is_file()


def imports(source, module, *, is_package=False):
    """Full names of everything that `source` imports, relative ones resolved."""
    package = module.split('.') if is_package else module.split('.')[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            # `from package import module` names the module, `from module import f` does not
            found |= {
                name if is_module(name := f'{base}.{alias.name}') else base for alias in node.names
            }
    return found


def of_files(folder):
    """(module, what it imports) for every file below `folder`."""
    for path in sorted((ROOT / folder).rglob('*.py')):
        yield (
            module_name(path),
            imports(
                path.read_text(encoding='utf-8'),
                module_name(path),
                is_package=path.name == '__init__.py',
            ),
        )


def level(node):
    return next(number for number, nodes in enumerate(LEVELS) if node in nodes)


def against_the_arrow(module, imported):
    """What `module` may not import, of the package."""

    def node(name):  # rsrefseg2.models.towers.lora -> models; the package itself -> None
        return (name.split('.') + [None])[1] if name.split('.')[0] == 'rsrefseg2' else ''

    here = node(module)
    for name in sorted(imported):
        there = node(name)
        if there == '' or there == here or (there is None and here == 'cli'):  # its version
            continue
        if there is None or (level(there) >= level(here) and not {here, there} <= BASE):
            yield f'{module} imports {name}'


def between_parts(module, imported):
    """What `module`, below rsrefseg2.models, may not import there."""

    def node(name):
        return name.removeprefix('rsrefseg2.models.').split('.')[0]

    here = node(module)
    inside = {name for name in imported if name.startswith('rsrefseg2.models.')}
    if here in PARTS:
        return [
            f'{module} imports {name}'
            for name in sorted(inside)
            if node(name) != here and node(name) not in LEAVES
        ]
    if here in LEAVES:
        return [f'{module} imports {name}' for name in sorted(inside) if node(name) not in LEAVES]
    return []


def test_the_levels_are_the_package():
    found = {
        path.stem
        for path in (ROOT / 'rsrefseg2').iterdir()
        if (path.suffix == '.py' and path.stem != '__init__') or (path / '__init__.py').is_file()
    }
    assert found == set.union(*LEVELS)


def test_the_import_arrow():
    # The package's own __init__ stands outside: it only prepares dependencies.
    wrong = [
        line
        for module, imported in of_files('rsrefseg2')
        if module != 'rsrefseg2'
        for line in against_the_arrow(module, imported)
    ]
    assert not wrong, '\n'.join(wrong)


def test_the_parts_of_the_model_meet_in_one_file():
    wrong = [
        line
        for module, imported in of_files('rsrefseg2/models')
        for line in between_parts(module, imported)
    ]
    assert not wrong, '\n'.join(wrong)
    composer = {
        name.split('.')[2]
        for module, imported in of_files('rsrefseg2/models')
        if module.endswith('.rsrefseg2')
        for name in imported
        if name.startswith('rsrefseg2.models.')
    }
    assert {'dual_modality_encoder', 'mask_generator', 'symbols'} <= composer


def test_the_reference_imports_nothing_of_the_package():
    wrong = [
        f'{module} imports {name}'
        for module, imported in of_files('tests/reference')
        for name in imported
        if name.split('.')[0] == 'rsrefseg2'
    ]
    assert not wrong, '\n'.join(wrong)


def test_the_package_uses_no_tools_and_no_tests():
    wrong = [
        f'{module} imports {name}'
        for module, imported in of_files('rsrefseg2')
        for name in imported
        if name.split('.')[0] in ('tools', 'tests')
    ]
    assert not wrong, '\n'.join(wrong)


def test_no_two_modules_have_one_name():
    files = [path for path in (ROOT / 'rsrefseg2').rglob('*.py') if path.stem != '__init__']
    names = [path.stem for path in files]
    assert not [str(path) for path in files if names.count(path.stem) > 1]


@pytest.mark.parametrize(
    'module',
    ['rsrefseg2.synthrs.generation.solver', 'rsrefseg2.dataprep.expressions.instance_solver'],
)
def test_the_solver_shares_no_code_with_the_generator(module):
    solver = dict(of_files('rsrefseg2'))[module]
    assert not [name for name in solver if name.startswith('rsrefseg2.')]


def test_no_import_runs_in_a_circle():
    arrows = {
        module: {name for name in imported if name != module}
        for module, imported in of_files('rsrefseg2')
    }
    done = set()

    def visit(module, above):
        assert module not in above, ' -> '.join([*above[above.index(module) :], module])
        if module not in done:
            for name in arrows.get(module, ()):
                visit(name, [*above, module])
            done.add(module)

    for module in arrows:
        visit(module, [])


def by_full_name(source):
    """What `source`, of the package, imports of it without dots."""
    return [
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if name.split('.')[0] == 'rsrefseg2'
    ]


def test_the_package_imports_itself_relatively():
    wrong = {
        str(path.relative_to(ROOT)): names
        for path in (ROOT / 'rsrefseg2').rglob('*.py')
        if (names := by_full_name(path.read_text(encoding='utf-8')))
    }
    assert not wrong
    source = 'from rsrefseg2.a import b\ndef f():\n    import rsrefseg2.c\nfrom ..d import e'
    assert by_full_name(source) == ['rsrefseg2.a', 'rsrefseg2.c']


def test_optional_dependencies_are_imported_where_they_are_used():
    """Not when a module is read: deepspeed costs seconds, the others may be missing."""
    lazy = {name for names in PACKAGES.values() for name in names}
    wrong = []
    for path in (ROOT / 'rsrefseg2').rglob('*.py'):
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                wrong += [
                    f'{module_name(path)} imports {name}'
                    for name in imports(ast.unparse(node), module_name(path))
                    if name.split('.')[0] in lazy
                ]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize(
    ('module', 'source'),
    [
        ('rsrefseg2.datasets.base', 'from ..models import lora'),
        ('rsrefseg2.models.towers.lora', 'def f():\n    from rsrefseg2.engine import load_config'),
        ('rsrefseg2.engine.launch', 'import rsrefseg2.apis.predictor'),
        ('rsrefseg2.datasets.readers', 'from ..dataprep.layouts import LAYOUTS'),
        ('rsrefseg2.publishing.publish', 'from ..apis import Predictor'),
        ('rsrefseg2.apis.gallery', 'from .. import diagnostics'),
        ('rsrefseg2.registry', 'from .models import RSRefSeg2'),
        ('rsrefseg2.evaluation.metric', 'from rsrefseg2 import visualization'),
    ],
)
def test_the_arrow_sees_a_wrong_import(module, source):
    assert list(against_the_arrow(module, imports(source, module)))


@pytest.mark.parametrize(
    ('module', 'source'),
    [
        ('rsrefseg2.models.prompter.dense_prompt', 'from ..mask_generator import MaskGenerator'),
        ('rsrefseg2.models.losses.alignment', 'from ..prompter.layers import mlp'),
        ('rsrefseg2.models.mask_generator', 'from . import rsrefseg2'),
        ('rsrefseg2.models.towers.lora', 'from ..dual_modality_encoder import DualModalityEncoder'),
    ],
)
def test_the_parts_see_a_wrong_import(module, source):
    assert list(between_parts(module, imports(source, module)))


def test_deepspeed_is_deferred_before_mmengine_imports_it():
    """Only engine/, which defers it, imports mmengine.runner; compat does so for mmdet."""
    wrong = [
        f'{module} imports {name}'
        for module, imported in of_files('rsrefseg2')
        for name in imported
        if name.startswith(('mmengine.runner', 'mmengine._strategy'))
        and module.split('.')[1] not in ('engine', 'compat')
    ]
    assert not wrong, '\n'.join(wrong)
