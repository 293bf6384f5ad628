"""A data set of one's own: `triplets_{split}.csv` with the columns id, image, mask, sentence."""

import csv
from collections.abc import Iterator
from pathlib import Path

from rsrefseg2.datasets import RefSegDataset
from rsrefseg2.registry import DATASETS


@DATASETS.register_module()
class CSVDataset(RefSegDataset):
    """Paths are relative to `data_root`."""

    TITLE = 'triplets in CSV'

    def load_triplets(self) -> Iterator[dict]:
        """One dict for each line of the split's file."""
        root = Path(self.data_root)
        path = root / f'triplets_{self.split}.csv'
        with open(path, encoding='utf-8', newline='') as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                yield dict(
                    sample_id=row['id'],
                    img_path=str(root / row['image']),
                    mask_path=str(root / row['mask']),
                    text=row['sentence'],
                    category=None,
                    location=f'{path}, line {line}',
                )
