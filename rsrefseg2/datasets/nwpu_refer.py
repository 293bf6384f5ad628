"""NWPU-Refer (Yang et al., MRSNet): large pictures, English and Chinese, several targets, none."""

from __future__ import annotations

from collections.abc import Iterator

from ..registry import DATASETS
from ..rle import union
from .refer import ReferDataset


@DATASETS.register_module()
class NWPURefer(ReferDataset):
    """`new_refs(unc).p`, `new_instances.json` with polygons, `image/*.jpg` or `image/image/*.jpg`;
    the two files also without `new_`.

    Refs that share image and sentence are one expression of several targets: one triplet, with the
    union of their masks and the first one's `sent_id`. How a sentence without target is stored is
    not known: a ref without annotation, or an annotation without mask, is an error that says so.
    """

    TITLE = 'NWPU-Refer'
    LAYOUT = None
    NO_TARGET = True
    WRAPPERS = ('NWPU-Refer',)
    REFS = ('new_refs(unc).p', 'refs(unc).p')
    INSTANCES = ('new_instances.json', 'instances.json')
    ANNOTATION_FOLDERS = ('',)
    IMAGE_FOLDERS = ('image/image', 'image')
    ANY_MASK = True
    UNKNOWN = 'how NWPU-Refer stores a sentence without target is not known'

    def load_triplets(self) -> Iterator[dict]:
        """Yield the triplets of the split; see `RefSegDataset.load_triplets`."""
        expressions: dict[tuple[str, str], list[dict]] = {}
        for record in super().load_triplets():
            expressions.setdefault((record['img_path'], record['text']), []).append(record)
        for first, *others in expressions.values():
            with self.faults:
                for record in others:
                    location = (
                        f'{first["mask_location"]}, {record["mask_location"].rpartition(", ")[2]}'
                    )
                    rle = union([first['mask_rle'], record['mask_rle']], location=location)
                    category = (
                        first['category'] if first['category'] == record['category'] else None
                    )
                    first |= dict(mask_rle=rle, mask_location=location, category=category)
                yield first
