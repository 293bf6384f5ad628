"""Trained baselines: LAVT, and LGCE and RMSIN as its options. Docs: configs/baselines/README.md."""

from .lavt import LAVT
from .single_image_inputs import SingleImageDataPreprocessor

__all__ = ['LAVT', 'SingleImageDataPreprocessor']
