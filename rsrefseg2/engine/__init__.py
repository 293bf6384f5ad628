"""Running it: strategies, loops, hooks, checkpoints."""
from .checkpoint import PlainCheckpointHook, load_checkpoint, read_checkpoint
from .hooks import CutSentenceHook, OddMaskHook, ProgressBarHook
from .launch import build_runner, explain_out_of_memory, load_config
from .loops import RefSegTestLoop, identify_run, set_scoring
from .optim import TrainableOptimWrapperConstructor
from .strategies import ZeRO2Strategy

__all__ = ['CutSentenceHook', 'OddMaskHook', 'PlainCheckpointHook', 'ProgressBarHook',
           'RefSegTestLoop', 'TrainableOptimWrapperConstructor', 'ZeRO2Strategy', 'build_runner',
           'explain_out_of_memory', 'identify_run', 'load_checkpoint', 'load_config',
           'read_checkpoint', 'set_scoring']
