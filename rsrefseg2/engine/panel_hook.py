"""Panels of the same few validation samples after each validation: what the model has learned."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from PIL import Image

from ..bounds import PositiveInt
from ..errors import make_folder
from ..files import replacing
from ..registry import HOOKS
from ..structures import RefSegDataSample
from ..visualization import Case, file_name, spread

if TYPE_CHECKING:
    from mmengine.runner import Runner


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
        self._numbers: dict[str, int] = {}  # sample id -> its place among the panels
        self._drawn: dict[int, tuple[str, bytes]] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Chooses the samples, once."""
        self._drawn.clear()
        if not self._numbers:
            dataset = runner.val_dataloader.dataset
            self._numbers = {
                dataset.get_data_info(index)['sample_id']: number
                for number, index in enumerate(spread(self.n, len(dataset)))
            }

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any],
        outputs: Sequence[RefSegDataSample],
    ) -> None:
        """Draws those of this batch that are chosen."""
        for sample, u in zip(outputs, data_batch['image_index'].tolist(), strict=True):
            number = self._numbers.get(sample.sample_id)
            if number is not None:
                image = data_batch['inputs'][u].permute(1, 2, 0).cpu().numpy()  # (H, W, 3)
                picture = io.BytesIO()
                Image.fromarray(case_of(sample.cpu(), image).draw()).save(picture, 'PNG')
                self._drawn[number] = sample.sample_id, picture.getvalue()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Collects what the ranks drew; the main process writes it."""
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


def _name(runner: Runner) -> str:
    """As the checkpoint's of this moment."""
    if runner.iter == 0:  # before training, or without it
        return 'iter_0'
    loop = runner.train_loop
    done, rest = divmod(runner.iter, loop.epoch_length)
    return f'epoch_{done}' if loop.by_epoch and not rest else f'iter_{runner.iter}'
