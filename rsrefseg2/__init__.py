"""RSRefSeg 2: referring segmentation of remote sensing images. Start at models/rsrefseg2.py."""

__version__ = '0.1.0'
