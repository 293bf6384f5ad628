"""Every work-around for a dependency: one function each, with the reason and when it can go."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any, TextIO


def use_mmdet_losses() -> None:
    """Make mmdet's losses known to our registry (CrossEntropyLoss, DiceLoss)."""
    _import_mmdet('mmdet.models.losses')


def use_mmdet_datasets() -> None:
    """Make mmdet.datasets importable, for RefCocoDataset."""
    _import_mmdet('mmdet.datasets')


def _import_mmdet(module: str) -> None:
    """Import a module of mmdet, on mmcv-lite too.

    mmcv-lite has no compiled operators, and mmdet imports some at start: a module whose attributes
    raise when they are called stands in, only where the real one is missing. Can go when mmdet
    imports its operators lazily.
    """
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError('mmcv is missing: pip install "mmcv-lite==2.1.0"')
    defer_deepspeed()  # mmdet imports mmengine.runner
    if importlib.util.find_spec('mmcv._ext') is not None:
        importlib.import_module(module)
        return
    sys.modules['mmcv._ext'] = _MissingOperators('mmcv._ext')
    try:
        importlib.import_module(module)
    finally:
        # mmengine takes the module's presence for the compiled mmcv.
        del sys.modules['mmcv._ext']


class _MissingOperators(types.ModuleType):
    """A module any attribute of which is a function that raises."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f'{name} needs the compiled mmcv; this environment has mmcv-lite')

        return missing


def defer_deepspeed() -> None:
    """Keep mmengine from importing deepspeed at start; `use_deepspeed` does it when it is needed.

    To be called before mmengine.runner is first imported, here or by mmdet. mmengine 0.10.7 imports
    deepspeed with its runner: seconds, a warning on machines without a GPU, and failures that
    concern nobody who does not use it. Can go when mmengine imports it lazily.
    """
    if 'deepspeed' in sys.modules or 'mmengine._strategy' in sys.modules:
        return
    blocked: Any = None
    sys.modules['deepspeed'] = blocked  # makes `import deepspeed` raise ImportError
    try:
        import mmengine._strategy  # noqa: F401
    finally:
        del sys.modules['deepspeed']


def use_safe_configs(fill: Callable[[str, str], str]) -> None:
    """Let mmengine read configs, bases included, without running what is not the config's own code.

    mmengine 0.10.7 lets a YAML file make any Python object, and pastes environment variables and
    the config's path into Python text. Can go when it reads safe YAML and quotes.

    Args:
        fill: a config's text and path -> the text with its variables filled in.
    """
    import yaml
    from mmengine.config import Config
    from mmengine.fileio import register_handler
    from mmengine.fileio.handlers import YamlHandler

    class SafeYamlHandler(YamlHandler):
        def load_from_fileobj(self, file: TextIO, **kwargs: Any) -> Any:
            return yaml.load(file, **{'Loader': yaml.SafeLoader, **kwargs})

    def substitute(filename: str, temp_config_name: str) -> None:
        with open(filename, encoding='utf-8') as file:
            text = file.read()
        with open(temp_config_name, 'w', encoding='utf-8') as file:
            file.write(fill(text, filename))

    register_handler(['yaml', 'yml'])(SafeYamlHandler)
    Config._substitute_predefined_vars = staticmethod(substitute)
    Config._substitute_env_variables = staticmethod(lambda filename, temp_config_name: {})


def free_lock_on_errors() -> None:
    """Let mmengine's managers (loggers, scopes, visualizers) give their lock back when they fail.

    mmengine 0.10.7 takes one lock for all of them and returns it by hand: where the constructor of
    an instance raises, its thread keeps the lock, and every other thread waits for ever. Can go when
    it locks by `with`.
    """
    from mmengine.utils import ManagerMixin, manager

    get_instance = ManagerMixin.get_instance.__func__
    get_current_instance = ManagerMixin.get_current_instance.__func__
    if hasattr(get_instance, '__wrapped__'):
        return

    def guarded(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except BaseException:
            manager._release_lock()  # which the call took and did not return
            raise

    @functools.wraps(get_instance)
    def instance(cls: type, name: str, **kwargs: Any) -> Any:
        return guarded(lambda: get_instance(cls, name, **kwargs))

    @functools.wraps(get_current_instance)
    def current_instance(cls: type) -> Any:
        return guarded(lambda: get_current_instance(cls))

    ManagerMixin.get_instance = classmethod(instance)
    ManagerMixin.get_current_instance = classmethod(current_instance)


def allow_cpu_ranks() -> None:
    """Start process groups on machines without a GPU.

    mmengine 0.10.7 calls torch.cuda.set_device at every distributed start. Can go when it asks
    first whether there is a GPU.
    """
    import torch

    if not torch.cuda.is_available():
        torch.cuda.set_device = lambda device: None


def use_deepspeed() -> None:
    """Import deepspeed for mmengine's strategy, without building C++ code at start.

    deepspeed 0.19 has no 1-bit optimizers any more, and mmengine 0.10.7's registration of them
    fails: it is skipped. On a CPU deepspeed compiles a shared-memory operator at start, which
    needs a compiler and 80 seconds: it is declared unavailable, gloo does the work. Can go when
    mmengine guards its import and deepspeed ships the operator.

    Raises:
        UserError: deepspeed is not installed.
    """
    import os

    import mmengine._strategy.deepspeed as strategy
    import torch

    from .extras import require_extra

    if not torch.cuda.is_available():
        os.environ.setdefault('DS_ACCELERATOR', 'cpu')
    strategy.deepspeed = require_extra(
        'deepspeed', 'the ZeRO-2 strategy', otherwise='choose _base_/strategies/single.py or ddp.py'
    )
    from deepspeed.ops import __compatible_ops__

    strategy.register_deepspeed_optimizers = lambda: []
    if not torch.cuda.is_available():
        __compatible_ops__['deepspeed_shm_comm'] = False
