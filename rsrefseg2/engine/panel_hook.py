"""Panels of the same few validation samples after each validation: what the model has learned."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner
from PIL import Image

from ..bounds import PositiveInt
from ..errors import make_folder
from ..files import replacing
from ..registry import HOOKS
from ..structures import RefSegDataSample
from ..visualization import Case, file_name, spread


@HOOKS.register_module()
class PanelHook(Hook):
    """Draws the panels of Fig. 7 for `n` samples, evenly over the validation split, into
    <work dir>/panels/<epoch or iteration>/, and gives them to the visualizer's backends.

    Each rank draws those that it has just predicted, so no forward pass is added; what they drew is
    collected once per validation, on all ranks.
    """

    priority = 'LOW'

    def __init__(self, *, n: PositiveInt = 4) -> None:
        if n < 1:
            raise ValueError(f'n is at least 1, not {n}: leave PanelHook out to draw none')
        self.n = n
        self._numbers: dict[str, int] | None = None  # sample id -> its place among the panels
        self._drawn: dict[int, tuple[str, bytes]] = {}

    def before_val_epoch(self, runner: FlexibleRunner) -> None:
        """Choose the samples, the same in every validation."""
        self._drawn.clear()
        if self._numbers is None:
            dataset = runner.val_dataloader.dataset
            self._numbers = {
                dataset.get_data_info(index)['sample_id']: number
                for number, index in enumerate(spread(self.n, len(dataset)))
            }

    def after_val_iter(
        self, runner: FlexibleRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw those of the batch that were chosen."""
        for sample, u in zip(outputs, data_batch['image_index'].tolist(), strict=True):
            number = (self._numbers or {}).get(sample.sample_id)
            if number is not None:
                image = data_batch['inputs'][u].permute(1, 2, 0).cpu().numpy()  # (H, W, 3)
                picture = io.BytesIO()
                Image.fromarray(case_of(sample.cpu(), image).draw()).save(picture, 'PNG')
                self._drawn[number] = sample.sample_id, picture.getvalue()

    def after_val_epoch(
        self, runner: FlexibleRunner, metrics: dict[str, float] | None = None
    ) -> None:
        """Collect the panels of all ranks and write them."""
        ranks = all_gather_object(self._drawn)
        if not is_main_process():
            return
        drawn = {number: entry for rank in ranks for number, entry in rank.items()}
        folder = make_folder(Path(runner.work_dir) / 'panels' / _name(runner))
        add = getattr(runner.visualizer, 'add_picture', None)
        for number, (sample_id, content) in sorted(drawn.items()):
            path = folder / file_name(number, sample_id)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            if add is not None:
                add(f'panels/{path.stem}', np.asarray(Image.open(io.BytesIO(content))), runner.iter)


def case_of(sample: RefSegDataSample, image: np.ndarray) -> Case:
    """A predicted sample on the CPU and its image (H, W, 3) uint8, as the panels take them."""
    gt, dense = sample.get('gt_mask'), sample.get('dense_prompt')
    return Case(
        image=image,
        text=sample.text,
        pred_mask=sample.pred_mask.numpy(),
        gt_mask=None if gt is None else gt.numpy(),
        dense_prompt=None if dense is None else dense.numpy(),
        sample_id=sample.sample_id,
        group=sample.category or '',
    )


def _name(runner: FlexibleRunner) -> str:
    """As the checkpoint's of this moment."""
    if runner.iter == 0:  # before training, or without it
        return 'iter_0'
    loop = runner.train_loop
    done, rest = divmod(runner.iter, loop.epoch_length)
    return f'epoch_{done}' if loop.by_epoch and not rest else f'iter_{runner.iter}'
