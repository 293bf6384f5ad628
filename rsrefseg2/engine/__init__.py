"""Running it: strategies, loops, hooks, checkpoints."""
from .checkpoint import PlainCheckpointHook, load_checkpoint
from .hooks import OddMaskHook, ProgressBarHook
from .launch import build_runner, explain_out_of_memory, load_config
from .loops import RefSegTestLoop
from .optim import TrainableOptimWrapperConstructor
from .strategies import ZeRO2Strategy

__all__ = ['OddMaskHook', 'PlainCheckpointHook', 'ProgressBarHook', 'RefSegTestLoop',
           'TrainableOptimWrapperConstructor', 'ZeRO2Strategy', 'build_runner',
           'explain_out_of_memory', 'load_checkpoint', 'load_config']
