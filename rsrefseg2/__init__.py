"""RSRefSeg 2: referring segmentation of remote sensing images. Start at models/rsrefseg2.py."""
from .compat import defer_deepspeed

defer_deepspeed()
