"""RemoteSAM-270K (Yao et al., RemoteSAM): triplets made by a pipeline, in REFER's form."""

from ..registry import DATASETS
from .refer import ReferDataset


@DATASETS.register_module()
class RemoteSAM270K(ReferDataset):
    """`refs(unc).p`, `instances.json`, `JPEGImages/`; the two files also in `Annotations/`.

    A mask is one run-length mask, several, or polygons; other content of `Annotations/` is not
    read.
    """

    TITLE = 'RemoteSAM-270K'
    LAYOUT = None
    WRAPPERS = ('RemoteSAM-270K',)
    ANNOTATION_FOLDERS = ('', 'Annotations')
    IMAGE_FOLDERS = ('JPEGImages',)
    ANY_MASK = True
