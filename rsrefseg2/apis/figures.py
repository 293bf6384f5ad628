"""The rows of Figs. 4-6, from several models' dumps, and of Fig. 2, from a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..datasets import RefSegDataset, unique_images_collate
from ..errors import UserError
from ..evaluation import PROTOCOLS, Protocol, Sample, dumped_samples, read_dump, score_record
from ..models import RSRefSeg2
from ..models.dual_modality_encoder import DualModalityEncoder
from ..models.prompter.dense_prompt import upsampled_cosine
from ..visualization import GREEN, ORANGE, Row, Tile
from .dumps import find_samples, load_picture
from .gallery import predict_samples, spread

PAPER = PROTOCOLS['paper']
Dumps = Mapping[str, str | Path]  # the models' names, as the columns are called -> their dumps


# ---------------------------------------------------------------------- Figs. 4-6


def choose_ids(
    dumps: Dumps, n: int, rule: Literal['evenly', 'differ'], protocol: Protocol = PAPER
) -> list[str]:
    """n samples that every dump holds: spread evenly over the first, or those where the models'
    IoU differ most, the largest difference first."""
    if rule == 'differ' and len(dumps) < 2:
        raise UserError('one dump alone differs from nothing: give two or more, or choose evenly')
    if rule == 'evenly':
        found = [{record['id']: 0.0 for record in read_dump(path)} for path in dumps.values()]
    else:
        found = [
            {
                sample.record['id']: score_record(sample, protocol)['iou']
                for sample in dumped_samples(path)
            }
            for path in dumps.values()
        ]
    common = [name for name in found[0] if all(name in scores for scores in found)]
    if not common:
        raise UserError(
            f'no sample is in every one of {", ".join(map(str, dumps.values()))}: '
            'give dumps of one split'
        )
    if any(len(common) < len(scores) for scores in found):
        counts = ', '.join(f'{name} {len(scores)}' for name, scores in zip(dumps, found))
        print_log(
            f'chosen from the {len(common)} samples that every dump holds ({counts})',
            logger='current',
        )
    if rule == 'evenly':
        return [common[i] for i in spread(n, len(common))]
    spans = {name: np.ptp([scores[name] for scores in found]) for name in common}
    return sorted(common, key=lambda name: -spans[name])[:n]


def compare_rows(
    dumps: Dumps,
    ids: Sequence[str],
    *,
    images: str | Path | None = None,
    protocol: Protocol = PAPER,
) -> list[Row]:
    """A row per sample: image, ground truth, and the prediction of each dump with its IoU below.

    Args:
        dumps: the models' names and dumps.
        ids: the samples, in this order.
        images: the folder to look in for the images; None: where the dumps say they are.

    Raises:
        UserError: a dump lacks a sample, names no image, or has another sentence or ground truth.
    """
    found = [find_samples(path, ids) for path in dumps.values()]
    return [_compare_row([samples[name] for samples in found], images, protocol) for name in ids]


def _compare_row(samples: Sequence[Sample], images: str | Path | None, protocol: Protocol) -> Row:
    first = samples[0]
    named = next((sample for sample in samples if sample.record.get('file')), None)
    if named is None:
        raise UserError(
            f'{first.record["location"]}: no dump names the image of sample '
            f'{first.record["id"]}: one of them needs `file`'
        )
    _check_same(samples)
    image = load_picture(named, images)
    tiles = [Tile(image), Tile(image, first.ground_truth, GREEN)]
    for sample in samples:
        note = f'IoU {100 * score_record(sample, protocol)["iou"]:.1f} %'
        tiles.append(Tile(image, sample.prediction, ORANGE, note=note))
    texts = (sample.record.get('sentence') for sample in samples)
    return Row(next(filter(None, texts), ''), tiles)


def _check_same(samples: Sequence[Sample]) -> None:
    """Equal ids of different data are an error. A dump may lack the sentences, and may hold its
    masks at a size of its own."""
    first = samples[0]
    for sample in samples[1:]:
        other, gt = sample.ground_truth, first.ground_truth
        sentences = {s.record.get('sentence') for s in (first, sample)} - {None}
        if len(sentences) > 1 or (other.shape == gt.shape and (other != gt).any()):
            what = 'sentence' if len(sentences) > 1 else 'ground truth'
            raise UserError(
                f'{sample.record["location"]}: sample {sample.record["id"]} has another '
                f'{what} than in {first.record["location"]}: give dumps of one split'
            )


# ---------------------------------------------------------------------- Fig. 2

ACTIVATION_HEADS = ('Image', 'Ground truth', 'Native cosine', 'Dense prompt')


def native_encoder(config: Config) -> DualModalityEncoder:
    """The config's SigLIP towers as they are published: no LoRA, no training.

    Raises:
        UserError: the config's towers are random.
    """
    if config.model.get('init', 'pretrained') != 'pretrained':
        raise UserError(
            f'{config.filename} builds random towers (model.init): their native '
            'activation means nothing; take pretrained ones'
        )
    return DualModalityEncoder(checkpoint=config.model.siglip.checkpoint).eval()


@torch.inference_mode()
def native_cosine(
    model: RSRefSeg2, encoder: DualModalityEncoder, dataset: RefSegDataset, index: int
) -> np.ndarray:
    """cos(up(v), t_sent) of the towers alone, at the dense prompt's size: (H2/4, W2/4), -1 to 1."""
    batch = model.data_preprocessor(unique_images_collate(dataset.__getitems__([index])))
    inputs = batch['inputs']
    v = encoder.encode_images(inputs.images_siglip)
    t_sent = encoder.encode_text(inputs.input_ids, inputs.lengths).t_sent
    grid = v.transpose(1, 2).unflatten(2, encoder.grid_size)  # (1, N, d1) -> (1, d1, h1, w1)
    cosine = upsampled_cosine(grid, t_sent, model.mask_generator.prompt_size)[0]
    shape = batch['data_samples'][0].ori_shape
    return model.data_preprocessor.crop_border(cosine, shape).cpu().numpy()


def activation_rows(
    model: RSRefSeg2,
    encoder: DualModalityEncoder,
    dataset: RefSegDataset,
    *,
    n: int = 6,
    ids: Sequence[str] | None = None,
) -> list[Row]:
    """A row per sample: image, ground truth, the native cosine, stretched over its own range, and
    the sigmoid of the trained dense prompt, 0 to 1.

    Args:
        encoder: of `native_encoder`.
        ids: which samples; None: n, spread evenly over the split.
    """
    encoder = encoder.to(next(model.parameters()).device)
    where = {dataset.get_data_info(i)['sample_id']: i for i in range(len(dataset))}
    if ids is None:
        names = list(where)
        ids = [names[i] for i in spread(n, len(names))]
    rows = []
    for sample, image in predict_samples(model, dataset, ids):
        if 'dense_prompt' not in sample:
            raise UserError('the model has no dense prompt to be shown (model.prompter.dense)')
        cosine = native_cosine(model, encoder, dataset, where[sample.sample_id])
        low, high = float(cosine.min()), float(cosine.max())
        stretched = (cosine - low) / (high - low) if high > low else np.zeros_like(cosine)
        dense = sample.dense_prompt.sigmoid().numpy()
        gt = sample.get('gt_mask')
        rows.append(
            Row(
                sample.text,
                [
                    Tile(image),
                    Tile(image, None if gt is None else gt.numpy(), GREEN),
                    Tile(image, values=stretched, note=f'cos {low:.2f} to {high:.2f}'),
                    Tile(image, values=dense, note=f'σ {dense.min():.2f} to {dense.max():.2f}'),
                ],
            )
        )
    return rows
