"""What several folders of tests share: a fabricated split, tiny towers, a tool in this process."""
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from tests import tiny_towers
from tests.fabricate import fabricate

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
    """What is kept between runs is kept for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RSREFSEG2_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session')
def rrsisd_root(tmp_path_factory):
    """RRSIS-D's layout: 4 train triplets in 3 images, 2 val, 2 test. Not to be changed."""
    return fabricate('rrsisd', tmp_path_factory.mktemp('rrsisd'))


@pytest.fixture(scope='session')
def towers(tmp_path_factory):
    """Folders of tiny checkpoints: `siglip`, `sam2`, `sam`. Not to be changed.

    SAM 2's decoder is larger than drawn: its masks then differ by image and sentence after two
    iterations, and no score is 0.
    """
    folder = tmp_path_factory.mktemp('towers')
    words = (*tiny_towers.WORDS, 'number', 'again', 'vehicle', *map(str, range(10)))
    sam2 = tiny_towers.write_sam2(folder / 'sam2')
    weights = load_file(sam2 / 'model.safetensors')
    tiny_towers.edit_weights(sam2, add={name: 8 * value for name, value in weights.items()
                                        if 'mask_decoder' in name and value.ndim > 1})
    return SimpleNamespace(siglip=tiny_towers.write_siglip(folder / 'siglip', words=words),
                           sam2=sam2,
                           sam=tiny_towers.write_sam(folder / 'sam'))


@pytest.fixture
def run(monkeypatch, capsys):
    """A tool in this process: run('predict.py', *arguments) -> exit code, stdout, stderr."""
    def run(tool, *arguments):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()
    return run
