"""Eqs. 9-12, one term of the paper per file, computed in float32."""

from .alignment import DenseLoss, SampleContrastLoss, SpatialLoss
from .orthogonal import OrthogonalLoss
from .segmentation import SegmentationLoss

__all__ = ['DenseLoss', 'OrthogonalLoss', 'SampleContrastLoss', 'SegmentationLoss', 'SpatialLoss']
