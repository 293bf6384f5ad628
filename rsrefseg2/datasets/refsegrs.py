"""RefSegRS (Yuan et al., LGCE): 512 x 512 tiles, one file per triplet."""

from ..registry import DATASETS
from .phrase_files import PhraseFileDataset


@DATASETS.register_module()
class RefSegRS(PhraseFileDataset):
    """`images/<id>.tif`, `masks/<id>.tif`, lines `<id> <sentence>`; ids are plain integers.

    A scene is stored again for each of its sentences, under another id.
    """

    TITLE = 'RefSegRS'
    LAYOUT = 'refsegrs'
    PUBLISHED = dict(train=2172, val=431, test=1817)
    METAINFO = dict(
        classes=(
            'road',
            'vehicle',
            'car',
            'van',
            'building',
            'truck',
            'trailer',
            'bus',
            'road marking',
            'bikeway',
            'sidewalk',
            'tree',
            'low vegetation',
            'impervious surface',
        )
    )
    IMAGE_FOLDERS = ('images',)
    MASK_FOLDERS = ('masks',)
    EXTENSION = '.tif'
    WRAPPERS = ('RefSegRS',)
    NAME = '[0-9]+'
    NAME_IN_WORDS = 'integer id'
