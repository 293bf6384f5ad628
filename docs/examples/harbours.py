"""A data set of one's own in REFER's form: the facts of its layout are all that is written."""

from rsrefseg2.datasets import ReferDataset
from rsrefseg2.registry import DATASETS


@DATASETS.register_module()
class Harbours(ReferDataset):
    """`annotations/refs.p`, `annotations/instances.json` with polygons, `pictures/`."""

    TITLE = 'our harbours'
    LAYOUT = None  # whose sample ids scene files have: nobody's
    WRAPPERS = ('harbours',)
    ANNOTATION_FOLDERS = ('annotations',)
    REFS = ('refs.p',)
    IMAGE_FOLDERS = ('pictures',)
    ANY_MASK = True  # polygons, and several run-length masks
    PUBLISHED = dict(train=1)  # triplets, where they are known: verify compares
    NO_TARGET = True  # sentences may name no object
