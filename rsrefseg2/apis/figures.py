"""The rows of Figs. 4-6, from several models' dumps, and of Fig. 2, from a model."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..datasets import RefSegDataset, unique_images_collate
from ..errors import UserError
from ..evaluation import PROTOCOLS, read_dump
from ..models import RSRefSeg2
from ..models.dual_modality_encoder import DualModalityEncoder
from ..models.prompter.dense_prompt import upsampled_cosine
from ..visualization import GREEN, ORANGE, Row, Tile
from .dumps import decode_masks, find_records, load_picture, scored_records
from .gallery import predict_samples, spread

Dumps = Mapping[str, str | Path]  # the models' names, as the columns are called -> their dumps


# ---------------------------------------------------------------------- Figs. 4-6

def choose_ids(dumps: Dumps, n: int, rule: Literal['evenly', 'differ']) -> list[str]:
    """n samples that every dump holds: spread evenly over the first, or those where the models'
    IoU (protocol paper) differ most, the largest difference first."""
    if rule == 'differ' and len(dumps) < 2:
        raise UserError('one dump alone differs from nothing: give two or more, or choose evenly')
    found: list[dict[str, float]] = []
    for path in dumps.values():
        records = read_dump(path) if rule == 'evenly' else scored_records(path, PROTOCOLS['paper'])
        found.append({record['id']: 0.0 if rule == 'evenly' else record['iou']
                      for record in records})
    common = [name for name in found[0] if all(name in scores for scores in found)]
    if not common:
        raise UserError(f'no sample is in every one of {", ".join(map(str, dumps.values()))}: '
                        'give dumps of one split')
    if any(len(common) < len(scores) for scores in found):
        counts = ', '.join(f'{name} {len(scores)}' for name, scores in zip(dumps, found))
        print_log(f'chosen from the {len(common)} samples that every dump holds ({counts})',
                  logger='current')
    if rule == 'evenly':
        return [common[i] for i in spread(n, len(common))]
    spans = {name: np.ptp([scores[name] for scores in found]) for name in common}
    return sorted(common, key=lambda name: -spans[name])[:n]


def compare_rows(dumps: Dumps, ids: Sequence[str], *, images: str | Path | None = None,
                 iou: bool = False) -> list[Row]:
    """A row per sample: image, ground truth, the prediction of each dump; with `iou` its IoU below,
    under protocol paper.

    Raises:
        UserError: a dump lacks a sample, names no image, or has another sentence or ground truth.
    """
    found = [find_records(path, ids) for path in dumps.values()]
    return [_compare_row([records[name] for records in found], images, iou) for name in ids]


def _compare_row(records: Sequence[dict[str, Any]], images: str | Path | None, iou: bool) -> Row:
    named = next((record for record in records if record.get('file')), None)
    if named is None:
        raise UserError(f'{records[0]["where"]}: no dump names the image of sample '
                        f'{records[0]["id"]}: one of them needs `file`')
    _check_same(records)
    image = load_picture(named, images)
    masks = [decode_masks(record) for record in records]
    tiles = [Tile(image), Tile(image, masks[0][1], GREEN)]
    for record, (pred, gt) in zip(records, masks):
        note = ''
        if iou:
            overlap = PROTOCOLS['paper'].overlap(pred, gt, where=record['where'])
            note = f'IoU {100 * PROTOCOLS["paper"].iou(*overlap):.1f} %'
        tiles.append(Tile(image, pred, ORANGE, note=note))
    text = next((record['sentence'] for record in records if record.get('sentence')), '')
    return Row(text, tiles)


def _check_same(records: Sequence[dict[str, Any]]) -> None:
    """Equal ids of different data are an error; a sentence or a size may be missing or another's
    own."""
    first = records[0]
    gt = decode_masks(first)[1]
    for record in records[1:]:
        other = decode_masks(record)[1]
        sentences = {r.get('sentence') for r in (first, record)} - {None}
        if len(sentences) > 1 or (other.shape == gt.shape and (other != gt).any()):
            what = 'sentence' if len(sentences) > 1 else 'ground truth'
            raise UserError(f'{record["where"]}: sample {record["id"]} has another {what} than in '
                            f'{first["where"]}: give dumps of one split')


# ---------------------------------------------------------------------- Fig. 2

ACTIVATION_HEADS = ('Image', 'Ground truth', 'Native cosine', 'Dense prompt')


def native_encoder(config: Config) -> DualModalityEncoder:
    """The config's SigLIP towers as they are published: no LoRA, no training.

    Raises:
        UserError: the config's towers are random.
    """
    if config.model.get('init', 'pretrained') != 'pretrained':
        raise UserError(f'{config.filename} builds random towers (model.init): their native '
                        'activation means nothing; take pretrained ones')
    return DualModalityEncoder(checkpoint=config.model.siglip.checkpoint).eval()


@torch.inference_mode()
def native_cosine(model: RSRefSeg2, encoder: DualModalityEncoder, dataset: RefSegDataset,
                  index: int) -> np.ndarray:
    """cos(up(v), t_sent) of the towers alone, at the dense prompt's size: (H2/4, W2/4), -1 to 1."""
    batch = model.data_preprocessor(unique_images_collate(dataset.__getitems__([index])))
    inputs = batch['inputs']
    v = encoder.encode_images(inputs.images_where)
    t_sent = encoder.encode_text(inputs.input_ids, inputs.lengths).t_sent
    grid = v.transpose(1, 2).unflatten(2, encoder.grid_size)  # (1, N, d1) -> (1, d1, h1, w1)
    return upsampled_cosine(grid, t_sent, model.mask_generator.prompt_size)[0].cpu().numpy()


def activation_rows(config: Config, model: RSRefSeg2, dataset: RefSegDataset, *, n: int = 6,
                    ids: Sequence[str] | None = None) -> list[Row]:
    """A row per sample: image, ground truth, the native cosine, stretched over its own range, and
    the sigmoid of the trained dense prompt, 0 to 1.

    Args:
        ids: which samples; None: n, spread evenly over the split.
    """
    encoder = native_encoder(config).to(next(model.parameters()).device)
    where = {dataset.get_data_info(i)['sample_id']: i for i in range(len(dataset))}
    if ids is None:
        names = list(where)
        ids = [names[i] for i in spread(n, len(names))]
    rows = []
    for sample, image in predict_samples(model, dataset, ids):
        if 'dense_prompt' not in sample:
            raise UserError(f'the model of {config.filename} has no dense prompt to be shown '
                            '(prompter.dense)')
        cosine = native_cosine(model, encoder, dataset, where[sample.sample_id])
        low, high = float(cosine.min()), float(cosine.max())
        stretched = (cosine - low) / (high - low) if high > low else np.zeros_like(cosine)
        dense = sample.dense_prompt.sigmoid().numpy()
        gt = sample.get('gt_mask')
        rows.append(Row(sample.text, [
            Tile(image), Tile(image, None if gt is None else gt.numpy(), GREEN),
            Tile(image, values=stretched, note=f'cos {low:.2f} to {high:.2f}'),
            Tile(image, values=dense, note=f'σ {dense.min():.2f} to {dense.max():.2f}')]))
    return rows
