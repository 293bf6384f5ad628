"""RSRefSeg 2's parts (Sec. III); `rsrefseg2.py` composes them."""

from ..compat import use_mmdet_losses

use_mmdet_losses()

from . import losses  # noqa: E402
from .baselines import LAVT  # noqa: E402
from .data_preprocessor import ModelInputs, RefSegDataPreprocessor  # noqa: E402
from .prompter import AttnPrompter, CascadedPrompter, InterleavedPrompter, SingleStagePrompter  # noqa: E402
from .ref_seg_model import RefSegModel  # noqa: E402
from .rsrefseg2 import RSRefSeg2  # noqa: E402
from .zero_shot import BoxToMask, CLIPSeg, SAM3Concepts, SigLIPMap, ZeroShotModel  # noqa: E402

__all__ = [
    'AttnPrompter',
    'BoxToMask',
    'CLIPSeg',
    'CascadedPrompter',
    'LAVT',
    'InterleavedPrompter',
    'ModelInputs',
    'RSRefSeg2',
    'RefSegDataPreprocessor',
    'RefSegModel',
    'SAM3Concepts',
    'SigLIPMap',
    'SingleStagePrompter',
    'ZeroShotModel',
    'losses',
]
