"""RISBench (Dong et al., CroBIM): 512 x 512 images, long sentences, one file per triplet."""
from rsrefseg2.registry import DATASETS

from .phrase_files import PhraseFileDataset


@DATASETS.register_module()
class RISBench(PhraseFileDataset):
    """`img_rgb/<name>.png`, `mask/<name>.png`, lines `<name>.png <sentence>`.

    Names are `<train|test>_<scene>_<object>`; the val file names `train_*`.
    """

    TITLE = 'RISBench'
    PUBLISHED = dict(train=26300, val=10013, test=16158)
    METAINFO = dict(classes=(
        'expressway service area', 'expressway toll station', 'ground track field',
        'basketball court', 'container crane', 'roundabout', 'windmill', 'overpass', 'stadium',
        'bridge', 'soccer ball field', 'baseball diamond', 'train station', 'golf field',
        'airport', 'harbor', 'dam', 'ship', 'helipad', 'vehicle', 'chimney', 'airplane',
        'helicopter', 'tennis court', 'storage tank', 'swimming pool'))
    IMAGE_FOLDER = 'img_rgb'
    MASK_FOLDER = 'mask'
    EXTENSION = '.png'
    WRAPPERS = ('RISBench_dataset', 'RISBench')
    NAME = r'[\w-]+'
    NAME_IN_WORDS = 'name.png'
