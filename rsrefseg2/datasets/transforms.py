"""The pipeline of one triplet: load the image, load the mask, pack."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from ..errors import UserError
from ..registry import TRANSFORMS
from ..structures import RefSegDataSample
from .images import ImageCache
from .masks import mask_of


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """`img_path` -> `img` (H, W, 3) uint8 RGB, `ori_shape` (H, W).

    The array is read-only: samples of one batch that show the same image (`image_key`) share it.
    """

    def transform(self, results: dict) -> dict:
        """Add `img` and `ori_shape`."""
        cache = results.setdefault('image_cache', ImageCache())
        results['img'] = cache.read(results['img_path'], results.get('image_key'))
        results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """`mask_rle` or `mask_path` -> `gt_mask` (H, W) bool, of the image's size (`fit_mask`), and
    `mask_size` (H, W), what is stored.

    With `other_objects=True` of the dataset also `other_mask` (H, W) bool: all objects of the
    picture without the target's pixels.
    """

    def transform(self, results: dict) -> dict:
        """Add `gt_mask` and `mask_size`, and `other_mask` where the objects are known.

        Raises:
            UserError: the record has no mask, or it cannot be read.
        """
        if 'mask_rle' not in results and 'mask_path' not in results:
            raise UserError(
                f'sample {results["sample_id"]!r} has no mask: remove LoadMask from '
                'the pipeline to predict without one'
            )
        results['gt_mask'], results['mask_size'] = mask_of(results, results.get('ori_shape'))
        if 'objects' in results:
            target, img_path = results['gt_mask'], results['img_path']
            every = np.zeros_like(target)
            for thing in results['objects']:
                every |= mask_of({**thing, 'img_path': img_path}, target.shape)[0]
            results['other_mask'] = every & ~target
        return results


@TRANSFORMS.register_module()
class PackRefSegInputs(BaseTransform):
    """-> `inputs` (3, H, W) uint8 tensor and `data_samples`, a RefSegDataSample."""

    META_KEYS = ('sample_id', 'img_path', 'text', 'category', 'ori_shape')

    def transform(self, results: dict) -> dict:
        """Keep the image as a tensor and the rest as one data sample."""
        sample = RefSegDataSample(metainfo={key: results[key] for key in self.META_KEYS})
        if results.get('mask_size', results['ori_shape']) != results['ori_shape']:
            sample.set_metainfo(dict(mask_size=results['mask_size']))
        if 'gt_mask' in results:
            sample.gt_mask = torch.from_numpy(results['gt_mask'])
            if 'other_mask' in results:
                sample.other_mask = torch.from_numpy(results['other_mask'])
            if results.get('no_target') and not results['gt_mask'].any():
                sample.set_metainfo(dict(no_target=True))
        return {'inputs': results['image_cache'].tensor(results['img']), 'data_samples': sample}
