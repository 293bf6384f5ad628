"""Running it: strategies, loops, hooks, checkpoints."""
from .checkpoint import StrictCheckpointHook, load_checkpoint
from .hooks import ProgressBarHook
from .launch import build_runner, load_config
from .loops import RefSegTestLoop
from .optim import TrainableOptimWrapperConstructor
from .strategies import ZeRO2Strategy

__all__ = ['ProgressBarHook', 'RefSegTestLoop', 'StrictCheckpointHook',
           'TrainableOptimWrapperConstructor', 'ZeRO2Strategy', 'build_runner', 'load_checkpoint',
           'load_config']
