"""Panels of a split's samples: predict, draw, write the pictures and the page."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from ..datasets import RefSegDataset, unique_images_collate
from ..engine import case_of
from ..errors import UserError, suggest
from ..files import require_free
from ..models import RSRefSeg2
from ..registry import DATASETS, SCOPE
from ..structures import RefSegDataSample
from ..visualization import MARK, PICTURE_MARK, Case, file_name, spread, write_page, write_panel


def load_split(config: Config, split: str) -> RefSegDataset:
    """The data set of the config's `<split>_dataloader`."""
    loader = config.get(f'{split}_dataloader')
    if loader is None:
        raise UserError(f'{config.filename} has no {split}_dataloader; choose another split')
    init_default_scope(config.get('default_scope', SCOPE))
    return DATASETS.build(loader.dataset)


def gather_cases(
    model: RSRefSeg2,
    dataset: RefSegDataset,
    *,
    n: int,
    worst: bool = False,
    groups: Mapping[str, str] | None = None,
    batch_size: int = 8,
) -> list[Case]:
    """Predicts samples and draws their panels.

    Args:
        n: how many, spread evenly over the split.
        worst: those of lowest IoU instead; the whole split is predicted, and n panels are kept.
        groups: sample id -> what the page filters by; the category where it is None.
    """
    if not worst:
        return [
            _case(sample, image, groups)
            for _, sample, image in _predictions(
                model, dataset, spread(n, len(dataset)), batch_size
            )
        ]
    kept: list[
        tuple[float, int, Case]
    ] = []  # a heap whose head is the first to go: the highest IoU, of equals the later one
    order = sorted(range(len(dataset)), key=dataset.image_key)
    for index, sample, image in _predictions(model, dataset, order, batch_size):
        case = _case(sample, image, groups)
        if case.iou is None:
            raise UserError(
                f'sample {case.sample_id} has no annotated mask, so there is no '
                'IoU to order by: drop --worst'
            )
        entry = -case.iou, -index, case
        if len(kept) < n:
            heapq.heappush(kept, entry)
        elif entry[:2] > kept[0][:2]:
            heapq.heapreplace(kept, entry)
    return [case for _, _, case in sorted(kept, key=lambda entry: entry[:2], reverse=True)]


def predict_samples(
    model: RSRefSeg2, dataset: RefSegDataset, ids: Sequence[str], *, batch_size: int = 8
) -> Iterator[tuple[RefSegDataSample, np.ndarray]]:
    """(predicted sample on the CPU, its image (H, W, 3) uint8) for each id, in their order."""
    for _, sample, image in _predictions(model, dataset, find_indices(dataset, ids), batch_size):
        yield sample, image


def find_indices(dataset: RefSegDataset, ids: Sequence[str]) -> list[int]:
    """Where the samples of these ids stand in the data set.

    Raises:
        UserError: it has no sample of that id.
    """
    wanted = set(ids)
    where = {
        name: i
        for i in range(len(dataset))
        if (name := dataset.get_data_info(i)['sample_id']) in wanted
    }
    missing = [name for name in ids if name not in where]
    if missing:
        known = (dataset.get_data_info(i)['sample_id'] for i in range(len(dataset)))
        raise UserError(
            f'the {dataset.split} split of {dataset.data_root} has no sample '
            f'{missing[0]!r}{suggest(missing[0], known)}'
        )
    return [where[name] for name in ids]


def write_gallery(
    out: Path, cases: Sequence[Case], *, overwrite: bool = False, **page_options: Any
) -> Path:
    """Writes <out>/<number>_<sample id>.png for each case, and <out>/index.html; returns the page.

    The pictures carry sentence and sample; on the page these are text, so that it can be searched.

    Raises:
        UserError: a file there was not written by this package, see `files.require_free`.
    """
    paths = [out / file_name(number, case.sample_id) for number, case in enumerate(cases)]
    require_free(out / 'index.html', mark=MARK, overwrite=overwrite)
    for path in paths:
        require_free(path, mark=PICTURE_MARK, overwrite=overwrite)
    for path, case in zip(paths, cases, strict=True):
        write_panel(path, case)
    write_page(out / 'index.html', cases, **page_options)
    return out / 'index.html'


@torch.inference_mode()
def _predictions(
    model: RSRefSeg2, dataset: RefSegDataset, indices: Sequence[int], batch_size: int
) -> Iterator[tuple[int, RefSegDataSample, np.ndarray]]:
    """(index, predicted sample on the CPU, image (H, W, 3) uint8), in the order of `indices`."""
    logged = 0
    for start in range(0, len(indices), batch_size):
        chunk = [int(i) for i in indices[start : start + batch_size]]
        batch = unique_images_collate(dataset.__getitems__(chunk))
        # (3, H, W) -> (H, W, 3); kept from before the preprocessor, which moves them
        images = [image.permute(1, 2, 0).numpy() for image in batch['inputs']]
        image_index = batch['image_index'].tolist()
        for index, u, sample in zip(chunk, image_index, model.test_step(batch), strict=True):
            yield index, sample.cpu(), images[u]
        done = start + len(chunk)
        if done == len(indices) or done - logged >= max(100, len(indices) // 10):
            print_log(f'{done} of {len(indices)} samples predicted', logger='current')
            logged = done


def _case(sample: RefSegDataSample, image: np.ndarray, groups: Mapping[str, str] | None) -> Case:
    group = sample.category if groups is None else groups.get(sample.sample_id)
    return case_of(sample, image)._replace(group=group or '')
