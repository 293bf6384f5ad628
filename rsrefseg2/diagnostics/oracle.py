"""The ceiling of 'how': what the mask generator draws from a perfect dense prompt.

The target stands in for the dense prompt: p_dense = m (2 a - 1), where a is the share of each cell
of the prompt's grid that the target covers, for several magnitudes m of the logits. The sparse
prompts are the model's own (they have read the sentence), or there are none: SAM prompted with a
mask alone, which this mask decoder was not trained for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from ..evaluation import PROTOCOLS, Protocol, Report, cover, score_table
from ..models import RSRefSeg2
from ..models.symbols import RefSegOutputs
from ..structures import RefSegDataSample
from .interventions import dense_of, overlap

MAGNITUDES = (0.5, 1, 2, 4, 8, 16, 32)
OWN = 'own'


def oracle_scores(
    model: RSRefSeg2,
    scenes: Iterable[tuple[RefSegOutputs, list[RefSegDataSample]]],
    protocol: Protocol = PROTOCOLS['paper'],
) -> list[dict[str, Any]]:
    """One row for each pair of prompts.

    Args:
        scenes: see `interventions.run_scenes`.
    Returns:
        rows of 'sparse' ('own', 'none'), 'dense' ('own', or the magnitude of the target's logits),
        the scores in percent under `protocol`, and 'gIoU_by_kind', 'gIoU_by_category'.
    """
    reports: dict[tuple[str, str | float], Report] = {}
    for outputs, samples in scenes:
        shapes = [sample.ori_shape for sample in samples]
        targets = [sample.gt_mask.cpu().numpy() for sample in samples]
        add_border = model.data_preprocessor.add_border
        squares = [add_border(sample.gt_mask.cpu()).numpy() for sample in samples]
        for key, mask_logits in _draw(model, outputs, squares):
            report = reports.setdefault(key, Report(protocol))
            for sample, gt, logits in zip(
                samples, targets, model.masks(mask_logits, shapes), strict=True
            ):
                intersection, union = overlap((logits > 0).cpu().numpy(), gt)
                report.add(
                    dict(
                        id=sample.sample_id,
                        sentence=sample.text,
                        category=sample.category,
                        area=int(np.count_nonzero(gt)),
                        intersection=intersection,
                        union=union,
                    )
                )
    return [
        dict(
            sparse=sparse,
            dense=dense,
            **report.scores(),
            **{
                f'gIoU_by_{name}': {
                    group: row['gIoU'] for group, row in report.breakdown(name).items()
                }
                for name in ('kind', 'category')
            },
        )
        for (sparse, dense), report in reports.items()
    ]


def oracle_table(rows: list[dict[str, Any]]) -> str:
    """A text table: gIoU overall and by kind of expression."""
    lines = {f'{row["sparse"]}, {row["dense"]}': {**row, **row['gIoU_by_kind']} for row in rows}
    kinds = sorted({kind for row in rows for kind in row['gIoU_by_kind']})
    return score_table(
        lines,
        'Oracle: the target as dense prompt, +-m; gIoU by kind of expression '
        'in the last columns, protocol `paper`',
        head='sparse, dense (own or m)',
        columns=('Pr@0.5', 'cIoU', 'gIoU', *kinds),
    )


@torch.inference_mode()
def _draw(
    model: RSRefSeg2, outputs: RefSegOutputs, targets: list[np.ndarray]
) -> Iterator[tuple[tuple[str, str | float], torch.Tensor]]:
    """((sparse, dense), mask logits (B, H2/4, W2/4)) of every pair of prompts."""
    images, index, prompts = outputs.images, outputs.image_index, outputs.prompts
    own = dense_of(prompts)
    a = torch.from_numpy(
        np.stack([cover(gt, (own.shape[-2], own.shape[-1])) for gt in targets])
    ).to(own)
    for sparse, p_sparse in ((OWN, prompts.p_sparse), ('none', prompts.p_sparse[:, :0])):
        for dense in (OWN, *MAGNITUDES):
            p_dense = own if dense == OWN else dense * (2 * a - 1)
            with model.precision(index.device):
                logits = model.mask_generator(
                    images.image_embeddings[index],
                    [feature[index] for feature in images.high_resolution_features],
                    p_sparse,
                    p_dense,
                )
            yield (sparse, dense), logits
