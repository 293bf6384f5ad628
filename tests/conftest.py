"""Every test alone, whatever ran before it and whatever the machine; what several folders share: a
fabricated split, tiny towers, a tool in this process."""

import ast
import functools
import gc
import logging
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace

# Before the imports below, which read some of them: no test sees the user's data, caches, devices
# or job, and none writes into his home.
CACHES = Path(tempfile.mkdtemp(prefix='rsrefseg2-tests-'))
os.environ.update(
    HF_HOME=str(CACHES / 'hub'),
    RSREFSEG2_CACHE=str(CACHES / 'rsrefseg2'),
    HF_HUB_OFFLINE='1',
    TOKENIZERS_PARALLELISM='false',
)
if not os.environ.get('RSREFSEG2_TEST_GPU'):  # run_tests.sh -m gpu sets it
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
for name in list(os.environ):
    if name.lower().endswith('_proxy') or name in (
        'RSREFSEG2_DATA',
        'HF_ENDPOINT',
        'HF_HUB_CACHE',
        'RANK',
        'LOCAL_RANK',
        'WORLD_SIZE',
        'MASTER_ADDR',
        'MASTER_PORT',
    ):
        del os.environ[name]

import cv2
import hypothesis
import mmengine.config.config
import mmengine.dataset.base_dataset
import mmengine.model.utils
import mmengine.utils.dl_utils
import numpy as np
import pytest
import torch
from mmengine.utils import ManagerMixin
from safetensors.torch import load_file

from tests import tiny_towers
from tests.fabricate import fabricate

pytest_plugins = ['tests.synthrs_data', 'tests.tiny_run']
ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

# One worker of the suite is one thread; and OpenCV's pool of threads does not outlive a fork.
torch.set_num_threads(1)
cv2.setNumThreads(0)
# The same examples everywhere; machines differ in speed, so none has a deadline.
hypothesis.settings.register_profile(
    'rsrefseg2',
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
)
hypothesis.settings.load_profile('rsrefseg2')


def _unformatted(text, **_):
    """yapf's `FormatCode` without its layout: a text that is no Python is refused just so."""
    ast.parse(text)
    return text, False


# What takes as long as a small training, and says nothing about this repository: the layout of a
# config's text, a search for mmcv's operators in every module, a collection for every data set.
mmengine.config.config.FormatCode = _unformatted
mmengine.model.utils.mmcv_full_available = functools.cache(
    mmengine.utils.dl_utils.mmcv_full_available
)
mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=lambda: 0)


def pytest_configure(config):
    # pytest-randomly's part is the order; the generators are seeded below, alike in every order.
    if hasattr(config.option, 'randomly_reset_seed'):
        config.option.randomly_reset_seed = False


def pytest_unconfigure():
    shutil.rmtree(CACHES, ignore_errors=True)


def pytest_collection_finish():
    # what was imported is no garbage: no collection looks at it again
    gc.collect()
    gc.freeze()


def _seed(name):
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch's own also formats a stack for every device


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """A fixture that tests share is the same whichever of them comes first."""
    _seed(fixturedef.argname)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    _seed(item.nodeid)


def _managed(kind=ManagerMixin):
    """mmengine's classes with instances by name: loggers, message hubs, visualizers, scopes."""
    for child in kind.__subclasses__():
        yield child
        yield from _managed(child)


def _forget_instances():
    """A logger that stays is handed to the next run of its name, and its streams are closed."""
    for kind in _managed():
        for instance in kind._instance_dict.values():
            for handler in getattr(instance, 'handlers', ()):
                if isinstance(handler, logging.FileHandler):
                    handler.close()
        kind._instance_dict.clear()


@pytest.fixture(autouse=True)
def alone():
    """What a test changes in its process is as it was when it ends."""
    environment, folder, path = dict(os.environ), os.getcwd(), list(sys.path)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    root = logging.getLogger()
    log = root.level, list(root.handlers), root.manager.disable
    _forget_instances()
    # a shell starts what runs in the background with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    _forget_instances()
    root.setLevel(log[0])
    root.handlers[:] = log[1]
    logging.disable(log[2])
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    sys.path[:] = path
    os.chdir(folder)
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


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
    tiny_towers.edit_weights(
        sam2,
        add={
            name: 8 * value
            for name, value in weights.items()
            if 'mask_decoder' in name and value.ndim > 1
        },
    )
    return SimpleNamespace(
        siglip=tiny_towers.write_siglip(folder / 'siglip', words=words),
        sam2=sam2,
        sam=tiny_towers.write_sam(folder / 'sam'),
    )


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
