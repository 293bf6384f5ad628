"""The benchmarks: from files on disk to batches of unique images and sentences.

base.py is the place to start; refsegrs.py, rrsisd.py and risbench.py hold what differs.
"""

from .augmentation import RandomRewording, RandomSymmetry
from .base import RefSegDataset
from .collate import unique_images_collate
from .images import ImageCache, read_image
from .joined import JoinedDataset
from .jsonl import RefSegJSONL
from .masks import as_rle, read_mask
from .phrase_files import PhraseFileDataset
from .refcoco import RefCOCO
from .refer import ReferDataset
from .refsegrs import RefSegRS
from .risbench import RISBench
from .rrsisd import RRSISD
from .samplers import ImageGroupBatchSampler, ImageOrderBatchSampler, ShuffledBatchSampler
from .synthrs import SynthRS
from .transforms import LoadImage, LoadMask, PackRefSegInputs

__all__ = [
    'ImageCache',
    'ImageGroupBatchSampler',
    'ImageOrderBatchSampler',
    'JoinedDataset',
    'LoadImage',
    'LoadMask',
    'PackRefSegInputs',
    'PhraseFileDataset',
    'RISBench',
    'RRSISD',
    'RandomRewording',
    'RandomSymmetry',
    'RefCOCO',
    'RefSegDataset',
    'RefSegJSONL',
    'RefSegRS',
    'ReferDataset',
    'ShuffledBatchSampler',
    'SynthRS',
    'as_rle',
    'read_image',
    'read_mask',
    'unique_images_collate',
]
