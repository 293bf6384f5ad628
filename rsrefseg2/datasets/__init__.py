"""The benchmarks: from files on disk to batches of unique images and sentences.

base.py is the place to start; refsegrs.py, rrsisd.py, risbench.py and the like hold what differs.
"""

from .augmentation import RandomRewording, RandomSymmetry
from .base import RefSegDataset
from .collate import unique_images_collate
from .earthreason import EarthReason
from .images import ImageCache, read_image
from .joined import JoinedDataset
from .jsonl import RefSegJSONL
from .lasers import LaSeRS
from .masks import as_rle, read_mask
from .nwpu_refer import NWPURefer
from .phrase_files import PhraseFileDataset
from .refcoco import RefCOCO
from .refer import ReferDataset
from .refsegrs import RefSegRS
from .remotesam import RemoteSAM270K
from .ris_lad import RISLAD
from .risbench import RISBench
from .rrsisd import RRSISD
from .samplers import ImageGroupBatchSampler, ImageOrderBatchSampler, ShuffledBatchSampler
from .synthrs import SynthRS
from .transforms import LoadImage, LoadMask, PackRefSegInputs

__all__ = [
    'EarthReason',
    'ImageCache',
    'ImageGroupBatchSampler',
    'ImageOrderBatchSampler',
    'JoinedDataset',
    'LaSeRS',
    'LoadImage',
    'LoadMask',
    'NWPURefer',
    'PackRefSegInputs',
    'PhraseFileDataset',
    'RISBench',
    'RISLAD',
    'RRSISD',
    'RandomRewording',
    'RandomSymmetry',
    'RefCOCO',
    'RefSegDataset',
    'RefSegJSONL',
    'RefSegRS',
    'ReferDataset',
    'RemoteSAM270K',
    'ShuffledBatchSampler',
    'SynthRS',
    'as_rle',
    'read_image',
    'read_mask',
    'unique_images_collate',
]
