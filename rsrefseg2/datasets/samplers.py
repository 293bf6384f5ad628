"""Which samples make a batch, on any number of ranks.

All are batch samplers: in a config they stand beside mmengine's sampler, from which they take the
data set and the seed::

    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'),

Every sample comes exactly once over all ranks; nothing is dropped. Every rank gets the same number
of batches, so that none waits for another in a collective operation. Only in validation and test
with batch_size 1 that takes padding: a rank repeats its last batch, and the metric counts a sample
once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from ..bounds import PositiveInt
from ..errors import UserError
from ..registry import DATA_SAMPLERS
from .base import RefSegDataset
from .seeded_index import SeededIndex


def samples_by_image(dataset: RefSegDataset) -> list[list[int]]:
    """The indices of each image's samples; images in the order of their first sample."""
    groups: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        groups.setdefault(dataset.image_key(index), []).append(index)
    return list(groups.values())


def _check_ranks(count: int, what: str, world_size: int) -> None:
    if count < world_size:
        raise UserError(
            f'{count} {what} cannot be shared among {world_size} ranks: start fewer processes'
        )


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
            batches[largest : largest + 1] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
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
                batches += [
                    group[start : start + self.batch_size]
                    for start in range(0, len(group), self.batch_size)
                ]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class TrainBatchSampler(Sampler):
    """Training: an endless sequence of global batches, a function of the seed alone.

    The groups of samples that may not be parted are put into an order that depends on
    (seed, epoch) only; global batch k of an epoch is a stretch of it, and each rank takes an even
    share of the stretch. So ranks x batch_size decides what a step sees, however the product is
    divided, and a run goes on in the middle of an epoch (`start_at`).

    Samples are `SeededIndex`es: their random transforms are functions of (seed, epoch, index).
    """

    def __init__(
        self,
        *,
        sampler: DefaultSampler,
        batch_size: int,
        groups_per_batch: int,
        n_groups: int,
        what: str,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size  # mmengine's DeepSpeed asks for it
        self.rank, self.world_size = get_dist_info()
        self._groups_per_batch, self._n_groups = groups_per_batch, n_groups
        self._epoch = self._start = 0
        _check_ranks(n_groups, what, self.world_size)

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """The next iteration gives the batches of `epoch` from number `batch` on."""
        self._epoch, self._start = epoch, batch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        # The second number keeps batches from being empty where one group a batch does not divide
        # among the ranks: some batches then take one group more.
        return min(
            math.ceil(self._n_groups / (self._groups_per_batch * self.world_size)),
            self._n_groups // self.world_size,
        )

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        seed = self.sampler.seed, self._epoch
        groups = self._ordered_groups(np.random.default_rng(seed))
        parts = len(self) * self.world_size
        for batch in range(self._start, len(self)):
            # as even as integers allow: the last batch is no remainder
            part = batch * self.world_size + self.rank
            stretch = groups[part * len(groups) // parts : (part + 1) * len(groups) // parts]
            yield [SeededIndex(index, seed) for group in stretch for index in group]

    def _ordered_groups(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        """The groups of one epoch, `n_groups` of them."""
        raise NotImplementedError


@DATA_SAMPLERS.register_module()
class ShuffledBatchSampler(TrainBatchSampler):
    """Training: batches of `batch_size` samples in random order.

    Args:
        sampler: Gives data set and seed; its own order is not used.
        batch_size: Most samples in a batch of one rank.
    """

    def __init__(self, *, sampler: DefaultSampler, batch_size: int) -> None:
        super().__init__(
            sampler=sampler,
            batch_size=batch_size,
            groups_per_batch=batch_size,
            n_groups=len(sampler.dataset),
            what='samples',
        )

    def _ordered_groups(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        return rng.permutation(self._n_groups)[:, None].tolist()


@DATA_SAMPLERS.register_module()
class ImageGroupBatchSampler(TrainBatchSampler):
    """Training: batches of `batch_size / sentences_per_image` images, several sentences of each.

    In each epoch the sentences of an image are shuffled and cut into equal groups of at most
    `sentences_per_image`; a batch takes whole groups. The groups of one image are spread evenly
    over the epoch, so that they do not meet in one batch unless an image fills most of the data.
    Batches vary in their number of sentences where
    images have fewer than the cap; U is bounded by the number of images.

    Off in the paper's configs: it correlates the sentences of a batch and gives the sample
    contrast more negatives from one image.

    Args:
        sampler: Gives data set and seed; its own order is not used.
        batch_size: Most sentences in a batch: images times `sentences_per_image`.
        sentences_per_image: The cap of sentences of one image in a batch.
    """

    def __init__(
        self, *, sampler: DefaultSampler, batch_size: int, sentences_per_image: PositiveInt
    ) -> None:
        if sentences_per_image < 1 or batch_size % sentences_per_image:
            raise UserError(
                f'batch_size {batch_size} is not a multiple of sentences_per_image '
                f'{sentences_per_image}: a batch holds whole images'
            )
        self._by_image = samples_by_image(sampler.dataset)
        self._parts = [math.ceil(len(g) / sentences_per_image) for g in self._by_image]
        super().__init__(
            sampler=sampler,
            batch_size=batch_size,
            groups_per_batch=batch_size // sentences_per_image,
            n_groups=sum(self._parts),
            what='groups of sentences',
        )

    def _ordered_groups(self, rng: np.random.Generator) -> list[list[int]]:
        """Group j of an image's m groups stands at (j + u) / m of the epoch, u uniform."""
        groups, places = [], []
        for indices, parts in zip(self._by_image, self._parts, strict=True):
            pieces = np.array_split(rng.permutation(indices), parts)
            groups += [piece.tolist() for piece in pieces]
            places += list((np.arange(parts) + rng.random()) / parts)
        return [groups[i] for i in np.argsort(places, kind='stable')]
