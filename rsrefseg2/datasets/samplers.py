"""Batches that hold several sentences of one image, so that the image towers run once for them.

Both are batch samplers: in a config they stand beside the sampler, from which they take the
data set, the seed and the epoch (mmengine's hook sets the sampler's epoch)::

    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'),

Every sample comes exactly once over all ranks; nothing is dropped. Every rank gets the same number
of batches, so that none waits for another in a collective operation. Only with batch_size 1 that
takes padding: a rank repeats its last batch, and the metric counts a sample once.
"""
from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from rsrefseg2.errors import UserError
from rsrefseg2.registry import DATA_SAMPLERS


def samples_by_image(dataset) -> list[list[int]]:
    """The indices of each image's samples; images in the order of their first sample."""
    groups: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        groups.setdefault(dataset.image_key(index), []).append(index)
    return list(groups.values())


def _check_ranks(count: int, what: str, world_size: int) -> None:
    if count < world_size:
        raise UserError(f'{count} {what} cannot be shared among {world_size} ranks: '
                        'start fewer processes')


@DATA_SAMPLERS.register_module()
class ImageOrderBatchSampler(Sampler):
    """Validation, test, prediction: the sentences of one image follow each other in one batch.

    The order is fixed. An image is divided over batches only where it has more than `batch_size`
    sentences, or where the ranks would get unequal numbers of batches.

    Args:
        sampler: Gives the data set; its own order is not used.
        batch_size: Most sentences in a batch.
    """

    def __init__(self, *, sampler: DefaultSampler, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.rank, self.world_size = get_dist_info()
        batches = self._pack(samples_by_image(sampler.dataset))
        _check_ranks(len(sampler.dataset), 'samples', self.world_size)
        while len(batches) % self.world_size and max(map(len, batches)) > 1:
            largest = max(range(len(batches)), key=lambda i: len(batches[i]))
            batch = batches[largest]  # halved: equal numbers of batches without a sample twice
            batches[largest:largest + 1] = [batch[:len(batch) // 2], batch[len(batch) // 2:]]
        first, last = (len(batches) * r // self.world_size for r in (self.rank, self.rank + 1))
        self.batches = batches[first:last]
        if len(self.batches) < math.ceil(len(batches) / self.world_size):  # single samples
            self.batches.append(self.batches[-1])

    def _pack(self, groups: list[list[int]]) -> list[list[int]]:
        batches: list[list[int]] = []
        for group in groups:
            if batches and len(batches[-1]) + len(group) <= self.batch_size:
                batches[-1] += group
            else:
                batches += [group[start:start + self.batch_size]
                            for start in range(0, len(group), self.batch_size)]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@DATA_SAMPLERS.register_module()
class ImageGroupBatchSampler(Sampler):
    """Training: batches of `batch_size / sentences_per_image` images, several sentences of each.

    In each epoch the sentences of an image are shuffled and cut into equal groups of at most
    `sentences_per_image`; a batch takes whole groups. The groups of one image are spread evenly
    over the epoch, so that they do not meet in one batch unless an image fills most of the data.
    The order is a function of (seed, epoch) alone. Batches vary in their number of sentences where
    images have fewer than the cap; U is bounded by the number of images.

    Off in the paper's configs: it correlates the sentences of a batch and gives the sample
    contrast more negatives from one image.

    Args:
        sampler: Gives data set, seed and epoch; its own order is not used.
        batch_size: Most sentences in a batch: images times `sentences_per_image`.
        sentences_per_image: The cap of sentences of one image in a batch.
    """

    def __init__(self, *, sampler: DefaultSampler, batch_size: int,
                 sentences_per_image: int) -> None:
        if sentences_per_image < 1 or batch_size % sentences_per_image:
            raise UserError(f'batch_size {batch_size} is not a multiple of sentences_per_image '
                            f'{sentences_per_image}: a batch holds whole images')
        self.sampler = sampler
        self.batch_size = batch_size
        self.sentences_per_image = sentences_per_image
        self.images_per_batch = batch_size // sentences_per_image
        self.rank, self.world_size = get_dist_info()
        self._by_image = samples_by_image(sampler.dataset)
        self._parts = [math.ceil(len(g) / sentences_per_image) for g in self._by_image]
        _check_ranks(sum(self._parts), 'groups of sentences', self.world_size)

    def __len__(self) -> int:
        groups = sum(self._parts)
        # The second number keeps batches from being empty where one image a batch does not divide
        # among the ranks: some batches then take one image more.
        return min(math.ceil(groups / (self.images_per_batch * self.world_size)),
                   groups // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        groups = self._ordered_groups(np.random.default_rng((self.sampler.seed,
                                                             self.sampler.epoch)))
        total = len(self) * self.world_size
        for batch in range(self.rank, total, self.world_size):
            # as even as integers allow: the last batch is no remainder
            part = slice(batch * len(groups) // total, (batch + 1) * len(groups) // total)
            yield [index for group in groups[part] for index in group]

    def _ordered_groups(self, rng: np.random.Generator) -> list[list[int]]:
        """Group j of an image's m groups stands at (j + u) / m of the epoch, u uniform."""
        groups, places = [], []
        for indices, parts in zip(self._by_image, self._parts, strict=True):
            pieces = np.array_split(rng.permutation(indices), parts)
            groups += [piece.tolist() for piece in pieces]
            places += list((np.arange(parts) + rng.random()) / parts)
        return [groups[i] for i in np.argsort(places, kind='stable')]
