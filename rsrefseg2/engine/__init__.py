"""Running it: strategies, loops, hooks, checkpoints."""

from ..compat import defer_deepspeed, free_lock_on_errors

defer_deepspeed()  # before the imports below, which import mmengine.runner
free_lock_on_errors()

from .calibration_files import calibration_path, read_calibration, write_calibration
from .checkpoint import load_checkpoint, read_checkpoint
from .checkpoint_hook import CheckpointHook, PreemptionHook
from .fsdp2 import FSDP2Strategy
from .hooks import MaskWarningHook, ProgressBarHook, RuntimeInfoHook, TruncatedSentenceHook
from .init_prompter_hook import InitPrompterFromTowersHook
from .launch import build_runner, load_config, with_options
from .load_model import check_checkpoint, find_device, load_model
from .loops import RefSegTestLoop, identify_run, set_scoring, test_on
from .optim import TrainableOptimWrapperConstructor
from .out_of_memory import explain_out_of_memory
from .panel_hook import PanelHook, case_of
from .rank_sync import ranks_end_together
from .strategies import DDPStrategy, SingleDeviceStrategy
from .timer import TimerHook
from .train_loop import RefSegTrainLoop
from .visualizer import RefSegVisualizer, TrackerHook
from .zero2 import ZeRO2Strategy

__all__ = [
    'TrackerHook',
    'CheckpointHook',
    'TruncatedSentenceHook',
    'DDPStrategy',
    'FSDP2Strategy',
    'MaskWarningHook',
    'PanelHook',
    'ProgressBarHook',
    'RuntimeInfoHook',
    'RefSegTestLoop',
    'RefSegTrainLoop',
    'RefSegVisualizer',
    'SingleDeviceStrategy',
    'PreemptionHook',
    'TimerHook',
    'InitPrompterFromTowersHook',
    'TrainableOptimWrapperConstructor',
    'ZeRO2Strategy',
    'build_runner',
    'calibration_path',
    'case_of',
    'check_checkpoint',
    'explain_out_of_memory',
    'find_device',
    'identify_run',
    'load_checkpoint',
    'load_config',
    'load_model',
    'ranks_end_together',
    'read_calibration',
    'read_checkpoint',
    'set_scoring',
    'test_on',
    'with_options',
    'write_calibration',
]
