"""Random changes of a triplet that keep it true. They stand between LoadMask and PackRefSegInputs."""

from __future__ import annotations

import functools
import random

import numpy as np
from mmcv.transforms import BaseTransform

from ..bounds import Fraction
from ..directions import rewrite
from ..registry import TRANSFORMS
from ..symmetries import GROUPS, IDENTITY, Group
from .images import ImageCache
from .paraphrases import reword


@TRANSFORMS.register_module()
class RandomSymmetry(BaseTransform):
    """Flip or turn the picture and its masks; rewrite the direction words of the sentence.

    The symmetry is drawn for the image in this epoch, so all its sentences of a batch share one
    changed array, which the towers see once. A sentence that cannot be rewritten for sure
    (`directions.rewrite`) keeps the picture as it is.

    Args:
        symmetries: 'flips': left-right, top-bottom, both; 'turns': by 90, 180 and 270 degrees;
            'all': both, the 8 symmetries of the square. Each has the same chance, and so has the
            picture as it is.
        prob: the share of images that one is drawn for.

    Raises:
        ValueError: another value than these.
    """

    MASKS = ('gt_mask', 'other_mask')

    def __init__(self, *, symmetries: Group = 'all', prob: Fraction = 1.0) -> None:
        if symmetries not in GROUPS or not 0 <= prob <= 1:
            raise ValueError(
                f'symmetries is one of {", ".join(map(repr, GROUPS))} and prob from 0 to 1, not '
                f'{symmetries!r} and {prob!r}'
            )
        self.group, self.prob = GROUPS[symmetries], prob

    def transform(self, results: dict) -> dict:
        """Change `img` (H, W, 3), the masks (H, W), `ori_shape`, `mask_size` and `text`."""
        cache: ImageCache = results['image_cache']
        rng = cache.generator(results.get('image_key', results['img_path']))
        symmetry = self.group[rng.integers(len(self.group))]
        text = rewrite(results['text'], symmetry)
        if rng.random() >= self.prob or symmetry == IDENTITY or text is None:
            return results
        turn = functools.partial(symmetry.maps, y=0, x=1)
        results['text'] = text
        results['img'] = cache.changed(results['img'], symmetry, turn)
        for key in self.MASKS:
            if key in results:
                results[key] = np.ascontiguousarray(turn(results[key]))
        for key in ('ori_shape', 'mask_size'):
            if key in results:
                results[key] = symmetry.shape(*results[key])
        return results


@TRANSFORMS.register_module()
class RandomRewording(BaseTransform):
    """Say the sentence in other words of the same meaning (`paraphrases.reword`).

    Args:
        prob: the share of sentences that are drawn again.

    Raises:
        ValueError: prob is not from 0 to 1.
    """

    def __init__(self, *, prob: Fraction = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob is from 0 to 1, not {prob!r}')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change `text`."""
        if random.random() < self.prob:
            # of Python's generator, which the sample's draw seeds (`own_randomness`)
            results['text'] = reword(results['text'], random.Random(random.getrandbits(64)))
        return results
