"""Zero-shot baselines: public checkpoints of the hub, without training. Docs: docs/zero_shot.md."""

from .box_to_mask import BoxToMask
from .clipseg import CLIPSeg
from .sam3_concepts import SAM3Concepts
from .siglip_map import SigLIPMap
from .zero_shot_model import ZeroShotModel

__all__ = ['BoxToMask', 'CLIPSeg', 'SAM3Concepts', 'SigLIPMap', 'ZeroShotModel']
