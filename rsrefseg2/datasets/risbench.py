"""RISBench (Dong et al., CroBIM): 512 x 512 images, long sentences, one file per triplet."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..registry import DATASETS
from .checks import is_file, require_file
from .phrase_files import PhraseFileDataset
from .refer_files import Instances, refer_triplets

# What the sentences call the categories beside their names. A bare "court" or "field" stays open.
SYNONYMS = {
    word: category
    for category, words in {
        'expressway service area': ('service area', 'highway service area', 'rest area'),
        'expressway toll station': (
            'toll station',
            'highway toll station',
            'toll booth',
            'toll plaza',
            'toll gate',
        ),
        'ground track field': (
            'running track field',
            'running track',
            'track field',
            'track and field',
            'athletic field',
            'athletic track',
            'athletics track',
            'sports track',
        ),
        'basketball court': ('basketball field',),
        'container crane': ('crane', 'gantry crane', 'port crane'),
        'roundabout': ('traffic circle', 'rotary'),
        'windmill': ('wind turbine', 'wind mill'),
        'overpass': ('flyover',),
        'soccer ball field': ('soccer field', 'soccer pitch', 'football field', 'football pitch'),
        'baseball diamond': ('baseball field', 'baseball court', 'softball field'),
        'train station': ('railway station', 'rail station'),
        'golf field': ('golf course',),
        'airport': ('airfield',),
        'harbor': ('harbour', 'dock', 'pier', 'wharf', 'marina', 'seaport'),
        'ship': ('boat', 'vessel', 'yacht', 'barge', 'ferry', 'sailboat', 'speedboat'),
        'helipad': ('helicopter pad', 'helicopter landing pad', 'landing pad', 'heliport'),
        'vehicle': ('car', 'truck', 'bus', 'van', 'lorry', 'automobile', 'trailer'),
        'chimney': ('smokestack', 'smoke stack'),
        'airplane': ('plane', 'aircraft', 'aeroplane', 'jet', 'airliner'),
        'helicopter': ('chopper',),
        'storage tank': ('tank', 'oil tank', 'fuel tank'),
        'swimming pool': ('pool',),
    }.items()
    for word in words
}


@DATASETS.register_module()
class RISBench(PhraseFileDataset):
    """`img_rgb/<name>.png`, `mask/<name>.png`, lines `<name>.png <sentence>`.

    Names are `<train|test>_<scene>_<object>`; the val file names `train_*`. Also read: the folders
    `images`, `masks` and `phrase_txts`; and, where there is no text file, the form of REFER:
    `risbench/refs(unc).p` and `risbench/instances.json` beside the images.
    """

    TITLE = 'RISBench'
    LAYOUT = 'risbench'
    PUBLISHED = dict(train=26300, val=10013, test=16158)
    METAINFO = dict(
        classes=(
            'expressway service area',
            'expressway toll station',
            'ground track field',
            'basketball court',
            'container crane',
            'roundabout',
            'windmill',
            'overpass',
            'stadium',
            'bridge',
            'soccer ball field',
            'baseball diamond',
            'train station',
            'golf field',
            'airport',
            'harbor',
            'dam',
            'ship',
            'helipad',
            'vehicle',
            'chimney',
            'airplane',
            'helicopter',
            'tennis court',
            'storage tank',
            'swimming pool',
        )
    )
    SYNONYMS = SYNONYMS
    IMAGE_FOLDERS = ('img_rgb', 'images')
    MASK_FOLDERS = ('mask', 'masks')
    EXTENSION = '.png'
    WRAPPERS = ('RISBench_dataset', 'RISBench')
    NAME = r'[\w-]+'
    NAME_IN_WORDS = 'name.png'

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        root = self._root()
        texts = (os.path.join(root, self._file), os.path.join(root, 'phrase_txts', self._file))
        folders = [os.path.join(above, 'risbench') for above in (self.data_root, root)]
        refer = next((f for f in folders if is_file(os.path.join(f, 'refs(unc).p'))), None)
        if refer is None or any(map(is_file, texts)):
            yield from super().load_triplets()
            return
        instances = require_file([os.path.join(refer, 'instances.json')], title=self.TITLE)
        records = refer_triplets(
            os.path.join(refer, 'refs(unc).p'),
            Instances(instances),
            self._images(root),
            split=self.split,
            faults=self.faults,
        )
        for record in records:
            # No category is published: a name outside the list is the converter's filler.
            if record['category'] not in self.METAINFO['classes']:
                record['category'] = None
            yield record
