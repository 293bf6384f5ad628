"""Eqs. 9-12, one term of the paper per file, computed in float32."""

from .alignment import DenseLoss, SampleContrastLoss, SpatialLoss
from .attention import AttentionLoss
from .orthogonal import OrthogonalLoss
from .predicted_iou import PredictedIoULoss
from .presence import PresenceLoss
from .response import ResponseLoss
from .segmentation import SegmentationLoss

__all__ = [
    'AttentionLoss',
    'DenseLoss',
    'OrthogonalLoss',
    'PredictedIoULoss',
    'PresenceLoss',
    'ResponseLoss',
    'SampleContrastLoss',
    'SegmentationLoss',
    'SpatialLoss',
]
