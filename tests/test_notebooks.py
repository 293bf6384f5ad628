"""The notebooks: their sources hold no output, and they run from first cell to last."""

import json
import os
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / 'docs/notebooks').glob('*.ipynb'))
PICTURES = {'first_steps': 3, 'explain_errors': 3, 'raster_to_map': 1}  # what their cells show


def test_all_are_here():
    assert {path.stem for path in NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_the_source_holds_no_output(path):
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if cell['cell_type'] == 'code':
            assert cell['outputs'] == [] and cell['execution_count'] is None, cell['source']


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    """In an empty folder, with the data that it makes itself."""
    nbclient = pytest.importorskip('nbclient', reason='pip install -r requirements/tests.txt')
    import nbformat

    monkeypatch.setenv(
        'PATH', os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    )
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
    notebook = nbformat.read(path, as_version=4)
    folder = tmp_path / 'empty'
    folder.mkdir()
    nbclient.NotebookClient(
        notebook, timeout=600, resources={'metadata': {'path': str(folder)}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    shown = [
        output for cell in cells for output in cell.outputs if 'image/png' in output.get('data', {})
    ]
    assert len(shown) == PICTURES[path.stem]
